//! The pair, from the shipped spec.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{Cluster, install_unit};
use interlock_e2e::pair::{Pair, SOON, postgres};
use interlock_e2e::rows::{PROGRAM, Writers};
use interlock_e2e::{Host, Lab, Machine, eventually};

const SPEC: &str = include_str!("../../../../deploy/clusters/uc8k-mode1.yaml");

/// With the databases on machines of their own.
const SPLIT: &str = include_str!("../../../../deploy/clusters/uc8k-mode2.yaml");

const IPPBX: &str = include_str!("../../stand-ins/uc8k_ippbx.py");

const CALLER: &str = include_str!("caller.py");

/// The unit of the stand-in.
pub(crate) const UNIT: &str = "ippbx.service";

/// The service network's interface, as the spec has it.
const ETH0: &str = "eth0";

/// What brings that up at boot, and what leaves it down.
const ETH0_NETWORK: &str = "/etc/systemd/network/20-eth0.network";
const UNMANAGED: &[u8] = b"[Match]\nName=eth0\n\n[Link]\nUnmanaged=yes\n";

/// Networks of the shipped spec: heartbeat and service.
const SHIPPED: [&str; 2] = ["10.9.0.", "10.1.0."];

/// The last number of the service's address in the shipped spec: a host of the lab with this number would have it as its own.
const SERVICE: u8 = 10;

/// Time in which a host that was switched on has booted.
const BOOT: Duration = Duration::from_secs(60);

/// The role of the database that standbys log in as; the shipped spec leaves it at its default.
const REPLICATOR: &str = "CREATE ROLE replicator SUPERUSER LOGIN REPLICATION";

/// The pair, its third machine, and a telephone.
#[derive(Debug)]
pub(crate) struct Site<'lab> {
    pair: Pair<'lab>,
    /// The machines of the databases, where those are elsewhere.
    pub(crate) stores: Vec<Arc<Host>>,
}

impl<'lab> Deref for Site<'lab> {
    type Target = Pair<'lab>;

    fn deref(&self) -> &Self::Target {
        &self.pair
    }
}

impl<'lab> Site<'lab> {
    /// Builds it; its machines are on, and its service is stopped.
    pub(crate) fn build(lab: &'lab Lab) -> Result<Self> {
        Self::build_as(lab, "uc8k-mode1", SPEC, Vec::new())
    }

    /// The same with the databases on machines of their own.
    pub(crate) fn build_split(lab: &'lab Lab) -> Result<Self> {
        let stores = vec![lab.nspawn_at("cdr1", 21)?, lab.nspawn_at("cdr2", 22)?];
        Self::build_as(lab, "uc8k-mode2", SPLIT, stores)
    }

    fn build_as(lab: &'lab Lab, name: &str, spec: &str, stores: Vec<Arc<Host>>) -> Result<Self> {
        let management = lab.nspawn_at("mgmt1", 5)?;
        let (one, two) = (lab.nspawn_at("pbx1", 11)?, lab.nspawn_at("pbx2", 12)?);
        let client = lab.plain("phone")?;
        for (host, addressed) in [
            (&management, true),
            (&client, true),
            (&one, false),
            (&two, false),
        ] {
            host.add_second_network(ETH0, addressed)?;
        }
        let second = lab.second_address(0).to_string();
        let second = second.trim_end_matches('0');
        let spec = spec
            .replace(SHIPPED[0], &lab.network())
            .replace(SHIPPED[1], second);
        let address = lab.second_address(SERVICE).to_string();
        let mut cluster = Cluster::create(lab, name, &spec)?;
        cluster.install_coordinator(&management)?;
        cluster.install_agent(&management, &[])?;
        let databases: Vec<String> = stores.iter().map(|it| it.address().to_string()).collect();
        let databases = databases.join(" ");
        for host in [&one, &two] {
            cluster.install_agent(host, &[])?;
            install_ippbx(host, &format!("{address} {databases}"))?;
            host.put_file(PROGRAM, postgres::WRITER.as_bytes(), 0o644)?;
            if stores.is_empty() {
                postgres::prepare(host)?;
            } else {
                // Nobody but the agent switches it on.
                host.put_file(ETH0_NETWORK, UNMANAGED, 0o644)?;
            }
        }
        for host in &stores {
            cluster.install_agent(host, &[])?;
            postgres::prepare(host)?;
        }
        client.put_file(PROGRAM, CALLER.as_bytes(), 0o644)?;
        let all = || {
            [&management, &client, &one, &two]
                .into_iter()
                .chain(&stores)
        };
        for host in all() {
            host.power_on()?;
        }
        for host in all() {
            host.wait_booted(BOOT)?;
        }
        let nodes: Vec<String> = all()
            .filter(|host| host.name() != client.name())
            .map(|host| host.name().to_owned())
            .collect();
        let site = Self {
            pair: Pair {
                cluster,
                service: "pbx",
                management,
                client,
                members: vec![Arc::clone(&one), Arc::clone(&two)],
                one,
                two,
                address,
                bmcs: None,
            },
            stores,
        };
        let spec = site.cluster.spec();
        eventually("the coordinator", SOON, || {
            site.cluster.run(&["spec", "apply", "--yes", &spec])
        })?;
        for node in nodes {
            eventually(&format!("the agent of {node}"), SOON, || {
                let seen = site.cluster.node(&node)?;
                ensure!(seen["liveness"] == "alive", "{seen}");
                Ok(())
            })?;
        }
        Ok(site)
    }

    /// Starts the pair, and has a telephone call, and both machines write to their own database.
    pub(crate) fn start(&self) -> Result<Writers> {
        let startup = ["startup", "--service", "pbx", "--yes"];
        self.cluster.run(&startup)?;
        let (primary, _) = self.primary()?;
        psql(self.host(&primary), REPLICATOR)?;
        // What writers on the machines write is in the same table.
        psql(
            self.host(&primary),
            "CREATE VIEW rows AS SELECT text FROM cdr",
        )?;
        self.write()
    }

    /// All rows that the primary's database has.
    pub(crate) fn rows_there(&self) -> Result<BTreeSet<String>> {
        let (primary, _) = self.primary()?;
        let rows = psql(self.host(&primary), "SELECT text FROM cdr")?;
        Ok(rows.lines().map(str::to_owned).collect())
    }

    /// The third machine reaches the IPPBX by its address.
    pub(crate) fn wait_verified(&self) -> Result<()> {
        eventually("a third machine to reach the IPPBX", SOON, || {
            let seen = self.cluster.node(self.management.name())?;
            let checks = seen["checks"].as_array().cloned().unwrap_or_default();
            let sip = checks.iter().find(|check| check["check"] == "pbx.sip");
            ensure!(sip.is_some_and(|sip| sip["verdict"] == "ok"), "{seen}");
            Ok(())
        })
    }

    /// Eth0 of exactly this machine has the address, and its IPPBX runs, and no other.
    pub(crate) fn is_where(&self, node: &str) -> Result<()> {
        for host in &self.members {
            let here = host.name() == node;
            ensure!(
                self.has_address(host)? == here,
                "the address: {}",
                host.name()
            );
            let active = host.output(&["systemctl", "is-active", UNIT])?;
            ensure!(
                active.status.success() == here,
                "the IPPBX: {}",
                host.name()
            );
        }
        Ok(())
    }

    /// Commits wait for the other one than this primary.
    pub(crate) fn wait_synchronous(&self, primary: &str) -> Result<()> {
        eventually("commits that wait", SOON, || {
            let seen = self.cluster.node(primary)?;
            let detail = seen["instances"][0]["role"]["detail"].to_string();
            ensure!(detail.contains("commits wait for"), "{detail}");
            Ok(())
        })
    }

    /// Nothing that was acknowledged is missing, and never were two sides active.
    pub(crate) fn nothing_is_lost(&self, writers: &Writers) -> Result<()> {
        writers.never_two_at_once()?;
        let lost = writers.lost(&writers.rows()?, &self.rows_there()?);
        ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
        Ok(())
    }
}

/// When a unit of this machine last became active, or stopped being it, by a clock that all hosts share.
pub(crate) fn when(host: &Host, unit: &str, what: &str) -> Result<u64> {
    let property = format!("{what}EnterTimestampMonotonic");
    let shown = host.exec(&["systemctl", "show", "--value", "-p", &property, unit])?;
    shown
        .trim()
        .parse()
        .with_context(|| format!("{unit}: {shown}"))
}

/// Asks the database of a machine itself.
pub(crate) fn psql(host: &Host, sql: &str) -> Result<String> {
    host.exec(&["psql", "-XAt", "-U", "postgres", "-c", sql, "postgres"])
}

fn install_ippbx(host: &Host, address: &str) -> Result<()> {
    let program = "/usr/local/lib/uc8k/ippbx";
    host.put_file(program, IPPBX.as_bytes(), 0o755)?;
    let unit = format!(
        "[Unit]\nDescription=Stand-in for the IPPBX of a UC8000\n[Service]\nType=notify\nRestart=no\nTimeoutStopSec=5\n\
         ExecStart=/usr/bin/python3 -u {program} {address}\n"
    );
    install_unit(host, UNIT, &unit)
}
