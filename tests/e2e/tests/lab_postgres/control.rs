//! A pair whose control plane is three machines, each with a coordinator and a member of etcd: what is done to them at the moment in
//! which something happens to the primary.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{Cluster, enable_unit, install_unit};
use interlock_e2e::pair::{Pair, SOON};
use interlock_e2e::rows::{PROGRAM, Writers};
use interlock_e2e::{Host, Lab, Machine, eventually, skip, tools};

use crate::site::{self, Site};

/// Time in which a host that was switched on has booted.
const BOOT: Duration = Duration::from_secs(60);

/// Time in which a role is somewhere again: the hold of a coordinator that was killed lasts for 8 s, and etcd may be away.
const LONG: Duration = Duration::from_secs(120);

/// The unit of the coordinators, and that of etcd.
const COORDINATOR: &str = "interlock-coordinator.service";
const ETCD: &str = "etcd.service";

/// A lease that outlives an election of an etcd with its defaults, and is over in seconds.
const LEASE: &str = "{ automatic: true, budget: 1000, on_control_loss: demote, vm_pause: accepted, clients: address, \
                     max_lag: 16MiB, profile: fast, timings: { life: 3300ms, fence: 2500ms } }";

/// What happens to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// Nothing.
    Whole,
    /// The member of etcd that leads is killed, and stays away until the end.
    EtcdLeader,
    /// All members of etcd are stopped for a while.
    AllOfEtcd,
    /// The coordinator that leads is killed. systemd starts it again.
    Coordinator,
}

/// What happens to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Its server is killed.
    Killed,
    /// Its machine loses power.
    Power,
    /// Its machine stands still, and goes on when somebody else may be primary.
    Frozen,
    /// It reaches nobody.
    Alone,
    /// It reaches no coordinator.
    FromCoordinators,
    /// It does not reach its standby.
    FromPeer,
    /// What it sends to coordinators is lost; what they send arrives.
    Unheard,
    /// What coordinators send is lost; what it sends arrives.
    Deaf,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::None,
        Self::Killed,
        Self::Power,
        Self::Frozen,
        Self::Alone,
        Self::FromCoordinators,
        Self::FromPeer,
        Self::Unheard,
        Self::Deaf,
    ];

    /// Does the role move, if the control plane is whole?
    fn moves(self) -> bool {
        match self {
            Self::None | Self::Killed | Self::FromPeer => false,
            Self::Power
            | Self::Frozen
            | Self::Alone
            | Self::FromCoordinators
            | Self::Unheard
            | Self::Deaf => true,
        }
    }
}

impl Control {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [
        Self::Whole,
        Self::EtcdLeader,
        Self::AllOfEtcd,
        Self::Coordinator,
    ];
}

/// The machines.
#[derive(Debug)]
pub(crate) struct Plane<'lab> {
    lab: &'lab Lab,
    site: Site<'lab>,
    /// Each with a coordinator and a member of etcd.
    control: Vec<Arc<Host>>,
}

impl<'lab> Plane<'lab> {
    /// Builds them; none if etcd is not installed. They are on, and their service is stopped.
    pub(crate) fn build(lab: &'lab Lab) -> Result<Option<Self>> {
        let etcd = match tools::etcd() {
            Ok(etcd) => etcd,
            Err(why) => {
                skip("a control plane on etcd", &why.to_string());
                return Ok(None);
            }
        };
        let control = (1..=3).map(|number| lab.nspawn(&format!("c{number}")));
        let control = control.collect::<Result<Vec<_>>>()?;
        let client = lab.plain("client")?;
        let (one, two) = (lab.nspawn("db1")?, lab.nspawn("db2")?);
        let address = lab.service_address(0)?.to_string();
        let spec = spec(&control, &[&one, &two], &address);
        let mut cluster = Cluster::create(lab, "pair", &spec)?;
        for host in &control {
            cluster.install_coordinator(host)?;
            install_etcd(host, &etcd, &control)?;
        }
        for host in [&one, &two] {
            cluster.install_agent(host, &[])?;
            site::prepare(host)?;
        }
        for host in [&client, &one, &two] {
            host.put_file(PROGRAM, site::WRITER.as_bytes(), 0o644)?;
        }
        let all = || control.iter().chain([&client, &one, &two]);
        for host in all() {
            host.power_on()?;
        }
        for host in all() {
            host.wait_booted(BOOT)?;
        }
        let management = control.first().map(Arc::clone).context("no machine")?;
        let site = Site::of(Pair {
            cluster,
            service: "db",
            management,
            client,
            members: vec![Arc::clone(&one), Arc::clone(&two)],
            one,
            two,
            address,
            bmcs: None,
        });
        let spec = site.cluster.spec();
        eventually("a coordinator", SOON, || {
            site.cluster.run(&["spec", "apply", "--yes", &spec])
        })?;
        for host in &site.members {
            eventually("an agent", SOON, || {
                let seen = site.cluster.node(host.name())?;
                ensure!(seen["liveness"] == "alive", "{seen}");
                Ok(())
            })?;
        }
        Ok(Some(Self { lab, site, control }))
    }

    /// What of it is the same with every pair.
    pub(crate) fn site(&self) -> &Site<'lab> {
        &self.site
    }

    /// Does both at once, waits until the role is somewhere again, sets everything right, and looks what has become of it.
    /// `away` is for how long etcd is stopped.
    pub(crate) fn run(
        &self,
        (control, fault): (Control, Fault),
        away: Duration,
        writers: &mut Writers,
    ) -> Result<()> {
        let (primary, epoch) = self.settle()?;
        let other = self.site.other(&primary).name().to_owned();
        let began = writers.count()?;
        let stopped = self.break_control(control)?;
        self.break_primary(fault, &primary, &other)?;

        let moved = control == Control::Whole && fault.moves();
        match control {
            // Nobody can be made primary, so whoever takes rows is the one that was, and it stops in time.
            Control::AllOfEtcd => self.stays_stopped(&primary, fault, away, writers)?,
            Control::Whole | Control::EtcdLeader | Control::Coordinator if fault.moves() => {
                self.wait_rows_of(&other, writers)?;
            }
            Control::Whole | Control::EtcdLeader | Control::Coordinator => writers.wait_more(50)?,
        }
        for (host, unit) in &stopped {
            // A member of etcd is up when most of them are.
            host.exec(&["systemctl", "start", "--no-block", unit])?;
        }
        self.set_right(&primary, writers)?;
        let (now, later) = self.settle()?;
        if moved {
            ensure!(now == other && later == epoch + 1, "{now} in epoch {later}");
        } else if control == Control::Whole {
            ensure!(
                now == primary && later == epoch,
                "{now} in epoch {later}, after {primary} in epoch {epoch}"
            );
        }
        writers.wait_more(50)?;
        println!(
            "{control:?}, {fault:?}: {primary} in {epoch}, {now} in {later}, {} rows",
            writers.count()? - began
        );
        Ok(())
    }

    /// Waits until somebody is primary, and commits wait for the other one, which follows. It may not have come to rest yet, so all
    /// of that is looked at again and again.
    pub(crate) fn settle(&self) -> Result<(String, u64)> {
        eventually("a primary, and commits that wait", LONG, || {
            let (primary, epoch) = self.site.primary()?;
            let other = self.site.other(&primary).name();
            let waited = self.site.waited(&primary)?;
            ensure!(waited == other, "commits wait for {waited}");
            let seen = self.site.cluster.node(other)?;
            let role = &seen["instances"][0]["role"];
            let streams = role["detail"].to_string().contains("streams");
            ensure!(role["side"] == "standby" && streams, "{seen}");
            ensure!(role["epoch"] == epoch, "{seen}");
            Ok((primary, epoch))
        })
    }

    /// Breaks the control plane; what has to be started again later.
    fn break_control(&self, control: Control) -> Result<Vec<(&Arc<Host>, &'static str)>> {
        let kill = |host: &Host, unit: &str| {
            let kill = ["systemctl", "kill", "--signal=KILL", unit];
            host.exec(&kill).map(drop)
        };
        match control {
            Control::Whole => Ok(Vec::new()),
            Control::EtcdLeader => {
                let leader = self.etcd_leader()?;
                kill(leader, ETCD)?;
                Ok(vec![(leader, ETCD)])
            }
            Control::AllOfEtcd => {
                for host in &self.control {
                    kill(host, ETCD)?;
                }
                Ok(self.control.iter().map(|host| (host, ETCD)).collect())
            }
            Control::Coordinator => {
                let status = self.site.cluster.ask(&["status"])?;
                let name = status["coordinator"].as_str().unwrap_or_default();
                let mut hosts = self.control.iter();
                let leads = hosts.find(|host| host.name() == name);
                kill(leads.with_context(|| format!("no {name}"))?, COORDINATOR)?;
                Ok(Vec::new())
            }
        }
    }

    fn break_primary(&self, fault: Fault, primary: &str, other: &str) -> Result<()> {
        let host = self.site.host(primary);
        let coordinators = self.control.iter().map(|host| host.name());
        match fault {
            Fault::None => Ok(()),
            Fault::Killed => {
                let kill = "kill -KILL $(head -n 1 /var/lib/postgresql/15/main/postmaster.pid)";
                host.exec(&["sh", "-c", kill]).map(drop)
            }
            Fault::Power => host.pull_plug(),
            Fault::Frozen => host.freeze(),
            Fault::Alone => host.set_cable(false),
            Fault::FromPeer => self.lab.cut(primary, other),
            Fault::FromCoordinators => {
                for coordinator in coordinators {
                    self.lab.cut(primary, coordinator)?;
                }
                Ok(())
            }
            Fault::Unheard => {
                for coordinator in coordinators {
                    self.lab.cut_one_way(primary, coordinator)?;
                }
                Ok(())
            }
            Fault::Deaf => {
                for coordinator in coordinators {
                    self.lab.cut_one_way(coordinator, primary)?;
                }
                Ok(())
            }
        }
    }

    /// While no coordinator has a store, the primary stops, and nobody else begins.
    fn stays_stopped(
        &self,
        primary: &str,
        fault: Fault,
        away: Duration,
        writers: &Writers,
    ) -> Result<()> {
        let host = self.site.host(primary);
        if matches!(fault, Fault::None | Fault::FromPeer) {
            eventually("the primary to have stopped", SOON, || {
                ensure!(!self.site.has_address(host)?, "it has the address");
                Ok(())
            })?;
        }
        std::thread::sleep(away);
        let before = writers.count()?;
        std::thread::sleep(Duration::from_secs(2));
        let count = writers.count()?;
        ensure!(count == before, "{} rows without etcd", count - before);
        Ok(())
    }

    /// Ends what was done to the primary. Its writer goes on where its machine was off.
    fn set_right(&self, primary: &str, writers: &mut Writers) -> Result<()> {
        let host = self.site.host(primary);
        self.lab.heal()?;
        host.set_cable(true)?;
        host.thaw()?;
        if !host.is_on() {
            host.power_on()?;
            host.wait_booted(BOOT)?;
            writers.add(host, "127.0.0.1")?;
        }
        Ok(())
    }

    /// Waits until this machine takes rows.
    fn wait_rows_of(&self, node: &str, writers: &Writers) -> Result<()> {
        let own = format!("{node}/");
        eventually(&format!("rows of {node}"), LONG, || {
            let last = writers.last_server()?;
            ensure!(last.starts_with(&own), "{last} takes them");
            Ok(())
        })?;
        writers.wait_more(50)
    }

    /// The machine of the member of etcd that leads.
    fn etcd_leader(&self) -> Result<&Arc<Host>> {
        eventually("a leader of etcd", SOON, || {
            for host in &self.control {
                let url = "http://127.0.0.1:2381/metrics";
                let metrics = host.exec(&["curl", "--silent", "--max-time", "2", url])?;
                if metrics.contains("\netcd_server_is_leader 1\n") {
                    return Ok(host);
                }
            }
            anyhow::bail!("none of them leads")
        })
    }
}

fn spec(control: &[Arc<Host>], members: &[&Arc<Host>], address: &str) -> String {
    let node = |host: &Arc<Host>| format!("  {}: {{ address: {} }}\n", host.name(), host.address());
    let etcd = control.iter().map(|host| client_url(host));
    let etcd = etcd.map(|url| format!("\"{url}\"")).collect::<Vec<_>>();
    let names = control.iter().map(|host| host.name()).collect::<Vec<_>>();
    let nodes: String = control.iter().map(node).collect();
    let members: String = members.iter().map(|host| node(host)).collect();
    format!(
        "cluster: pair\n\
         control: {{ coordinators: [{}], etcd: [{}], heartbeat: 500ms, late: 2s, lost: 5s }}\n\
         nodes:\n{nodes}{members}\
         services:\n  db:\n    nodes: [db1, db2]\n    active: one\n    parts:\n      \
         - postgres: {{ cluster: main, user: postgres, synchronous: \"on\", rejoin: rewind }}\n      \
         - address: {{ ip: {address}/24, interface: host0 }}\n    \
         failover: {LEASE}\n",
        names.join(", "),
        etcd.join(", ")
    )
}

fn client_url(host: &Host) -> String {
    format!("https://{}:2379", host.address())
}

/// Gives a host its member of etcd, with the certificate of its coordinator, and names all of them in the file of that.
fn install_etcd(host: &Host, program: &std::path::Path, control: &[Arc<Host>]) -> Result<()> {
    host.copy_file(program, "/usr/local/bin/etcd", 0o755)?;
    let peer = |host: &Host| format!("http://{}:2380", host.address());
    let all = control
        .iter()
        .map(|host| format!("{}={}", host.name(), peer(host)));
    let tls = "/etc/interlock/tls";
    let unit = format!(
        "[Unit]\nDescription=A member of etcd\n[Service]\nType=notify\nRestart=on-failure\nRestartSec=200ms\n\
         RestartPreventExitStatus=SIGKILL\n\
         ExecStart=/usr/local/bin/etcd --name {name} --data-dir /var/lib/etcd --initial-cluster {all} \
         --listen-client-urls {client} --advertise-client-urls {client} \
         --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --listen-metrics-urls http://127.0.0.1:2381 \
         --trusted-ca-file {tls}/ca.crt --cert-file {tls}/coordinator.crt --key-file {tls}/coordinator.key \
         --client-cert-auth\n[Install]\nWantedBy=multi-user.target\n",
        name = host.name(),
        all = all.collect::<Vec<_>>().join(","),
        client = client_url(host),
        peer = peer(host),
    );
    install_unit(host, ETCD, &unit)?;
    enable_unit(host, ETCD)?;
    let path = "/etc/interlock/interlock-coordinator.toml";
    let endpoints = control
        .iter()
        .map(|host| format!("\"{}\"", client_url(host)));
    let config = String::from_utf8(host.read_file(path)?).context("no text")?;
    let config = format!(
        "{config}\n[store.etcd]\nendpoints = [{}]\nca = \"{tls}/ca.crt\"\ncert = \"{tls}/coordinator.crt\"\nkey = \
         \"{tls}/coordinator.key\"\n",
        endpoints.collect::<Vec<_>>().join(", ")
    );
    host.put_file(path, config.as_bytes(), 0o644)
}
