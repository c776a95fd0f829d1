//! Servers: each with a configuration as an owner writes it, started and ended as a service manager does.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use interlock_agent::config::{Redis as Config, Runner, Secrets};
use interlock_agent::redis::{Facts, Observed, Role, Server, Upstream};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The server's program under the name that it has in Debian's package of tools: it is one program, which looks at its
/// name.
const PROGRAM: &str = "/usr/bin/redis-check-rdb";

/// How long anything may take that a server does by itself.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A server of a machine, and what the agent knows of it.
pub(crate) struct Redis {
    pub(crate) server: Server,
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

/// Is a real Redis here? What is missing is said.
pub(crate) fn installed() -> bool {
    let there = Path::new(PROGRAM).exists();
    if !there {
        let why = format!("{PROGRAM} is missing; `cargo xtask test` installs redis-tools");
        crate::skip::skip("operations on a real Redis", &why);
    }
    there
}

impl Redis {
    /// One with these settings beside those of the bed; not started.
    pub(crate) fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        symlink(PROGRAM, dir.path().join("redis-server")).unwrap();
        let config = dir.path().join("redis.conf");
        let include = dir.path().join("interlock.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nrepl-diskless-sync-delay 0\n{settings}\ninclude {}\n",
            dir.path().display(),
            include.display()
        );
        fs::write(&config, text).unwrap();
        let secrets = Secrets {
            dir: dir.path().to_owned(),
        };
        let agent = Config {
            config,
            include,
            host: Ipv4Addr::LOCALHOST.into(),
            port,
            login: None,
            password: settings
                .contains("requirepass")
                .then(|| "password".parse().unwrap()),
            run: Runner::Unit("redis-server.service".to_owned()),
            aside: dir.path().join("aside"),
            aside_limit: 1 << 20,
        };
        Self {
            server: Server::new("main".parse().unwrap(), agent, secrets),
            dir,
            port,
            process: None,
        }
    }

    /// A secret of the agent.
    pub(crate) fn secret(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A file of its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Prepares and starts it, and waits until it has read its data.
    pub(crate) async fn start(&mut self) -> Facts {
        self.server.prepare_start(SOON).await.unwrap();
        self.launch();
        self.until("to be up", |facts| !facts.loading).await
    }

    /// Starts it as whoever does not know the agent.
    pub(crate) fn launch(&mut self) {
        self.launch_with("redis.conf");
    }

    /// The same with another configuration.
    pub(crate) fn launch_with(&mut self, config: &str) {
        let mut command = Command::new(self.path("redis-server"));
        command.arg(self.path(config));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.process = Some(command.spawn().unwrap());
    }

    /// A Sentinel that watches it.
    pub(crate) fn sentinel(&self) -> Sentinel {
        let config = self.path("sentinel.conf");
        let text = format!(
            "port {}\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n",
            free_port(),
            self.dir.path().display(),
            self.port
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(self.path("redis-server"));
        command.arg(config).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Sentinel(command.spawn().unwrap())
    }

    /// Stops it where it is.
    pub(crate) fn freeze(&self) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), Signal::CONT).unwrap();
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
            assert!(begun.elapsed() < SOON, "{what}: {observed:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it streams.
    pub(crate) async fn until_linked(&self) -> Facts {
        let linked = |facts: &Facts| match &facts.role {
            Role::Replica(replica) => replica.linked && !replica.copying,
            Role::Primary(_) => false,
        };
        self.until("to stream", linked).await
    }

    /// How another server reaches it.
    pub(crate) fn upstream(&self) -> Upstream {
        Upstream {
            node: "other".parse().unwrap(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
        }
    }

    /// Says something to it, as a client; the first line of the answer. For a counted text, that.
    pub(crate) fn say(&self, command: &str) -> String {
        say(self.port, command).unwrap()
    }
}

/// A Sentinel. Ended when dropped.
pub(crate) struct Sentinel(Child);

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Redis {
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

/// Says something to the server at a port, which may hang up.
pub(crate) fn say(port: u16, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "{command}\r\n")?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let line = line.trim_end().to_owned();
    match line
        .strip_prefix('$')
        .and_then(|it| it.parse::<usize>().ok())
    {
        Some(length) => {
            let mut text = vec![0; length];
            answer.read_exact(&mut text)?;
            Ok(String::from_utf8(text).unwrap())
        }
        None => Ok(line),
    }
}

/// A primary and a replica that streams from it.
pub(crate) async fn pair() -> Option<(Redis, Redis)> {
    if !installed() {
        return None;
    }
    let (mut one, mut two) = (Redis::new(""), Redis::new(""));
    one.start().await;
    two.start().await;
    one.server.promote(SOON).await.unwrap();
    two.server.follow(&one.upstream(), SOON).await.unwrap();
    two.until_linked().await;
    Some((one, two))
}
