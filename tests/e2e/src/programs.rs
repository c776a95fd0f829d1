//! Where the built programs of the workspace are.
//!
//! Cargo tells a test where the binaries of its own package are, not those of others. All of them land
//! in one directory, which is found from the running executable. `cargo xtask` builds the workspace
//! before it runs anything here.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

/// The directory of the built programs: `target/<profile>`.
///
/// # Errors
///
/// The running executable cannot be found.
pub fn directory() -> Result<PathBuf> {
    let executable = std::env::current_exe().context("cannot find the running executable")?;
    let directory = executable
        .parent()
        .context("the running executable is in no directory")?;
    let built = match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    Ok(built.to_path_buf())
}

/// The program that runs on every node.
///
/// # Errors
///
/// It is not built.
pub fn agent() -> Result<PathBuf> {
    program("interlock-agent")
}

/// The program that plans and runs operations.
///
/// # Errors
///
/// It is not built.
pub fn coordinator() -> Result<PathBuf> {
    program("interlock-coordinator")
}

/// The operator's program.
///
/// # Errors
///
/// It is not built.
pub fn ctl() -> Result<PathBuf> {
    program("interlockctl")
}

/// The helper of local clusters, of this package.
///
/// # Errors
///
/// It is not built.
pub fn local() -> Result<PathBuf> {
    program("interlock-local")
}

fn program(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(
        path.is_file(),
        "{} is not built: run `cargo build --workspace --bins` first",
        path.display()
    );
    Ok(path)
}
