//! Hosts of plain namespaces: network, pid, mount, host name and IPC, with a shell as PID 1 that
//! waits. They are up in milliseconds; there is no service manager, and a power-off has no order.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Inner, init_below, signal};
use crate::lab::{BRIDGE, port, second_port};
use crate::machine::PROGRAMS;
use crate::run::{command, run};

/// Mounts what a root needs, changes into it and waits; SIGTERM ends it, and with it everything.
const INIT: &str = include_str!("plain-init.sh");

/// SIGTERM.
const POWER_BUTTON: u32 = 15;

/// Makes the host's network namespace, anew at each power-on so that no address survives a
/// power-off, and returns the program that carries the host.
pub(super) fn wire(host: &Inner) -> Result<Vec<String>> {
    unwire(host)?;
    let (lab, own) = (host.site.network.namespace(), namespace(host));
    let address = format!("{}/24", host.site.network.address(host.number));
    run(&mut command("ip", ["netns", "add", &own]))?;
    let pair = [
        "link", "add", "host0", "netns", &own, "type", "veth", "peer", "name",
    ];
    run(command("ip", pair).args([&port(&host.name), "netns", lab]))?;
    host.site
        .network
        .ip(&["link", "set", &port(&host.name), "master", BRIDGE, "up"])?;
    if let Some(second) = host.second.get() {
        let interface = second.interface.as_str();
        let pair = [
            "link", "add", interface, "netns", &own, "type", "veth", "peer", "name",
        ];
        run(command("ip", pair).args([&second_port(&host.name), "netns", lab]))?;
        if second.addressed {
            let address = format!("{}/24", host.site.network.second_address(host.number));
            run(command("ip", ["-n", &own]).args(["addr", "add", &address, "dev", interface]))?;
        }
        run(command("ip", ["-n", &own]).args(["link", "set", interface, "up"]))?;
    }
    for arguments in [
        ["link", "set", "lo", "up"].as_slice(),
        &["addr", "add", &address, "dev", "host0"],
        &["link", "set", "host0", "up"],
    ] {
        run(command("ip", ["-n", &own]).args(arguments))?;
    }
    let mut words = vec!["nsenter".to_owned(), format!("--net=/run/netns/{own}")];
    words.extend(["unshare", "--mount", "--uts", "--ipc", "--pid"].map(String::from));
    words.extend(["--fork", "--kill-child", "sh", "-c", INIT, "init"].map(String::from));
    words.extend([
        host.disk.root().display().to_string(),
        host.name.clone(),
        host.site.programs().display().to_string(),
        PROGRAMS.to_owned(),
    ]);
    Ok(words)
}

/// Takes the network namespace away.
pub(super) fn unwire(host: &Inner) -> Result<()> {
    let own = namespace(host);
    if !Path::new("/run/netns").join(&own).exists() {
        return Ok(());
    }
    run(&mut command("ip", ["netns", "del", &own])).map(drop)
}

/// PID 1 of the host, once it has changed into its root.
pub(super) fn leader(unshare: u32, root: &Path) -> Option<u32> {
    let pid = init_below(unshare)?;
    let inside = fs::read_link(format!("/proc/{pid}/root")).ok()?;
    (inside == root).then_some(pid)
}

pub(super) fn press_power_button(leader: u32) -> Result<()> {
    signal(leader, POWER_BUTTON)
}

fn namespace(host: &Inner) -> String {
    format!("{}.{}", host.site.network.namespace(), host.name)
}
