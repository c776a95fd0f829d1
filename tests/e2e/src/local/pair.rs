//! Two machines of which one is primary, as a local cluster: without an address that goes with the role, and so without root.
//!
//! Its server is PostgreSQL where that is installed. Else it is a [stand-in](super::stand_in), which runs on the primary alone and
//! takes every request for a write; it keeps nothing. Since nothing here shuts the clients of a lost machine out, the role moves by
//! itself when it is given back: with the end of the server's process, which is not restarted in its place (`budget: 0`).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_mesh::identity::Role;
use interlock_proto::v1;
use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};

use super::{Cluster, Layout, Machine, Operator, Postgres};
use crate::{eventually, run};

/// Debian has each version's programs in a directory of its own.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// `nobody`: a server refuses to be root's.
const NOBODY: u32 = 65_534;

/// The nodes, with the last number of their address.
const NODES: [(&str, u8); 2] = [("db1", 11), ("db2", 12)];

/// The longest that anything takes here.
const SOON: Duration = Duration::from_secs(45);

const SPEC: &str = "cluster: local\n\
    control: { coordinators: [mgmt], heartbeat: 500ms, late: 2s, lost: 5s }\n\
    nodes:\n  mgmt: { address: NET.5 }\n  db1: { address: NET.11 }\n  db2: { address: NET.12 }\n\
    services:\n  db:\n    nodes: [db1, db2]\n    active: one\n    guard: { budget: 0 }\n";

/// What takes the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// PostgreSQL, with a standby that follows.
    Postgres,
    /// A stand-in without data.
    StandIn,
}

impl Server {
    /// The real one, if it is installed.
    #[must_use]
    pub fn installed() -> Self {
        let needed = [Postgres::NEEDED, ("/usr/bin/psql", "postgresql-client-15")];
        match crate::missing(&needed) {
            None => Self::Postgres,
            Some(_) => Self::StandIn,
        }
    }
}

/// A pair with its service stopped.
#[derive(Debug)]
pub struct Pair {
    /// The cluster.
    pub cluster: Cluster,
    /// Somebody who may do everything.
    pub operator: Operator,
    server: Server,
    password: String,
}

impl Pair {
    /// Makes it, and starts the coordinator and the agents.
    ///
    /// # Errors
    /// Something of that does not succeed.
    pub fn begin(server: Server) -> Result<Self> {
        let service = match server {
            Server::Postgres => {
                "    parts:\n      - postgres: { cluster: main, user: interlock, rejoin: rewind }\n    \
                 failover: { automatic: true, profile: fast, max_lag: 16MiB }\n"
            }
            Server::StandIn => {
                "    parts:\n      - process: { name: db, on: primary }\n    \
                 failover: { automatic: true, profile: fast }\n"
            }
        };
        let machines = NODES.map(|(node, host)| machine(server, node, host));
        let mut cluster = Cluster::prepare(&Layout {
            spec: &format!("{SPEC}{service}"),
            machines: machines.into(),
        })?;
        let password = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let password = password.trim().to_owned();
        if server == Server::Postgres {
            prepare(&cluster, &password)?;
        }
        cluster.start_coordinator()?;
        cluster.join()?;
        Ok(Self {
            operator: cluster.admin()?,
            cluster,
            server,
            password,
        })
    }

    /// `interlockctl`, for somebody who may do everything.
    ///
    /// # Errors
    /// As [`Cluster::ctl_command`].
    pub fn ctl(&self) -> Result<Command> {
        self.cluster.ctl_command("ada", Role::Admin)
    }

    /// Makes the table of [`Pair::write`] on the primary.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_table(&self, primary: &str) -> Result<()> {
        match self.server {
            Server::Postgres => {
                let made = self.sql(primary, "CREATE TABLE rows (text text)")?;
                made.context("no table").map(drop)
            }
            Server::StandIn => Ok(()),
        }
    }

    /// Writes a row to the server of a node; says whether that took it.
    ///
    /// # Errors
    /// It cannot be tried.
    pub fn write(&self, node: &str, row: &str) -> Result<bool> {
        match self.server {
            Server::Postgres => {
                let text = format!("INSERT INTO rows VALUES ('{row}')");
                Ok(self.sql(node, &text)?.is_some())
            }
            Server::StandIn => {
                let at: SocketAddr = format!("{}:8080", self.address(node)?).parse()?;
                Ok(answers(at).is_ok_and(|answer| answer.contains("200 OK")))
            }
        }
    }

    /// The rows that the server of a node has; none of a server without data.
    ///
    /// # Errors
    /// It does not answer.
    pub fn rows(&self, node: &str) -> Result<Option<Vec<String>>> {
        match self.server {
            Server::Postgres => {
                let said = self.sql(node, "SELECT text FROM rows")?;
                let said = said.context("it does not answer")?;
                Ok(Some(said.lines().map(str::to_owned).collect()))
            }
            Server::StandIn => Ok(None),
        }
    }

    /// Kills the main process of a node's server, and tells its pid.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_server(&self, node: &str) -> Result<Pid> {
        let pid = match self.server {
            Server::Postgres => {
                let file = data(&self.cluster, node).join("postmaster.pid");
                let text = fs::read_to_string(&file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                let pid = text.lines().next().and_then(|pid| pid.parse().ok());
                pid.and_then(Pid::from_raw).context("no pid")?
            }
            Server::StandIn => self.cluster.story().pid("up", &format!("db@{node}"))?,
        };
        kill_process(pid, Signal::KILL)?;
        Ok(pid)
    }

    /// The node that is primary, and its epoch; an error if it is not exactly one.
    ///
    /// # Errors
    /// There is none or two, or nobody can tell.
    pub fn primary(&self) -> Result<(String, u64)> {
        let primaries = self.in_role(v1::Side::Primary)?;
        ensure!(primaries.len() == 1, "primaries: {primaries:?}");
        let (node, role) = &primaries[0];
        Ok((node.clone(), role.epoch))
    }

    /// Waits until this node is a standby; and, where there are data, until they follow.
    ///
    /// # Errors
    /// It does not get there.
    pub fn until_standby(&self, node: &str) -> Result<()> {
        eventually(&format!("{node} to be a standby"), SOON, || {
            let standbys = self.in_role(v1::Side::Standby)?;
            let found = standbys.iter().find(|(name, _)| name == node);
            let (_, role) = found.with_context(|| format!("only {standbys:?}"))?;
            let follows = self.server == Server::StandIn || role.detail.contains("streams");
            ensure!(follows, "{role:?}");
            Ok(())
        })
    }

    /// The other node.
    #[must_use]
    pub fn other(node: &str) -> &'static str {
        let [(one, _), (two, _)] = NODES;
        if node == one { two } else { one }
    }

    fn in_role(&self, side: v1::Side) -> Result<Vec<(String, v1::Role)>> {
        let status = self.operator.status()?;
        let mut found = Vec::new();
        for node in status.nodes {
            let roles = node.instances.into_iter().filter_map(|it| it.role);
            let roles = roles.filter(|role| role.side() == side);
            found.extend(roles.map(|role| (node.node.clone(), role)));
        }
        Ok(found)
    }

    fn address(&self, node: &str) -> Result<String> {
        let known = NODES.iter().find(|(name, _)| *name == node);
        let (_, host) = known.with_context(|| format!("no node {node}"))?;
        Ok(self.cluster.address(*host))
    }

    /// What a server answers; none if it refuses, or is not there.
    fn sql(&self, node: &str, text: &str) -> Result<Option<String>> {
        let address = self.address(node)?;
        let words = ["-X", "-q", "-A", "-t", "-w", "-U", "interlock", "-h"];
        let said = Command::new("psql")
            .args(words)
            .args([&address, "-c", text, "postgres"])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "2")
            .stdin(Stdio::null())
            .output()
            .context("cannot run psql")?;
        let answer = said
            .status
            .success()
            .then(|| String::from_utf8_lossy(&said.stdout).into_owned());
        Ok(answer)
    }
}

/// What a stand-in answers. That it can be reached says nothing: one that was just killed still can.
fn answers(at: SocketAddr) -> std::io::Result<String> {
    let patience = Duration::from_secs(1);
    let mut link = TcpStream::connect_timeout(&at, patience)?;
    link.set_read_timeout(Some(patience))?;
    link.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    link.read_to_string(&mut answer)?;
    Ok(answer)
}

fn machine(server: Server, node: &str, host: u8) -> Machine {
    let run = format!("[lease]\nruntime_dir = \"DIR/run-{node}\"\n");
    match server {
        Server::StandIn => Machine::new(node, host).process("db").sections(&run),
        Server::Postgres => {
            let user = owner();
            let user = format!("user = \"{}:{}\"", user.0, user.1);
            let here = format!("DIR/pg/{node}");
            let as_user = if geteuid().is_root() {
                user.as_str()
            } else {
                ""
            };
            Machine::new(node, host)
                .permit("db", "postgres = [\"main\"]")
                .sections(&format!(
                    "[postgres.main]\ndata = \"{here}/main\"\nprograms = \"{PROGRAMS}\"\n{user}\nhost = \"NET.{host}\"\n\
                     login = \"interlock\"\npassfile = \"{here}/pass\"\nprocess = \"pg\"\n\n[process.pg]\ncommand = \
                     [\"{PROGRAMS}/postgres\", \"-D\", \"{here}/main\"]\nstop_signal = \"INT\"\nstop_grace = \"60s\"\n{as_user}\n\n{run}"
                ))
        }
    }
}

/// Who owns the data: root's servers refuse to run.
fn owner() -> (u32, u32) {
    if geteuid().is_root() {
        (NOBODY, NOBODY)
    } else {
        (geteuid().as_raw(), getegid().as_raw())
    }
}

fn data(cluster: &Cluster, node: &str) -> PathBuf {
    cluster.path("pg").join(node).join("main")
}

/// Data of one database cluster on both nodes, which lets in who knows the password.
fn prepare(cluster: &Cluster, password: &str) -> Result<()> {
    fs::create_dir(cluster.path("pg"))?;
    if geteuid().is_root() {
        // Its user has to pass through, and no more.
        for directory in [cluster.path(""), cluster.path("pg")] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o711))?;
        }
    }
    let [(first, _), _] = NODES;
    for (node, host) in NODES {
        let here = cluster.path("pg").join(node);
        fs::create_dir(&here)?;
        private(&here, 0o700)?;
        let passfile = here.join("pass");
        fs::write(&passfile, format!("*:*:*:interlock:{password}\n"))?;
        private(&passfile, 0o600)?;
        let main = data(cluster, node);
        if node == first {
            initialise(&main, password)?;
        } else {
            let from = data(cluster, first);
            run(as_owner("cp", &here).arg("-a").args([&from, &main]))?;
        }
        let settings = format!(
            "listen_addresses = '{}'\nunix_socket_directories = ''\nfsync = off\nshared_buffers = 16MB\n\
             wal_log_hints = on\nwal_keep_size = 64MB\nwal_retrieve_retry_interval = 200ms\ncluster_name = '{node}'\n",
            cluster.address(host)
        );
        let file = main.join("postgresql.conf");
        fs::write(&file, settings)?;
        private(&file, 0o600)?;
    }
    Ok(())
}

fn initialise(main: &Path, password: &str) -> Result<()> {
    let above = main.parent().context("no directory")?;
    // It stands in no argument.
    let file = above.join("password");
    fs::write(&file, password)?;
    private(&file, 0o600)?;
    let options = ["--no-sync", "--no-locale", "--username=interlock"];
    let access = ["--auth=scram-sha-256", "--pwfile=password", "--pgdata"];
    let words = [options.as_slice(), &access].concat();
    let program = format!("{PROGRAMS}/initdb");
    run(as_owner(&program, above).args(words).arg(main))?;
    fs::remove_file(&file)?;
    let access = main.join("pg_hba.conf");
    fs::write(
        &access,
        "host all interlock 127.0.0.0/8 scram-sha-256\nhost replication interlock 127.0.0.0/8 scram-sha-256\n",
    )?;
    private(&access, 0o600)?;
    // What initdb writes is of no use to a standby before a server has once run.
    let program = format!("{PROGRAMS}/postgres");
    let mut once = as_owner(&program, above);
    once.args(["--single", "-D"]).arg(main).arg("postgres");
    run(&mut once).map(drop)
}

/// Its owner's alone.
fn private(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}

/// A command as the owner of the data.
fn as_owner(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env("LC_ALL", "C");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
