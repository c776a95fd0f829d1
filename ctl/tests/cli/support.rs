//! Running the binary, away from the caller's own contexts.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A cluster with an exclusive service, machines, and a gate.
pub(crate) const SPEC: &str = "\
cluster: shop
control: { coordinators: [mgmt1] }
hosts:
  vmhost1: { address: 10.0.0.1 }
power:
  kvm: { fence: fence_virsh, via: [mgmt1], options: { ip: 10.0.0.1, password: { secret: kvm } } }
nodes:
  mgmt1: { address: 10.9.0.5 }
  \"db[1-2]\": { address: \"10.9.0.[11-12]\", host: vmhost1, power: { by: kvm, plug: \"db[1-2]\" } }
  \"web[1-2]\": { address: \"10.9.0.[21-22]\", labels: { tier: web }, power: { by: kvm, plug: \"web[1-2]\", shutdown: command } }
services:
  db:
    nodes: [db1, db2]
    active: one
    active_when: [writes]
    manager: { systemd: { unit: mariadb.service } }
    checks:
      writes: { tcp: \"{address}:3306\" }
  web:
    nodes: [web1, web2]
    active: all
    parts:
      - process: { name: web }
      - exec: { name: license }
    requires: [db]
    checks:
      alive: { marker: /srv/web/.alive }
      fit: { exec: fitness }
gates:
  look: { manual: Look at the shop, at_end_of: [startup] }
";

/// A directory of its own, with the binary in it.
pub(crate) struct Workplace {
    dir: TempDir,
}

impl Workplace {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// One with `shop.yaml`.
    pub(crate) fn with_spec() -> Self {
        let place = Self::new();
        place.write("shop.yaml", SPEC);
        place
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file there.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A command line that is not run yet.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlockctl"));
        command
            .args(words.split_whitespace())
            .current_dir(self.dir.path())
            .env_clear()
            .env("COLUMNS", "100")
            .env("TZ", "UTC")
            .env("INTERLOCK_CONFIG", self.path("config.toml"));
        command
    }

    /// Runs a command line, words separated by blanks.
    pub(crate) fn run(&self, words: &str) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }
}

/// What a run has left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// Data.
    pub(crate) stdout: String,
    /// Talk.
    pub(crate) stderr: String,
}

impl Ran {
    /// Reads it out of what the system gives.
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The data, if the exit code is the one that is expected.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The data as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
