//! The root file system that all hosts share.
//!
//! It is a small Debian with systemd and the real services, built once by mmdebstrap from the
//! package sources that this machine itself uses, and kept in a cache outside the checkout. The cache
//! is named after everything that decides its contents, so a change makes a new one. No service starts
//! by itself: a test enables what its hosts are to run.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::run::{command, run};

/// Environment variable with the directory of the cache, in place of `/var/cache/interlock`.
pub const CACHE_VARIABLE: &str = "INTERLOCK_CACHE";

/// What is installed in the hosts. A share comes from Samba and is mounted by `smbnetfs`, a file system
/// in user space: clients of CIFS and NFS, and the server of NFS, are parts of the kernel, which hosts share.
pub const PACKAGES: &[&str] = &[
    "ca-certificates",
    "curl",
    "dbus",
    "fence-agents",
    "haproxy",
    "ipmitool",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "kmod",
    "mariadb-server",
    "netcat-openbsd",
    "nftables",
    "nginx-light",
    "postgresql",
    "procps",
    "python3-minimal",
    "redis-server",
    "samba",
    "smbnetfs",
    "systemd",
    "systemd-sysv",
    "udev",
];

/// Runs at the end of the build, with the new root as `$1`.
const CUSTOMIZE: &str = include_str!("rootfs-customize.sh");

/// Documentation and translations are of no use there.
const LEAN: &[&str] = &[
    "--variant=minbase",
    "--mode=root",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

/// The root file system, built first if there is none. Takes one to two minutes then, and about 1 GB.
/// Safe to call from several processes at once.
///
/// # Errors
///
/// The build failed; its log is beside the cache.
pub fn prepare() -> Result<PathBuf> {
    let cache = std::env::var_os(CACHE_VARIABLE)
        .map_or_else(|| PathBuf::from("/var/cache/interlock"), PathBuf::from);
    let codename = codename()?;
    let path = cache.join(format!("rootfs-{:016x}", key(&codename)));
    if path.is_dir() {
        return Ok(path);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = fs::File::create(cache.join("lock")).context("cannot open the lock of the cache")?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot lock the cache")?;
    if !path.is_dir() {
        build(&cache, &path, &codename)?;
    }
    Ok(path)
}

/// Builds beside the cache and renames, so that a cache that exists is complete.
fn build(cache: &Path, path: &Path, codename: &str) -> Result<()> {
    let started = Instant::now();
    eprintln!(
        "building the hosts' root file system {} ...",
        path.display()
    );
    let sources = sources()?;
    let half_built = cache.join("building");
    let log_path = cache.join("build.log");
    let log = fs::File::create(&log_path).context("cannot open the log of the build")?;
    // mmdebstrap refuses a directory that is not empty: what an interrupted build left goes first.
    run(command("rm", ["-rf", "--one-file-system"]).arg(&half_built))?;
    let mut mmdebstrap = Command::new("mmdebstrap")
        .args(LEAN)
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(format!("--customize-hook={CUSTOMIZE}"))
        .arg(codename)
        .arg(&half_built)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run mmdebstrap")?;
    if let Some(mut stdin) = mmdebstrap.stdin.take() {
        stdin
            .write_all(sources.as_bytes())
            .context("cannot hand the sources to mmdebstrap")?;
    }
    let status = mmdebstrap.wait().context("cannot wait for mmdebstrap")?;
    if !status.success() {
        bail!("mmdebstrap: {status}; see {}", log_path.display());
    }
    fs::rename(&half_built, path).context("cannot rename the finished root file system")?;
    eprintln!("built in {:.0?}", started.elapsed());
    Ok(())
}

/// One line per source of the distribution itself that apt knows here, from apt's own reading of its
/// configuration. Third parties' sources are left out.
fn sources() -> Result<String> {
    let list = || {
        run(&mut command(
            "apt-get",
            [
                "indextargets",
                "--format",
                "deb $(REPO_URI) $(CODENAME) $(COMPONENT)",
                "Created-By: Packages",
                "Origin: Debian",
            ],
        ))
    };
    let mut sources = list()?;
    if sources.trim().is_empty() {
        // apt knows the origin of a source only once it has read its index.
        run(command("apt-get", ["update", "--quiet"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
        sources = list()?;
    }
    ensure!(
        !sources.trim().is_empty(),
        "apt knows no source of Debian here: see apt-get indextargets"
    );
    Ok(sources)
}

/// The hosts are of the same release as this machine, so that programs built here run there.
fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename
        .context("/etc/os-release has no VERSION_CODENAME")?
        .trim_matches('"')
        .to_owned())
}

/// Everything that decides the contents. A hasher that differs in a later toolchain costs one build.
fn key(codename: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (codename, PACKAGES, LEAN, CUSTOMIZE).hash(&mut hasher);
    hasher.finish()
}
