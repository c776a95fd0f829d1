//! The demo, as far as it takes little time.

use std::process::{Command, Output};

/// `xtask demo --system NAME` without this directory of programs, without a network, and without a cargo that could build or
/// fetch anything. None where no such machine can be made.
fn without(directory: &str, system: &str) -> Option<Output> {
    let hide = "mount --make-rprivate / && mount -t tmpfs none \"$0\" && exec \"$@\"";
    let ran = Command::new("unshare")
        .args(["--net", "--mount", "/bin/sh", "-c", hide, directory])
        .args([env!("CARGO_BIN_EXE_xtask"), "demo", "--system", system])
        .env("CARGO", "/nonexistent/cargo")
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    if said.contains("unshare failed") || said.contains("mount:") {
        interlock_e2e::skip("the demo on a machine that lacks something", &said);
        return None;
    }
    Some(ran)
}

#[test]
fn a_system_whose_servers_are_missing_says_which_and_begins_nothing() {
    for (system, directory, package) in [
        ("hcdc", "/usr/sbin", "haproxy"),
        ("mstr", "/usr/sbin", "nginx"),
        ("hcdc", "/usr/lib/postgresql", "postgresql"),
    ] {
        if !std::path::Path::new(directory).is_dir() {
            // It lacks that by itself.
            continue;
        }
        let Some(ran) = without(directory, system) else {
            return;
        };
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(69), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let named = said.contains(directory) && said.contains(" is missing");
        assert!(named && said.contains(package), "{said}");
        assert!(ran.stdout.is_empty(), "{ran:?}");
    }
}

#[test]
fn the_exit_codes_are_told() {
    let help = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["demo", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8_lossy(&help.stdout);
    assert!(help.contains("69: this machine lacks"), "{help}");
}
