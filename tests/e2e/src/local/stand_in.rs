//! What runs on the nodes of a local cluster instead of a product.
//!
//! [`Serve`] is a process that stays: it listens, answers `{"role": ...}`, and ends on SIGTERM. [`Act`] is the command
//! of an `exec` manager. Both write what happens to them into the [`Story`], and wait at each point for as long as a file
//! of that point's name exists in the directory of holds: `start:db@db1`, `stop:db@db1`, and, for a request of `/slow`,
//! `slow:web@web1`. While there is a file
//! `paused:db@db1`, a process answers that it is paused and waits for what the file names.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use signal_hook::consts::SIGTERM;

use super::Story;

/// How often a held point is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What stands in the file of a point that is to fail.
pub(super) const FAIL: &str = "fail";

/// What every stand-in has.
#[derive(Debug, Clone, Args)]
pub struct Part {
    /// The instance, as `service@node`.
    #[arg(long)]
    who: String,
    /// Where it writes down what happens to it.
    #[arg(long)]
    story: PathBuf,
    /// Where files hold it.
    #[arg(long)]
    holds: PathBuf,
}

impl Part {
    fn tell(&self, what: &str) -> Result<()> {
        Story::new(&self.story).tell(what, &self.who)
    }

    /// Waits while this point is held, and fails if it is to fail.
    fn pass(&self, point: &str) -> Result<()> {
        let hold = self.holds.join(format!("{point}:{}", self.who));
        while let Ok(what) = fs::read_to_string(&hold) {
            if what == FAIL {
                bail!("told to fail at {point}");
            }
            sleep(LOOK);
        }
        Ok(())
    }
}

/// A process that stays until it is told to end.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    part: Part,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// A file that holds the node of the active side. Who finds none makes itself the active side.
    #[arg(long)]
    active: Option<PathBuf>,
}

impl Serve {
    /// Serves until SIGTERM, or until it is killed.
    ///
    /// # Errors
    /// It cannot listen, or not write its story.
    pub fn run(self) -> Result<ExitCode> {
        let told_to_end = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGTERM, Arc::clone(&told_to_end))?;
        let part = self.part.clone();
        part.tell("start")?;
        let serving = std::thread::spawn(move || self.serve());
        while !told_to_end.load(Ordering::Relaxed) {
            if serving.is_finished() {
                let ended = serving
                    .join()
                    .map_err(|_| anyhow::anyhow!("the stand-in panicked"))?;
                return ended.map(|()| ExitCode::FAILURE);
            }
            sleep(LOOK);
        }
        part.tell("term")?;
        part.pass("stop")?;
        part.tell("stop")?;
        Ok(ExitCode::SUCCESS)
    }

    fn serve(&self) -> Result<()> {
        self.part.pass("start")?;
        let node = self.part.who.rsplit('@').next().unwrap_or_default();
        if let Some(active) = &self.active {
            // Who comes first; the others find the file.
            let new = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(active);
            new.and_then(|mut file| file.write_all(node.as_bytes()))
                .ok();
        }
        let listener = TcpListener::bind(self.listen)
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        self.part.tell("up")?;
        std::thread::scope(|clients| {
            for connection in listener.incoming() {
                // A client that goes away is no reason to end.
                clients.spawn(|| connection.and_then(|connection| self.answer(connection, node)));
            }
        });
        Ok(())
    }

    fn answer(&self, mut connection: TcpStream, node: &str) -> std::io::Result<()> {
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut request = String::new();
        BufReader::new(&connection).read_line(&mut request)?;
        if request.starts_with("GET /slow ") {
            self.part.pass("slow").map_err(std::io::Error::other)?;
        }
        let role = match self.active.as_deref().map(fs::read_to_string) {
            Some(Ok(holder)) if holder == node => "primary",
            _ => "standby",
        };
        let waits = self.part.holds.join(format!("paused:{}", self.part.who));
        let body = match fs::read_to_string(waits) {
            Ok(waits) => {
                serde_json::json!({ "role": role, "state": "paused", "reason": waits.trim() })
            }
            Err(_) => serde_json::json!({ "role": role, "state": "running" }),
        }
        .to_string();
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// What a command is to do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verb {
    Start,
    Stop,
    Check,
}

/// A command that starts, stops or checks something that is not a process: a file that exists.
#[derive(Debug, Args)]
pub struct Act {
    #[command(flatten)]
    part: Part,
    /// Exists while it runs.
    #[arg(long)]
    state: PathBuf,
    verb: Verb,
}

impl Act {
    /// Does it. The exit status of a check is that of the agent's file: 0 running, 3 stopped.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn run(&self) -> Result<ExitCode> {
        match self.verb {
            Verb::Start => {
                self.part.tell("begin start")?;
                self.part.pass("start")?;
                fs::write(&self.state, "")?;
                self.part.tell("end start")?;
            }
            Verb::Stop => {
                self.part.tell("begin stop")?;
                self.part.pass("stop")?;
                fs::remove_file(&self.state).ok();
                self.part.tell("end stop")?;
            }
            Verb::Check if self.state.exists() => {}
            Verb::Check => return Ok(ExitCode::from(3)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
