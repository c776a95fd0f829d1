//! Servers: each with a configuration as an owner writes it, started and ended as a service manager does.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use interlock_agent::config::{Mariadb as Config, Runner, Secrets};
use interlock_agent::mariadb::{Facts, Observed, Server, Source, Upstream};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

const SERVER: &str = "/usr/sbin/mariadbd";
const INSTALL: &str = "/usr/bin/mariadb-install-db";
const CLIENT: &str = "/usr/bin/mariadb";

/// A server refuses to run as root.
const NOBODY: u32 = 65_534;

/// A password with all that option files and SQL give a meaning to.
const ODD: &str = "a\"b\\c#d;e f'g";

/// How long anything may take that a server does by itself.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A server of a machine, and what the agent knows of it.
pub(crate) struct Mariadb {
    pub(crate) server: Server,
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

/// A program that runs as the user of servers.
fn as_nobody(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Is a real MariaDB here? What is missing is said.
pub(crate) fn installed() -> bool {
    let missing = [SERVER, INSTALL, CLIENT]
        .into_iter()
        .find(|program| !Path::new(program).exists());
    if let Some(program) = missing {
        let why = format!("{program} is missing; `cargo xtask test` installs mariadb-server-core");
        crate::skip::skip("operations on a real MariaDB", &why);
    }
    missing.is_none()
}

impl Mariadb {
    /// One with this number in a replication; not started.
    pub(crate) fn new(id: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let made = as_nobody(INSTALL, dir.path())
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ])
            .arg(format!("--tmpdir={}", dir.path().display()))
            .arg(format!("--datadir={}", at("data").display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let port = free_port();
        let config = at("my.cnf");
        let text = format!(
            "[mysqld]\nport={port}\nbind-address=127.0.0.1\nskip-name-resolve\nserver-id={id}\nlog-bin=log\n\
             datadir={}\ntmpdir={}\nsocket={}\npid-file={}\n!include {}\n",
            at("data").display(),
            dir.path().display(),
            at("socket").display(),
            at("pid").display(),
            at("interlock.cnf").display()
        );
        fs::write(&config, text).unwrap();
        let secret = at("copy");
        fs::write(&secret, ODD).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let agent = Config {
            config,
            include: at("interlock.cnf"),
            program: SERVER.into(),
            socket: at("socket"),
            login: "root".to_owned(),
            password: None,
            replication_password: "copy".parse().unwrap(),
            run: Runner::Unit("mariadb.service".to_owned()),
        };
        let secrets = Secrets {
            dir: dir.path().to_owned(),
        };
        Self {
            server: Server::new("main".parse().unwrap(), agent, secrets),
            dir,
            port,
            process: None,
        }
    }

    /// A file of its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Prepares and starts it, and waits until it answers.
    pub(crate) async fn start(&mut self) -> Facts {
        self.server.prepare_start().await.unwrap();
        self.launch().await
    }

    /// Starts it as whoever does not know the agent, and waits until it answers.
    pub(crate) async fn launch(&mut self) -> Facts {
        let errors = fs::File::create(self.path("errors")).unwrap();
        let mut command = as_nobody(SERVER, self.dir.path());
        command
            .arg(format!("--defaults-file={}", self.path("my.cnf").display()))
            .stdout(Stdio::null())
            .stderr(errors);
        self.process = Some(command.spawn().unwrap());
        self.until("to be up", |_| true).await
    }

    /// Ends it, and waits until it is gone.
    pub(crate) fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            kill_process(Pid::from_child(&process), signal).unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) async fn facts(&self) -> Facts {
        match self.server.observe(SOON).await.unwrap() {
            Observed::Up(facts) => facts,
            Observed::Stopped => panic!("it is stopped"),
        }
    }

    /// Waits until it looks like this.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Facts) -> bool) -> Facts {
        let begun = Instant::now();
        loop {
            let observed = self.server.observe(SOON).await;
            if let Ok(Observed::Up(facts)) = &observed
                && is(facts)
            {
                return facts.clone();
            }
            let said = fs::read_to_string(self.path("errors")).unwrap_or_default();
            assert!(begun.elapsed() < SOON, "{what}: {observed:?}\n{said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it streams.
    pub(crate) async fn until_linked(&self) -> Facts {
        self.until("to stream", |facts| {
            facts.source().is_some_and(Source::runs)
        })
        .await
    }

    /// Waits until it has all that the other one has now.
    pub(crate) async fn until_level(&self, with: &Self) -> Facts {
        let last = with.facts().await.last();
        self.until("to have it", |facts| facts.last() == last).await
    }

    /// How another server reaches it.
    pub(crate) fn upstream(&self) -> Upstream {
        Upstream {
            node: "other".parse().unwrap(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: "copy".to_owned(),
        }
    }

    /// Says something to it as its administrator, who may write although it is read-only.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let output = self.administrator(statements).output().unwrap();
        assert!(output.status.success(), "{statements}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its administrator, with something to say.
    pub(crate) fn administrator(&self, statements: &str) -> Command {
        let mut command = Command::new(CLIENT);
        command
            .args([
                "--no-defaults",
                "--user=root",
                "--batch",
                "--skip-column-names",
            ])
            .args(["--execute", statements])
            .arg(format!("--socket={}", self.path("socket").display()));
        command.stdin(Stdio::null());
        command
    }

    /// Whoever uses it, with something to say.
    pub(crate) fn client(&self, statements: &str) -> Command {
        client(self.port, statements)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The rows of the table, in order.
    pub(crate) fn rows(&self) -> Vec<u64> {
        let rows = self.sql("SELECT x FROM app.t ORDER BY x");
        rows.lines().map(|row| row.parse().unwrap()).collect()
    }
}

/// Whoever uses the server at a port.
pub(crate) fn client(port: u16, statements: &str) -> Command {
    let mut command = Command::new(CLIENT);
    command
        .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1"])
        .args([
            "--user=app",
            "--password=app",
            "--batch",
            "--skip-column-names",
        ])
        .args(["--connect-timeout=5", "--execute", statements])
        .arg(format!("--port={port}"))
        .stdin(Stdio::null());
    command
}

/// What came of it, if it was refused.
pub(crate) fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A port of loopback that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A primary with a table, and a replica that streams from it.
pub(crate) async fn pair() -> Option<(Mariadb, Mariadb)> {
    if !installed() {
        return None;
    }
    let (mut one, mut two) = (Mariadb::new(1), Mariadb::new(2));
    one.start().await;
    two.start().await;
    one.server.promote(SOON).await.unwrap();
    let odd = ODD.replace('\\', "\\\\").replace('\'', "''");
    one.sql(&format!(
        "CREATE USER copy@'%' IDENTIFIED BY '{odd}'; GRANT REPLICATION SLAVE ON *.* TO copy@'%'; \
         CREATE USER app@'%' IDENTIFIED BY 'app'; CREATE DATABASE app; GRANT ALL ON app.* TO app@'%'; \
         CREATE TABLE app.t (x bigint PRIMARY KEY) ENGINE=InnoDB"
    ));
    two.server.follow(&one.upstream(), SOON).await.unwrap();
    two.until_linked().await;
    two.until_level(&one).await;
    Some((one, two))
}
