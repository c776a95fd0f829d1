//! Hosts with systemd as PID 1, by systemd-nspawn.
//!
//! nspawn makes the host's network namespace itself (`--network-bridge`), so that a power-off takes
//! every address away, a moved service address included. It runs with `--register=no --keep-unit`,
//! in a control group that the harness made: no systemd or D-Bus is needed on this machine.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Result, bail};

use super::{Host, Inner, Second, init_below, signal};
use crate::lab::{BRIDGE, second_port};
use crate::machine::{Machine as _, PROGRAMS};

/// Exit status of nspawn after a reboot inside, with `--keep-unit`: EXIT_FORCE_RESTART of
/// systemd.exec(5), meant for a unit that would start it again.
const REBOOT: i32 = 133;

/// The device of file systems in user space.
const FUSE: &str = "/dev/fuse";

/// SIGRTMIN+4 of glibc: "starts the poweroff.target unit", systemd(1). A container has no other
/// power button.
const POWER_BUTTON: u32 = 34 + 4;

/// Writes what the host needs to find its network.
pub(super) fn prepare(host: &Host) -> Result<()> {
    let network = format!(
        "[Match]\nName=host0\n\n[Network]\nAddress={}/24\nLinkLocalAddressing=no\n\
         KeepConfiguration=static\n",
        host.address()
    );
    host.put_file(
        "/etc/systemd/network/10-host0.network",
        network.as_bytes(),
        0o644,
    )
}

/// Writes what it needs to bring up its interface in the second network. Addresses that others put there stay.
pub(super) fn prepare_second(host: &Host, second: &Second) -> Result<()> {
    let interface = &second.interface;
    let address = match second.addressed {
        true => format!("Address={}/24\n", host.second_address()),
        false => String::new(),
    };
    let network = format!(
        "[Match]\nName={interface}\n\n[Network]\n{address}LinkLocalAddressing=no\nKeepConfiguration=static\n"
    );
    host.put_file(
        &format!("/etc/systemd/network/20-{interface}.network"),
        network.as_bytes(),
        0o644,
    )
}

/// The program that carries the host.
pub(super) fn argv(host: &Inner) -> Vec<String> {
    let mut words: Vec<String> = host.site.network.enter().into();
    words.extend(
        [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
        ]
        .map(String::from),
    );
    words.extend(["--link-journal=no", "--resolv-conf=off", "--timezone=off"].map(String::from));
    words.extend([
        "--console=read-only".to_owned(),
        format!("--network-bridge={BRIDGE}"),
        format!("--machine={}", host.name),
        format!("--hostname={}", host.name),
        format!("--directory={}", host.disk.root().display()),
        format!("--bind-ro={}:{PROGRAMS}", host.site.programs().display()),
    ]);
    if let Some(second) = host.second.get() {
        let port = second_port(&host.name);
        words.push(format!("--network-veth-extra={port}:{}", second.interface));
    }
    // File systems in user space: mounts of a share, without its client in the kernel.
    if Path::new(FUSE).exists() {
        words.push(format!("--bind={FUSE}"));
    }
    words
}

/// PID 1 of the host: nspawn has short-lived children too, which are not systemd.
pub(super) fn leader(nspawn: u32) -> Option<u32> {
    let pid = init_below(nspawn)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "systemd").then_some(pid)
}

pub(super) fn asks_for_reboot(status: ExitStatus) -> bool {
    status.code() == Some(REBOOT)
}

pub(super) fn press_power_button(leader: u32) -> Result<()> {
    signal(leader, POWER_BUTTON)
}

/// `running`, or `degraded` if a unit has failed: what it starts by itself is settled.
pub(super) fn is_booted(host: &Host) -> Result<()> {
    let output = host.output(&["systemctl", "is-system-running"])?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "running" | "degraded" => Ok(()),
        state => bail!(
            "systemd says {state:?} {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ),
    }
}
