//! The lab's network: one bridge, and everything that can go wrong on it. And a second one, of which only those hosts have a port
//! that are given one, for systems whose clients come by another network than their control.
//!
//! Faults are one nftables table in the bridge family, replaced as a whole at each change. The rules
//! name ports (`vb-<host>`), so they hold over a host's power cycles, and they drop ARP as well as IP.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

use crate::run::{command, run};

/// The bridge.
pub(crate) const BRIDGE: &str = "br0";

/// The bridge of the second network.
pub(crate) const SECOND: &str = "br1";

/// Its own link address, locally administered. Without one it has the lowest of its ports', so it would change whenever
/// that host goes, and those that know the old one would be sending into the void for as long as they believe it.
const BRIDGE_LINK: &str = "02:00:00:00:00:fe";
const SECOND_LINK: &str = "02:00:00:00:01:fe";

/// A network interface has at most 15 characters, of which the prefix takes 3.
pub(crate) const LONGEST_HOST_NAME: usize = 12;

/// Something wrong with the network. Directed ones hold for packets from the first to the second host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nothing passes.
    Cut(String, String),
    /// Each packet is lost with this probability in percent.
    Loss(String, String, u8),
    /// The host's cable is out.
    Cable(String),
    /// That of its second network is.
    SecondCable(String),
}

/// The network namespace with the bridge.
#[derive(Debug)]
pub(crate) struct Network {
    namespace: String,
    first: [u8; 3],
    subnet: u8,
    faults: Mutex<BTreeSet<Fault>>,
}

impl Network {
    /// Makes the namespace and the bridge, which has the address that ends in 254 itself, behind the `first` three octets; the
    /// second network is `10.78.<subnet>.0`.
    pub(crate) fn create(namespace: &str, first: [u8; 3], subnet: u8) -> Result<Self> {
        let network = Self {
            namespace: namespace.to_owned(),
            first,
            subnet,
            faults: Mutex::new(BTreeSet::new()),
        };
        run(&mut command("ip", ["netns", "add", namespace]))?;
        network.ip(&["link", "set", "lo", "up"])?;
        for (bridge, link, address) in [
            (BRIDGE, BRIDGE_LINK, network.address(254)),
            (SECOND, SECOND_LINK, network.second_address(254)),
        ] {
            network.ip(&["link", "add", bridge, "address", link, "type", "bridge"])?;
            let address = format!("{address}/24");
            network.ip(&["addr", "add", &address, "dev", bridge])?;
            network.ip(&["link", "set", bridge, "up"])?;
        }
        Ok(network)
    }

    /// The address with this last octet in the second network.
    pub(crate) fn second_address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, self.subnet, last)
    }

    /// The address with this last octet.
    pub(crate) fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.first;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Gives the bridge one more address.
    pub(crate) fn add_address(&self, address: Ipv4Addr) -> Result<()> {
        self.ip(&["addr", "add", &format!("{address}/24"), "dev", BRIDGE])
    }

    /// The words that run a command in the namespace, on the outer machine's file system.
    /// (`ip netns exec` would mount a new `/sys` and hide the control groups.)
    pub(crate) fn enter(&self) -> [String; 2] {
        [
            "nsenter".to_owned(),
            format!("--net=/run/netns/{}", self.namespace),
        ]
    }

    /// Name of the namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `ip` in the namespace.
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<()> {
        run(command("ip", ["-n", &self.namespace]).args(arguments)).map(drop)
    }

    /// Takes away a port and with it the far end in its host, at once.
    pub(crate) fn remove_port(&self, port: &str) -> Result<()> {
        if !self.has_port(port) {
            return Ok(());
        }
        // It goes with the host's network namespace too, and may do so at this very moment.
        match self.ip(&["link", "del", port]) {
            Err(error) if self.has_port(port) => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts a port on the bridge of the second network.
    pub(crate) fn add_second_port(&self, port: &str) -> Result<()> {
        self.ip(&["link", "set", port, "master", SECOND, "up"])
    }

    /// Sets the carrier that the host of a port sees.
    pub(crate) fn set_carrier(&self, port: &str, up: bool) -> Result<()> {
        if !self.has_port(port) {
            return Ok(());
        }
        self.ip(&["link", "set", port, if up { "up" } else { "down" }])
    }

    /// Whether the cable of the host is out.
    pub(crate) fn has_fault(&self, fault: &Fault) -> bool {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(fault)
    }

    /// Changes the set of faults; either the whole new set is in force, or the old one.
    pub(crate) fn change(&self, edit: impl FnOnce(&mut BTreeSet<Fault>)) -> Result<()> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = faults.clone();
        edit(&mut changed);
        self.load(&rules(&changed))?;
        *faults = changed;
        Ok(())
    }

    fn has_port(&self, port: &str) -> bool {
        self.ip(&["link", "show", port]).is_ok()
    }

    fn load(&self, rules: &str) -> Result<()> {
        let [program, namespace] = self.enter();
        let mut nft = Command::new(program)
            .args([&namespace, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run nft")?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin
                .write_all(rules.as_bytes())
                .context("cannot hand the rules to nft")?;
        }
        let output = nft.wait_with_output().context("cannot wait for nft")?;
        if !output.status.success() {
            bail!(
                "nft refused the rules: {}\n{rules}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

/// The bridge port of a host; systemd-nspawn forms the same name.
pub(crate) fn port(host: &str) -> String {
    format!("vb-{host}")
}

/// Its port on the bridge of the second network.
pub(crate) fn second_port(host: &str) -> String {
    format!("vs-{host}")
}

/// The whole table. Declaring it first makes the deletion valid when there was none.
fn rules(faults: &BTreeSet<Fault>) -> String {
    let (mut passing, mut arriving, mut leaving) = (String::new(), String::new(), String::new());
    for fault in faults {
        // Writing to a String cannot fail.
        let _ = match fault {
            Fault::Cut(from, to) | Fault::Loss(from, to, 100..) => {
                writeln!(
                    passing,
                    "iifname \"{}\" oifname \"{}\" drop",
                    port(from),
                    port(to)
                )
            }
            // A number of 0 to 99, compared with 100, is refused as always true.
            Fault::Loss(from, to, percent @ 1..=99) => writeln!(
                passing,
                "iifname \"{}\" oifname \"{}\" numgen random mod 100 < {percent} drop",
                port(from),
                port(to)
            ),
            Fault::Loss(_, _, 0) => Ok(()),
            Fault::Cable(host) | Fault::SecondCable(host) => {
                let port = match fault {
                    Fault::SecondCable(_) => second_port(host),
                    _ => port(host),
                };
                let (from, to) = (
                    format!("iifname \"{port}\" drop\n"),
                    format!("oifname \"{port}\" drop\n"),
                );
                passing.push_str(&from);
                passing.push_str(&to);
                arriving.push_str(&from);
                leaving.push_str(&to);
                Ok(())
            }
        };
    }
    format!(
        "table bridge faults\ndelete table bridge faults\ntable bridge faults {{\n\
         chain passing {{\ntype filter hook forward priority 0\n{passing}}}\n\
         chain arriving {{\ntype filter hook input priority 0\n{arriving}}}\n\
         chain leaving {{\ntype filter hook output priority 0\n{leaving}}}\n}}\n"
    )
}
