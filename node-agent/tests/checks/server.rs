//! Servers as processes: started on a free port, stopped, ended.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The user as whom a server runs that refuses to be root's: `nobody`.
const NOBODY: u32 = 65_534;

/// How long a server may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// A server's process. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    ended_by: Signal,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            ended_by: Signal::KILL,
        }
    }

    /// It has processes of its own, which it ends at this signal.
    pub(crate) fn ended_by(mut self, signal: Signal) -> Self {
        self.ended_by = signal;
        self
    }

    /// Stops it where it is: its kernel still accepts for it, and nobody answers.
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn end(mut self, signal: Signal) {
        self.ended_by = signal;
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; it may be frozen.
        if let Ok(None) = self.process.try_wait() {
            let _ = kill_process(self.pid(), self.ended_by);
            let _ = kill_process(self.pid(), Signal::CONT);
            let begun = Instant::now();
            while begun.elapsed() < GRACE && matches!(self.process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that is nobody's where this test is root's, in a directory that is given to that user.
pub(crate) fn as_nobody(program: impl AsRef<Path>, directory: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(directory);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    give_to_nobody(directory);
    command
}

/// Gives a file to the user as whom servers run, where this test is root's.
pub(crate) fn give_to_nobody(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Runs a command to its end.
pub(crate) fn done(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said.into_owned()
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// An address of this machine that is not of loopback. What is sent to it does not leave the machine either.
pub(crate) fn own_address() -> Option<Ipv4Addr> {
    // Connecting a datagram socket sends nothing; it chooses the address that would be used.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

/// The program, if it is installed; notes in the run's list of skips if not.
pub(crate) fn installed(program: &str, package: &str, what: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        let why = format!("{program} is missing; `cargo xtask test` installs {package}");
        crate::skip::skip(what, &why);
    }
    there
}

/// A server that reads something, says this and hangs up; the same to everybody.
pub(crate) async fn says(answer: impl Into<Vec<u8>>) -> SocketAddr {
    stand_in(answer.into(), false).await
}

/// One that says this again and again, as long as somebody listens.
pub(crate) async fn says_without_end(answer: impl Into<Vec<u8>>) -> SocketAddr {
    stand_in(answer.into(), true).await
}

async fn stand_in(answer: Vec<u8>, without_end: bool) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut question = [0; 4096];
                let _ = stream.read(&mut question).await;
                while stream.write_all(&answer).await.is_ok() && without_end {}
            });
        }
    });
    address
}

/// One that accepts and never says anything: its kernel does, as for a stopped process.
pub(crate) fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
