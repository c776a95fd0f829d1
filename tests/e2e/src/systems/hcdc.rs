//! A Hipchat Data Center: the shipped spec (`deploy/clusters/hcdc.yaml`), a real PostgreSQL, a real Redis, a real HAProxy, and
//! stand-ins for the nodes of the closed product.
//!
//! Each node has a mount namespace of its own, in which the share is a bind mount: kernels of containers have no NFS. So
//! it needs root. The clock of a node is as wrong as its time server is, for all machines here have one.

mod clocks;
mod spec;

pub use clocks::{Clock, Serve as ServeClock};

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_proto::v1::Verdict;
use rustix::process::Pid;
use serde_json::{Value, json};

use super::{SECRETS, System, secret};
use crate::local::{Cluster, Disk, Haproxy, Layout, Machine, Operator, Postgres, Redis, web};
use crate::{run, skip, tools};

const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/stand-ins/hipchat_node.py");

/// What the tests need, and the package that has it.
const NEEDED: [(&str, &str); 5] = [
    Postgres::NEEDED,
    Redis::NEEDED,
    Haproxy::NEEDED,
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/unshare", "util-linux"),
];

/// The last numbers of addresses.
const DATABASE_AT: u8 = 11;
/// An address that only the database's own machine is taken to reach, as if it were its loopback.
const DATABASE_ALONE: u8 = 99;
const REDIS_AT: u8 = 12;
const SHARE_AT: u8 = 13;
const BALANCER_AT: u8 = 21;

/// The user of the application, everywhere.
const USER: &str = "hipchat";
const PASSWORD: &str = "open-sesame";

/// The numbers of the nodes.
pub const NUMBERS: [u8; 3] = [1, 2, 3];

/// The longest that anything takes here, with both processors busy.
pub const SOON: Duration = Duration::from_secs(45);

/// What this machine lacks for one, in a line.
#[must_use]
pub fn missing() -> Option<String> {
    let program = crate::missing(&NEEDED);
    program.or_else(|| {
        let error = tools::require_root().err()?;
        Some(format!("a share has to be mounted: {error}"))
    })
}

/// What the share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// A directory.
    Plain,
    /// A file system that can be frozen.
    OfItsOwn,
}

/// A cluster with nothing started.
#[derive(Debug)]
pub struct Site {
    /// The cluster.
    pub cluster: Cluster,
    /// Somebody who may do everything.
    pub operator: Operator,
    /// The database.
    pub database: Postgres,
    /// The time server of each node.
    pub clocks: [Clock; 3],
}

impl Site {
    /// With everything as it should be; none where something is missing.
    ///
    /// # Errors
    /// It does not come up.
    pub fn begin() -> Result<Option<Self>> {
        Ok(Self::with(DATABASE_AT, &NUMBERS, Share::Plain)?.map(|(site, _)| site))
    }

    /// With a share that can be made to hang, as one does whose server is gone.
    ///
    /// # Errors
    /// As [`Site::begin`].
    pub fn with_a_share_that_can_hang() -> Result<Option<(Self, Disk)>> {
        let made = Self::with(DATABASE_AT, &NUMBERS, Share::OfItsOwn)?;
        Ok(made.and_then(|(site, disk)| Some((site, disk?))))
    }

    /// With a database that nobody else reaches.
    ///
    /// # Errors
    /// As [`Site::begin`].
    pub fn with_a_lonely_database() -> Result<Option<Self>> {
        Ok(Self::with(DATABASE_ALONE, &NUMBERS, Share::Plain)?.map(|(site, _)| site))
    }

    /// With the share mounted on these nodes only.
    ///
    /// # Errors
    /// As [`Site::begin`].
    pub fn with_the_share_on(nodes: &[u8]) -> Result<Option<Self>> {
        Ok(Self::with(DATABASE_AT, nodes, Share::Plain)?.map(|(site, _)| site))
    }

    fn with(database_at: u8, mounted: &[u8], share: Share) -> Result<Option<(Self, Option<Disk>)>> {
        if let Some(why) = missing() {
            skip("a whole HCDC cluster", &why);
            return Ok(None);
        }
        let mut cluster = Cluster::prepare(&Layout {
            spec: &spec::adapted()?,
            machines: machines(mounted),
        })?;
        let database =
            Postgres::prepare(&cluster, database_at, "hipchat_postgres", USER, PASSWORD)?;
        Redis::prepare(&cluster, REDIS_AT, [USER.to_owned()])?;
        fs::write(cluster.path("lb.cfg"), haproxy(&cluster))?;
        for directory in ["share", "file_store", "machine"] {
            fs::create_dir(cluster.path(directory))?;
        }
        let disk = match share {
            Share::Plain => None,
            Share::OfItsOwn => match Disk::mount(&cluster.path("share"), &cluster.path("disk"))? {
                Some(disk) => Some(disk),
                None => return Ok(None),
            },
        };
        for marker in [".alive", ".interlock"] {
            fs::write(cluster.path("share").join(marker), "")?;
        }
        secret(&cluster, "hipchat-db", PASSWORD)?;
        for number in NUMBERS {
            let here = own(&cluster, number);
            fs::create_dir_all(here.join("log"))?;
            fs::write(here.join("config.json"), config(&cluster).to_string())?;
            fs::write(here.join("version"), "hipchat 3.1.7\n")?;
            let line = format!("hipchat{number} yesterday\n");
            fs::write(here.join("log/hipchat.log.1"), line)?;
        }
        let clock = |number: u8| Clock::of(&cluster, 30 + number);
        let clocks = [clock(1)?, clock(2)?, clock(3)?];
        cluster.start_coordinator()?;
        cluster.join()?;
        let operator = cluster.admin()?;
        let site = Self {
            cluster,
            operator,
            database,
            clocks,
        };
        Ok(Some((site, disk)))
    }

    /// Where clients come in.
    ///
    /// # Errors
    /// Its address is none.
    pub fn door(&self) -> Result<SocketAddr> {
        Ok(format!("{}:8080", self.cluster.address(BALANCER_AT)).parse()?)
    }

    /// The load balancer, asked itself.
    #[must_use]
    pub fn balancer(&self) -> Haproxy {
        Haproxy::of(&self.cluster, "lb", "hipchat")
    }

    /// Lets the database listen where everybody reaches it, from its next start on.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn let_the_database_be_reached(&self) -> Result<()> {
        self.database.listen_on(&self.cluster, DATABASE_AT)
    }

    /// A file of a node's own machine.
    #[must_use]
    pub fn own(&self, number: u8, name: &str) -> PathBuf {
        own(&self.cluster, number).join(name)
    }

    /// Mounts the share on a node, or takes it away.
    ///
    /// # Errors
    /// It cannot be done there.
    pub fn mount(&self, number: u8, mounted: bool) -> Result<()> {
        let agent = self.cluster.agent_pid(&format!("hipchat{number}"))?;
        let mut inside = Command::new("/usr/bin/nsenter");
        inside.args(["--mount", "--target", &agent.as_raw_nonzero().to_string()]);
        let there = self.cluster.path("file_store");
        if mounted {
            inside
                .args(["mount", "--bind"])
                .arg(self.cluster.path("share"));
        } else {
            inside.args(["umount", "--lazy"]);
        }
        run(inside.arg(there)).map(drop)
    }

    /// What a node answers, and how.
    ///
    /// # Errors
    /// It does not answer.
    pub fn node(&self, number: u8) -> Result<(u16, Value)> {
        let at = format!("{}:80", self.cluster.address(30 + number)).parse()?;
        let (head, page) = web::get(at, "/", None)?;
        Ok((head.status, serde_json::from_str(&page)?))
    }

    /// What a node has logged.
    ///
    /// # Errors
    /// It has none, or it cannot be read.
    pub fn log(&self, number: u8) -> Result<String> {
        let file = self.own(number, "log/hipchat.log");
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    /// What a node's agent has found, and why.
    ///
    /// # Errors
    /// It has not told.
    pub fn check(&self, number: u8, service: &str, check: &str) -> Result<(Verdict, String)> {
        self.check_on(&format!("hipchat{number}"), service, check)
    }

    /// The same of any node.
    ///
    /// # Errors
    /// As [`Site::check`].
    pub fn check_on(&self, node: &str, service: &str, check: &str) -> Result<(Verdict, String)> {
        self.operator.check(node, service, check)
    }

    /// That the load balancer finds its members so.
    ///
    /// # Errors
    /// It does not.
    pub fn members_are(&self, wanted: [&str; 3]) -> Result<()> {
        let members = self.balancer().members()?;
        ensure!(members == wanted, "{members:?}");
        Ok(())
    }
}

impl System for Site {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn keep(self) -> Result<(PathBuf, Pid)> {
        self.cluster.keep()
    }

    fn operator(&self) -> &Operator {
        &self.operator
    }

    fn product(&self) -> &'static str {
        "hipchat"
    }

    fn store(&self) -> (&'static str, &'static str) {
        ("db", "pg1")
    }

    fn ask(&self) -> Result<()> {
        let (head, page) = web::get(self.door()?, "/", None)?;
        ensure!(head.status == 200, "{head:?}: {page}");
        Ok(())
    }

    fn processes(&self) -> Result<Vec<(Value, Value)>> {
        let one = |number| {
            let (_, told) = self.node(number)?;
            Ok((told["pid"].clone(), told["up_since"].clone()))
        };
        NUMBERS.into_iter().map(one).collect()
    }

    fn losses(&self) -> Result<usize> {
        let lost = |number| Ok(self.log(number)?.matches("lost ").count());
        NUMBERS.into_iter().map(lost).sum()
    }
}

/// What is at the same path on each node's machine, and another thing everywhere.
fn own(cluster: &Cluster, number: u8) -> PathBuf {
    let nodes = cluster.path("nodes");
    nodes.join(format!("hipchat{number}")).join("machine")
}

fn machines(mounted: &[u8]) -> Vec<Machine> {
    let mut machines = vec![
        Postgres::machine("pg1", DATABASE_AT, "db"),
        Redis::machine("redis1", REDIS_AT, "redis"),
        Machine::new("nfs1", SHARE_AT).process("nfs"),
        Machine::new("lb1", BALANCER_AT)
            .haproxy("lb", "hipchat")
            .allow("check_sockets = [\"DIR/lb.sock\"]"),
    ];
    for number in NUMBERS {
        machines.push(machine(number, mounted.contains(&number)));
    }
    machines
}

/// A node: its machine's own directory is at `DIR/machine`, the share at `DIR/file_store`.
fn machine(number: u8, mounted: bool) -> Machine {
    let (node, host) = (format!("hipchat{number}"), 30 + number);
    let listen = format!("NET.{host}:80");
    let command = [
        "/usr/bin/python3",
        "-B",
        STAND_IN,
        "--node",
        &node,
        "--listen",
        &listen,
        "--config",
        "DIR/machine/config.json",
        "--started-with",
        "DIR/machine/started.json",
        "--log",
        "DIR/machine/log/hipchat.log",
        "--slow",
        "DIR/slow",
    ];
    let share = if mounted {
        "mount --bind DIR/share DIR/file_store && "
    } else {
        ""
    };
    let own = format!("DIR/nodes/{node}/machine");
    let inside = format!("mount --bind {own} DIR/machine && {share}exec \"$@\"");
    let under = ["--mount", "--propagation", "private", "/bin/sh", "-c"];
    Machine::new(&node, host)
        .command("hipchat", &command, Some(80))
        .under(&[&["/usr/bin/unshare"], &under[..], &[&inside, "sh"]].concat())
        .allow("checks = [\"hipchat-self-check\", \"hipchat-version\"]")
        .allow("check_secrets = { hipchat-db = [\"NET.11:5432\"] }")
        .allow("marker_paths = [\"DIR/file_store/.interlock\", \"DIR/machine/config.json\"]")
        .allow("marker_writes = [\"DIR/file_store/.interlock\"]")
        .sections(SECRETS)
        .sections(SECTIONS)
}

/// The self-check that is known of the product: what has changed since the start is not in force.
const SECTIONS: &str = r#"
[exec.hipchat-self-check]
check = ["/usr/bin/cmp", "DIR/machine/config.json", "DIR/machine/started.json"]

[exec.hipchat-version]
check = ["/usr/bin/cat", "DIR/machine/version"]

[logs.hipchat]
globs = ["DIR/machine/log/*.log*"]
service = "hipchat"

[log_share]
dir = "DIR/file_store/logs"
mount = "DIR/file_store"
marker = ".alive"
"#;

/// The same on all nodes. The keys are the product's.
fn config(cluster: &Cluster) -> Value {
    let share: &Path = &cluster.path("file_store");
    json!({
        "shared-storage-location": share,
        "redis-server": cluster.address(REDIS_AT),
        "database-server": cluster.address(DATABASE_AT),
        "database-name": "hipchat_postgres",
        "database-user": USER,
        "database-password": PASSWORD,
    })
}

/// As it is used in the field, but for the faster look at a server that changes.
fn haproxy(cluster: &Cluster) -> String {
    let mut text = format!(
        "global\n stats socket {} mode 600 level admin\n hard-stop-after 60s\ndefaults\n mode http\n retries 1\n option \
         redispatch\n timeout connect 1s\n timeout client 5m\n timeout server 5m\nfrontend door\n bind {}:8080\n \
         default_backend hipchat\nbackend hipchat\n balance roundrobin\n cookie SERVERID insert indirect nocache maxlife \
         600\n option httpchk GET /\n default-server inter 1s fastinter 200ms fall 2\n",
        cluster.path("lb.sock").display(),
        cluster.address(BALANCER_AT)
    );
    for number in NUMBERS {
        let address = cluster.address(30 + number);
        text += &format!(" server hipchat{number} {address}:80 cookie hipchat{number} check\n");
    }
    text
}
