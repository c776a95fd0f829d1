//! Compiles the protos with protox, a compiler in Rust: no `protoc` is needed to build Interlock.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = [
        "agent",
        "cluster",
        "common",
        "event",
        "logs",
        "node",
        "operation",
        "peer",
        "plan",
        "store",
    ]
    .iter()
    .map(|name| PathBuf::from(format!("interlock/v1/{name}.proto")))
    .collect();
    println!("cargo::rerun-if-changed=interlock");
    let descriptors = protox::Compiler::new(["."])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(&files)?
        .file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("interlock.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(false)
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
