//! The cluster, its files, and what can be asked of its parts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Layout, Machine, Operator};
use interlock_e2e::{eventually, skip};
use interlock_proto::v1;
use serde_json::Value;

use crate::clients;
use crate::spec;

const STAND_IN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/stand-ins/mstr_collaboration.py"
);

/// What the tests need, and the package that has it. The server of Redis is in Debian's package of tools, under another
/// name; it looks at its own name.
const NEEDED: [(&str, &str); 3] = [
    (REDIS, "redis-tools"),
    ("/usr/sbin/nginx", "nginx"),
    ("/usr/bin/python3", "python3"),
];
const REDIS: &str = "/usr/bin/redis-check-rdb";

/// The last numbers of addresses.
const REDIS_AT: u8 = 11;
/// An address that only Redis's own machine is taken to reach, as if it were its loopback.
const REDIS_ALONE: u8 = 99;
const BALANCER_AT: u8 = 41;

/// The numbers of the collaboration servers.
pub(crate) const NUMBERS: [u8; 3] = [1, 2, 3];

/// The longest that anything takes here, with both processors busy.
pub(crate) const SOON: Duration = Duration::from_secs(45);

/// A cluster with nothing started.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) operator: Operator,
}

impl Site {
    /// With everything as it should be; none where something is missing.
    pub(crate) fn begin() -> Result<Option<Self>> {
        Self::with_redis_at(REDIS_AT)
    }

    /// With a Redis that nobody else reaches.
    pub(crate) fn with_a_lonely_redis() -> Result<Option<Self>> {
        Self::with_redis_at(REDIS_ALONE)
    }

    fn with_redis_at(host: u8) -> Result<Option<Self>> {
        for (program, package) in NEEDED {
            if !Path::new(program).exists() {
                let why = format!("{program} is missing; `cargo xtask test` installs {package}");
                skip("a whole MSTR cluster", &why);
                return Ok(None);
            }
        }
        let spec = spec::adapted()?;
        let mut cluster = Cluster::prepare(&Layout {
            spec: &spec,
            machines: machines(),
        })?;
        std::fs::create_dir(cluster.path("bin"))?;
        symlink(REDIS, cluster.path("bin/redis-server"))?;
        std::fs::write(cluster.path("redis.conf"), redis(&cluster, host))?;
        std::fs::write(cluster.path("lb.conf"), nginx(&cluster))?;
        std::fs::write(cluster.path("lb.members"), upstream(&cluster, &NUMBERS))?;
        cluster.start_coordinator()?;
        cluster.join()?;
        let operator = cluster.admin()?;
        Ok(Some(Self { cluster, operator }))
    }

    /// The load balancer.
    pub(crate) fn balancer(&self) -> Result<SocketAddr> {
        Ok(format!("{}:8080", self.cluster.address(BALANCER_AT)).parse()?)
    }

    /// Lets Redis listen where everybody reaches it, and so much longer.
    pub(crate) fn let_redis_be_reached(&self) -> Result<()> {
        let here = self.cluster.address(REDIS_AT);
        self.tell_redis(REDIS_ALONE, &format!("CONFIG SET bind {here}"))
    }

    /// Cuts an instance off from Redis, or not any more: its user may not log in, and is thrown out.
    pub(crate) fn cut_off(&self, number: u8, cut: bool) -> Result<()> {
        let state = if cut { "off" } else { "on" };
        self.tell_redis(REDIS_AT, &format!("ACL SETUSER collab{number} {state}"))?;
        if cut {
            self.tell_redis(REDIS_AT, &format!("CLIENT KILL USER collab{number}"))?;
        }
        Ok(())
    }

    fn tell_redis(&self, host: u8, command: &str) -> Result<()> {
        let mut redis = TcpStream::connect((self.cluster.address(host).as_str(), 6379))?;
        redis.set_read_timeout(Some(SOON))?;
        write!(redis, "{command}\r\n")?;
        let mut answer = String::new();
        BufReader::new(redis).read_line(&mut answer)?;
        ensure!(
            answer.starts_with(['+', ':']),
            "{command}: Redis says {answer:?}"
        );
        Ok(())
    }

    /// The documented status of an instance, asked itself.
    pub(crate) fn instance(&self, number: u8) -> Result<Value> {
        let at = format!("{}:3000", self.cluster.address(50 + number)).parse()?;
        let (_, page) = clients::get(at, 0, "/status")?;
        Ok(serde_json::from_str(&page)?)
    }

    /// The process of an instance, and since when it is.
    pub(crate) fn process(&self, number: u8) -> Result<(Value, Value)> {
        let status = self.instance(number)?;
        let main = &status["main"];
        Ok((main["pid"].clone(), main["up_since"].clone()))
    }

    /// What an instance has logged.
    pub(crate) fn log(&self, number: u8) -> Result<String> {
        Ok(std::fs::read_to_string(
            self.cluster.path(&format!("collab{number}.log")),
        )?)
    }

    /// Which members the load balancer's file marks as `down`.
    pub(crate) fn members_are_down(&self, down: &[u8]) -> Result<()> {
        let file = std::fs::read_to_string(self.cluster.path("lb.members"))?;
        ensure!(file == upstream(&self.cluster, down), "{file}");
        Ok(())
    }

    /// Who serves the clients of these networks.
    pub(crate) fn served(&self, networks: u8) -> Result<Vec<String>> {
        let at = self.balancer()?;
        let asked = (0..networks).map(|network| Ok(clients::get(at, network, "/status")?.0));
        asked.collect()
    }

    /// What a member is called in the load balancer.
    pub(crate) fn server(&self, number: u8) -> String {
        format!("{}:3000", self.cluster.address(50 + number))
    }

    /// Waits until the status says this of a service, for a reason that contains each of these.
    pub(crate) fn until(&self, service: &str, state: &str, reasons: &[&str]) -> Result<v1::Status> {
        let what = format!("{service} to be {state}, {reasons:?}");
        eventually(&what, SOON, || {
            let status = self.operator.status()?;
            let seen = status.services.iter().find(|it| it.service == service);
            let seen = seen.with_context(|| format!("no {service}"))?;
            ensure!(seen.state == state, "{}: {}", seen.state, seen.reason);
            for reason in reasons {
                ensure!(seen.reason.contains(reason), "{}", seen.reason);
            }
            Ok(status)
        })
    }
}

fn machines() -> Vec<Machine> {
    let mut machines = vec![
        Machine::new("redis1", REDIS_AT).command(
            "redis",
            &["DIR/bin/redis-server", "DIR/redis.conf"],
            None,
        ),
        Machine::new("db1", 12).process("db"),
        Machine::new("is1", 21).process("intelligence"),
        Machine::new("lib1", 31).process("library"),
        Machine::new("lb1", BALANCER_AT).nginx("lb", "collaboration"),
    ];
    for number in NUMBERS {
        let (node, host) = (format!("collab{number}"), 50 + number);
        let (listen, log) = (format!("NET.{host}:3000"), format!("DIR/{node}.log"));
        let command = [
            "/usr/bin/python3",
            STAND_IN,
            "--listen",
            &listen,
            "--redis",
            "NET.11:6379",
            "--database",
            "NET.12:8080",
            "--user",
            &node,
            "--log",
            &log,
        ];
        machines.push(Machine::new(&node, host).command("collab", &command, Some(3000)));
    }
    machines
}

/// Each instance has a user of its own.
fn redis(cluster: &Cluster, host: u8) -> String {
    let users = NUMBERS.map(|number| format!("user collab{number} on nopass ~* &* +@all\n"));
    format!(
        "bind {}\nport 6379\nprotected-mode no\nsave \"\"\ndir {}\n{}",
        cluster.address(host),
        cluster.path("").display(),
        users.concat()
    )
}

/// WebSockets are handed through over HTTP/1.1, and /api is the Library's. A header says who has served.
fn nginx(cluster: &Cluster) -> String {
    let here = cluster.path("");
    let here = here.display();
    let temporary = |name: &str| format!(" {name}_temp_path {here}/{name};\n");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temporary);
    format!(
        "daemon off;\nworker_processes 2;\npid {here}/lb.pid;\nevents {{ worker_connections 512; }}\nhttp {{\n access_log \
         off;\n{} proxy_next_upstream off;\n include {here}/lb.members;\n server {{\n  listen {}:8080 backlog=512;\n  \
         add_header X-Served $upstream_addr always;\n  location /status {{ proxy_pass http://collaboration; }}\n  location \
         /socket.io/ {{\n   proxy_pass http://collaboration;\n   proxy_http_version 1.1;\n   proxy_set_header Upgrade \
         $http_upgrade;\n   proxy_set_header Connection \"upgrade\";\n  }}\n  location /api {{ proxy_pass http://{}:8080; \
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
