//! A MicroStrategy Collaboration Server cluster: the shipped spec (`deploy/clusters/mstr.yaml`), a real nginx, a real Redis, a
//! real PostgreSQL, and stand-ins for the closed products.

pub mod clients;
mod spec;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{SECRETS, System, secret};
use crate::local::{Cluster, Layout, Machine, Operator, Postgres, Redis};
use crate::skip;

const STAND_IN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/stand-ins/mstr_collaboration.py"
);

/// What the tests need, and the package that has it.
const NEEDED: [(&str, &str); 4] = [
    Redis::NEEDED,
    Postgres::NEEDED,
    ("/usr/sbin/nginx", "nginx"),
    ("/usr/bin/python3", "python3"),
];

/// The last numbers of addresses.
const REDIS_AT: u8 = 11;
/// An address that only Redis's own machine is taken to reach, as if it were its loopback.
const REDIS_ALONE: u8 = 99;
const DATABASE_AT: u8 = 12;
const BALANCER_AT: u8 = 41;

/// The database, and its user.
const DATABASE: &str = "mstr_collab";
const PASSWORD: &str = "open-sesame";

/// What the configuration of an instance says at first.
pub const FIRST_CONFIG: &str = "{ \"logging\": { \"level\": \"info\" } }\n";

/// The numbers of the collaboration servers.
pub const NUMBERS: [u8; 3] = [1, 2, 3];

/// The longest that anything takes here, with both processors busy.
pub const SOON: Duration = Duration::from_secs(45);

/// What this machine lacks for one, in a line.
#[must_use]
pub fn missing() -> Option<String> {
    crate::missing(&NEEDED)
}

/// A cluster with nothing started.
#[derive(Debug)]
pub struct Site {
    /// The cluster.
    pub cluster: Cluster,
    /// Somebody who may do everything.
    pub operator: Operator,
    redis: Redis,
}

impl Site {
    /// With everything as it should be; none where something is missing.
    ///
    /// # Errors
    /// It does not come up.
    pub fn begin() -> Result<Option<Self>> {
        Self::with(REDIS_AT, false)
    }

    /// With instances that get little time to be healthy after they have started.
    ///
    /// # Errors
    /// As [`Site::begin`].
    pub fn hasty() -> Result<Option<Self>> {
        Self::with(REDIS_AT, true)
    }

    /// With a Redis that nobody else reaches.
    ///
    /// # Errors
    /// As [`Site::begin`].
    pub fn with_a_lonely_redis() -> Result<Option<Self>> {
        Self::with(REDIS_ALONE, false)
    }

    fn with(host: u8, hasty: bool) -> Result<Option<Self>> {
        if let Some(why) = missing() {
            skip("a whole MSTR cluster", &why);
            return Ok(None);
        }
        let spec = spec::adapted(hasty)?;
        let mut cluster = Cluster::prepare(&Layout {
            spec: &spec,
            machines: machines(),
        })?;
        Postgres::prepare(&cluster, DATABASE_AT, DATABASE, DATABASE, PASSWORD)?;
        secret(&cluster, "mstr-db", PASSWORD)?;
        let redis = Redis::prepare(&cluster, host, NUMBERS.map(user))?;
        for number in NUMBERS {
            std::fs::write(cluster.path(&config(number)), FIRST_CONFIG)?;
        }
        std::fs::write(cluster.path("lb.conf"), nginx(&cluster, true))?;
        std::fs::write(cluster.path("lb.members"), upstream(&cluster, &NUMBERS))?;
        cluster.start_coordinator()?;
        cluster.join()?;
        let operator = cluster.admin()?;
        Ok(Some(Self {
            cluster,
            operator,
            redis,
        }))
    }

    /// The load balancer.
    ///
    /// # Errors
    /// Its address is none.
    pub fn balancer(&self) -> Result<SocketAddr> {
        Ok(format!("{}:8080", self.cluster.address(BALANCER_AT)).parse()?)
    }

    /// Lets Redis listen where everybody reaches it, and so much longer.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn let_redis_be_reached(&self) -> Result<()> {
        self.redis.listen_on(&self.cluster, REDIS_AT)?;
        Ok(())
    }

    /// Cuts an instance off from Redis, or not any more: its user may not log in, and is thrown out.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn cut_off(&self, number: u8, cut: bool) -> Result<()> {
        self.redis.shut_out(&self.cluster, &user(number), cut)
    }

    /// Lets the load balancer hand on what asks for a WebSocket, or not any more.
    ///
    /// # Errors
    /// It does not run, or its file cannot be written.
    pub fn hand_upgrades_on(&self, upgrades: bool) -> Result<()> {
        std::fs::write(self.cluster.path("lb.conf"), nginx(&self.cluster, upgrades))?;
        let pid = std::fs::read_to_string(self.cluster.path("lb.pid"))?;
        let pid = Pid::from_raw(pid.trim().parse()?).context("no process")?;
        Ok(kill_process(pid, Signal::HUP)?)
    }

    /// What the configuration of an instance says.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn config(&self, number: u8) -> Result<String> {
        Ok(std::fs::read_to_string(self.cluster.path(&config(number)))?)
    }

    /// Where nobody reaches a Redis.
    #[must_use]
    pub fn nobody(&self) -> String {
        format!("{}:6379", self.cluster.address(REDIS_ALONE))
    }

    /// The documented status of an instance, asked itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn instance(&self, number: u8) -> Result<Value> {
        let at = format!("{}:3000", self.cluster.address(50 + number)).parse()?;
        let (_, page) = clients::get(at, 0, "/status")?;
        Ok(serde_json::from_str(&page)?)
    }

    /// The process of an instance, and since when it is.
    ///
    /// # Errors
    /// It does not answer.
    pub fn process(&self, number: u8) -> Result<(Value, Value)> {
        let status = self.instance(number)?;
        let main = &status["main"];
        Ok((main["pid"].clone(), main["up_since"].clone()))
    }

    /// What an instance has logged.
    ///
    /// # Errors
    /// It has none, or it cannot be read.
    pub fn log(&self, number: u8) -> Result<String> {
        Ok(std::fs::read_to_string(
            self.cluster.path(&format!("collab{number}.log")),
        )?)
    }

    /// Which members the load balancer's file marks as `down`.
    ///
    /// # Errors
    /// It marks others.
    pub fn members_are_down(&self, down: &[u8]) -> Result<()> {
        let file = std::fs::read_to_string(self.cluster.path("lb.members"))?;
        ensure!(file == upstream(&self.cluster, down), "{file}");
        Ok(())
    }

    /// Who serves the clients of these networks.
    ///
    /// # Errors
    /// A client is not served.
    pub fn served(&self, networks: u8) -> Result<Vec<String>> {
        let at = self.balancer()?;
        let asked = (0..networks).map(|network| Ok(clients::get(at, network, "/status")?.0));
        asked.collect()
    }

    /// What a member is called in the load balancer.
    #[must_use]
    pub fn server(&self, number: u8) -> String {
        format!("{}:3000", self.cluster.address(50 + number))
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
        "collab"
    }

    fn store(&self) -> (&'static str, &'static str) {
        ("redis", "redis1")
    }

    fn ask(&self) -> Result<()> {
        clients::get(self.balancer()?, 0, "/status").map(drop)
    }

    fn processes(&self) -> Result<Vec<(Value, Value)>> {
        NUMBERS.into_iter().map(|it| self.process(it)).collect()
    }

    fn losses(&self) -> Result<usize> {
        let lost = |number| Ok(self.log(number)?.matches("lost ").count());
        NUMBERS.into_iter().map(lost).sum()
    }
}

/// An instance's user of Redis.
fn user(number: u8) -> String {
    format!("collab{number}")
}

/// The configuration of an instance, in the directory of the cluster.
fn config(number: u8) -> String {
    format!("collab{number}.json")
}

fn machines() -> Vec<Machine> {
    let mut machines = vec![
        Redis::machine("redis1", REDIS_AT, "redis"),
        Postgres::machine("db1", DATABASE_AT, "db"),
        Machine::new("is1", 21).process("intelligence"),
        Machine::new("lib1", 31).process("library"),
        Machine::new("lb1", BALANCER_AT).nginx("lb", "collaboration"),
    ];
    let login = format!("{DATABASE}:{DATABASE}:{PASSWORD}");
    for number in NUMBERS {
        let (node, host) = (format!("collab{number}"), 50 + number);
        let (listen, log) = (format!("NET.{host}:3000"), format!("DIR/{node}.log"));
        let config = format!("DIR/{}", config(number));
        let command = [
            "/usr/bin/python3",
            "-B",
            STAND_IN,
            "--listen",
            &listen,
            "--redis",
            "NET.11:6379",
            "--database",
            "NET.12:5432",
            "--login",
            &login,
            "--user",
            &node,
            "--log",
            &log,
            "--config",
            &config,
        ];
        let machine = Machine::new(&node, host).command("collab", &command, Some(3000));
        let machine = machine.allow("check_secrets = { mstr-db = [\"NET.12:5432\"] }");
        let file = format!(
            "\n[file.config]\npath = \"{config}\"\nmode = \"0640\"\ncheck = [\"/usr/bin/python3\", \"-m\", \"json.tool\", \
             \"{{file}}\", \"/dev/null\"]\n"
        );
        let machine = machine.file("collab", "config").sections(&file);
        machines.push(machine.sections(SECRETS));
    }
    machines
}

/// WebSockets are handed through over HTTP/1.1 (or not: `upgrades`), and /api is the Library's. A header says who has served.
fn nginx(cluster: &Cluster, upgrades: bool) -> String {
    let here = cluster.path("");
    let here = here.display();
    let handed_on = if upgrades {
        "   proxy_http_version 1.1;\n   proxy_set_header Upgrade $http_upgrade;\n   proxy_set_header Connection \"upgrade\";\n"
    } else {
        ""
    };
    let temporary = |name: &str| format!(" {name}_temp_path {here}/{name};\n");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temporary);
    format!(
        "daemon off;\nworker_processes 2;\npid {here}/lb.pid;\nevents {{ worker_connections 512; }}\nhttp {{\n access_log \
         off;\n{} proxy_next_upstream off;\n include {here}/lb.members;\n server {{\n  listen {}:8080 backlog=512;\n  \
         add_header X-Served $upstream_addr always;\n  location /status {{ proxy_pass http://collaboration; }}\n  location \
         /socket.io/ {{\n   proxy_pass http://collaboration;\n{handed_on}  }}\n  location /api {{ proxy_pass http://{}:8080; \
         }}\n }}\n}}\n",
        paths.concat(),
        cluster.address(BALANCER_AT),
        cluster.address(31),
    )
}

/// The load balancer's file of members, of which these are marked.
fn upstream(cluster: &Cluster, down: &[u8]) -> String {
    let mut text = String::from("upstream collaboration {\n    ip_hash;\n");
    for number in NUMBERS {
        let mark = if down.contains(&number) { " down" } else { "" };
        let address = cluster.address(50 + number);
        text += &format!("    server {address}:3000 max_fails=0{mark};\n");
    }
    text + "}\n"
}
