//! Servers: made from one template, started and ended as a service manager does.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use interlock_agent::config::{Account, Postgres, PostgresHost, Runner};
use interlock_agent::postgres::{
    Cluster, Divergence, Facts, Observed, Primary, Role, SlotName, Standby, Upstream,
};
use interlock_agent::shim::User;
use interlock_model::names::NodeName;
use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};
use tempfile::TempDir;

/// How long something may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// For what is seen not to happen.
pub(crate) const SHORT: Duration = Duration::from_millis(700);

/// The pause between two looks, for the machine's other work.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Debian has each version's programs in a directory of its own.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// `nobody`: a server refuses to be root's.
const NOBODY: u32 = 65_534;

/// Of the role that standbys log in with.
pub(crate) const PASSWORD: &str = "se:cond'\\pass";

/// The superuser.
const ADMIN: &str = "interlock";

const ACCESS: &str = "\
    local all interlock trust\n\
    host replication repl 127.0.0.0/8 scram-sha-256\n\
    host all repl 127.0.0.0/8 scram-sha-256\n";

/// What pg_rewind(1) lists as the rights that it needs.
const ROLES: &str = "CREATE ROLE repl LOGIN REPLICATION PASSWORD 'se:cond''\\pass'\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO repl\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO repl\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO repl\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO repl\n\
    GRANT pg_checkpoint TO repl\n\
    CREATE TABLE t (x int PRIMARY KEY)\n";

/// A server of one node. Ended when dropped.
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) node: NodeName,
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    process: Option<Child>,
}

/// Is there something to test with? If not, that is noted where `cargo xtask test` collects what was not tested.
pub(crate) fn installed() -> bool {
    let program = Path::new(PROGRAMS).join("postgres");
    let there = program.exists();
    if !there {
        let program = program.display();
        let why = format!("{program} is missing; `cargo xtask test` installs postgresql-15");
        crate::skip::skip("operations on a real PostgreSQL", &why);
    }
    there
}

/// A primary and a standby that streams from it.
pub(crate) async fn pair() -> (Server, Server) {
    let mut primary = Server::new("db-1");
    primary.initialise();
    primary.start().await;
    primary.cluster.promote(PATIENCE).await.unwrap();
    primary.keep_slot_of("db-2").await;
    let mut standby = Server::new("db-2");
    standby
        .cluster
        .clone_from(&primary.as_upstream_of("db-2"), PATIENCE)
        .await
        .unwrap();
    standby.configure();
    standby.start().await;
    standby.streams().await;
    (primary, standby)
}

impl Server {
    pub(crate) fn new(node: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        give(dir.path());
        let listener = TcpListener::bind((address(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let passfile = dir.path().join("pass");
        fs::write(
            &passfile,
            format!(
                "*:*:*:repl:{}\n",
                PASSWORD.replace('\\', "\\\\").replace(':', "\\:")
            ),
        )
        .unwrap();
        fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
        give(&passfile);
        let user = user();
        let config = Postgres {
            data: dir.path().join("main"),
            programs: PROGRAMS.into(),
            config: None,
            user: Account::Ids(user),
            host: PostgresHost::Socket(dir.path().to_owned()),
            port,
            login: ADMIN.to_owned(),
            database: "postgres".to_owned(),
            passfile: Some(passfile),
            run: Runner::Unit("postgresql.service".to_owned()),
            aside: dir.path().join("main.aside"),
            aside_limit: 1 << 30,
        };
        let node: NodeName = node.parse().unwrap();
        Self {
            cluster: Cluster::new("main".parse().unwrap(), config, node.clone()),
            node,
            dir,
            port,
            process: None,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("main")
    }

    pub(crate) fn signal(&self) -> PathBuf {
        self.data().join("standby.signal")
    }

    /// A database that is a copy of the template.
    fn initialise(&self) {
        done(
            Command::new("cp")
                .arg("-a")
                .arg(template())
                .arg(self.data()),
        );
        self.configure();
    }

    /// A database that is a copy of none.
    pub(crate) fn initialise_anew(&self) {
        make(&self.data());
        self.configure();
    }

    /// Its own files. The port is what must not come from another server.
    pub(crate) fn configure(&self) {
        let file = self.data().join("postgresql.conf");
        let text = format!(
            "port = {}\nlisten_addresses = '{}'\nunix_socket_directories = '{}'\nfsync = off\nshared_buffers = 1MB\n\
             wal_log_hints = on\nwal_keep_size = 16MB\nwal_retrieve_retry_interval = 100ms\n\
             wal_receiver_status_interval = 1s\nautovacuum = off\nbgwriter_lru_maxpages = 0\n",
            self.port,
            address(),
            self.dir.path().display()
        );
        fs::write(&file, text).unwrap();
        give(&file);
    }

    /// Starts it as the agent would.
    pub(crate) async fn start(&mut self) {
        self.cluster.prepare_start(PATIENCE).await.unwrap();
        self.start_by_hand(&[]).await;
    }

    /// Starts it as anybody could, and waits until it lets somebody in.
    pub(crate) async fn start_by_hand(&mut self, settings: &[&str]) {
        self.launch(settings);
        loop {
            if let Ok(Observed::Up(_)) = self.cluster.observe(PATIENCE).await {
                return;
            }
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {}", self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn launch(&mut self, settings: &[&str]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = program("postgres");
        command.arg("-D").arg(self.data());
        for setting in settings {
            command.args(["-c", setting]);
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.unwrap());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A fast shutdown.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// A crash of everything: SIGQUIT ends all of its processes at once and without a checkpoint.
    pub(crate) fn crash(&mut self) {
        self.end(Signal::QUIT);
    }

    /// A crash of its first process alone.
    pub(crate) fn kill_postmaster(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        let mut process = self.process.take().unwrap();
        kill_process(Pid::from_child(&process), signal).unwrap();
        process.wait().unwrap();
    }

    /// Its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Stops it where it is, or lets it go on.
    pub(crate) fn tell(&self, signal: Signal) {
        kill_process(Pid::from_child(self.process.as_ref().unwrap()), signal).unwrap();
    }

    pub(crate) fn as_upstream_of(&self, node: &str) -> Upstream {
        Upstream {
            node: self.node.clone(),
            host: address().to_string(),
            port: self.port,
            user: "repl".to_owned(),
            slot: Some(SlotName::of(&node.parse().unwrap())),
        }
    }

    pub(crate) async fn keep_slot_of(&self, node: &str) {
        let nodes = BTreeSet::from([node.parse().unwrap()]);
        self.cluster.slots(&nodes, PATIENCE).await.unwrap();
    }

    /// Runs statements as the superuser; what they print.
    pub(crate) fn sql(&self, statements: &str) -> String {
        done(self.psql().args(["-c", statements])).trim().to_owned()
    }

    pub(crate) fn psql(&self) -> Command {
        let mut psql = program("psql");
        psql.args([
            "--no-psqlrc",
            "-Atq",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            ADMIN,
            "-d",
            "postgres",
        ])
        .arg("-h")
        .arg(self.dir.path())
        .args(["-p", &self.port.to_string()]);
        psql
    }

    pub(crate) async fn facts(&self) -> Facts {
        match self.cluster.observe(PATIENCE).await.unwrap() {
            Observed::Up(facts) => facts,
            other => panic!("{other:?}: {}", self.log()),
        }
    }

    pub(crate) async fn primary(&self) -> Primary {
        match self.facts().await.role {
            Role::Primary(primary) => primary,
            other @ Role::Standby(_) => panic!("{other:?}"),
        }
    }

    pub(crate) async fn standby(&self) -> Standby {
        match self.facts().await.role {
            Role::Standby(standby) => standby,
            other @ Role::Primary(_) => panic!("{other:?}"),
        }
    }

    /// How its log stands to that of a primary.
    pub(crate) async fn compared_with(&self, upstream: &Upstream) -> Divergence {
        let compared = self.cluster.divergence(upstream, PATIENCE).await.unwrap();
        assert!(compared.leads, "{compared:?}");
        compared.found
    }

    /// Waits until it streams.
    pub(crate) async fn streams(&self) {
        until(async || {
            let source = self.standby().await.source;
            source.is_some_and(|source| source.streaming)
        })
        .await;
    }

    /// Waits until it has applied all that the other one has.
    pub(crate) async fn catches_up_with(&self, primary: &Self) {
        let end = primary.primary().await.flushed;
        until(async || self.standby().await.replayed >= end).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = Pid::from_child(&process);
            let _ = kill_process(pid, Signal::CONT);
            let _ = kill_process(pid, Signal::QUIT);
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.node, self.log());
        }
    }
}

/// An address of loopback for this process alone: a server that is stopped does not lose its port to somebody's connection.
pub(crate) fn address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + (high & 63), middle, low)
}

/// Waits for what must happen.
pub(crate) async fn until(happens: impl AsyncFn() -> bool) {
    let waiting = async {
        while !happens().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it did not happen");
}

/// A data directory that all servers of these tests are copies of, made once for all runs.
fn template() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Whatever it is made by is part of its name.
    let made = home.join(format!("postgres-15-of-{}-3", user().uid));
    if made.exists() {
        return made;
    }
    let work = tempfile::tempdir().unwrap();
    give(work.path());
    let new = work.path().join("new");
    make(&new);
    // Another test may make it at the same time; the first one counts.
    let copy = tempfile::tempdir_in(home).unwrap();
    done(Command::new("cp").arg("-a").arg(&new).arg(copy.path()));
    let _ = fs::rename(copy.path().join("new"), &made);
    assert!(made.exists());
    made
}

/// Makes a database that is a copy of none.
fn make(new: &Path) {
    done(
        program("initdb")
            .args([
                "--no-sync",
                "--auth=reject",
                "--no-locale",
                "--encoding=UTF8",
                "--wal-segsize=1",
            ])
            .args(["--username", ADMIN, "--pgdata"])
            .arg(new),
    );
    let mut alone = program("postgres")
        .args(["--single", "-F", "-D"])
        .arg(new)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(alone.stdin.as_mut().unwrap(), ROLES.as_bytes()).unwrap();
    assert!(alone.wait_with_output().unwrap().status.success());
    let access = new.join("pg_hba.conf");
    fs::write(&access, ACCESS).unwrap();
}

fn user() -> User {
    if geteuid().is_root() {
        User {
            uid: NOBODY,
            gid: NOBODY,
        }
    } else {
        User {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        }
    }
}

fn give(path: &Path) {
    let user = user();
    chown(path, Some(user.uid), Some(user.gid)).unwrap();
}

/// A program of the server, as its user.
fn program(name: &str) -> Command {
    let mut command = Command::new(Path::new(PROGRAMS).join(name));
    command.current_dir("/").env("LC_ALL", "C");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Runs a command to its end; what it prints.
pub(crate) fn done(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
