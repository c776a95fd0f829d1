//! The server's own programs, run as the server's user.
//!
//! Each has an environment of its own, English messages, the password file instead of a password, and a time limit at which it is
//! killed with all that it has started. An agent that is killed cannot do that: what it leaves carries a mark, and the next
//! operation that needs a stopped server ends it before anything else ([`Tools::end_left`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use tokio::process::Command;

use super::Trouble;
use super::deadline::Deadline;
use crate::group::{self, Bounds, End};
use crate::shim::{self, User};

/// The variable that marks the programs of one server.
const MARKER: &str = "INTERLOCK_POSTGRES";

/// The most that is kept of what a program says.
const OUTPUT: usize = 256 << 10;

/// How much of what it says is shown when it fails, in characters. The end: that is where it says why.
const SHOWN: usize = 600;

/// The pause between two looks at what was killed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How to run the programs of one server.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) programs: PathBuf,
    pub(super) user: User,
    pub(super) passfile: Option<PathBuf>,
    /// The data directory, which tells the servers of a machine apart.
    pub(super) mark: PathBuf,
}

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
    how: String,
    program: String,
}

impl Tools {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// If it cannot be started, or is killed at the limit. How it ended by itself is the caller's to judge.
    pub(super) async fn run(
        &self,
        program: &str,
        arguments: &[&str],
        deadline: Deadline,
    ) -> Result<Said, Trouble> {
        let path = self.programs.join(program);
        let mut command = Command::new(&path);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("PGAPPNAME", "interlock-agent")
            .env(MARKER, &self.mark)
            .current_dir("/");
        if let Some(passfile) = &self.passfile {
            command.env("PGPASSFILE", passfile);
        }
        if geteuid().is_root() {
            // Other groups of ours are dropped with it (std's `CommandExt::uid`).
            command.uid(self.user.uid).gid(self.user.gid);
        }
        let bounds = Bounds {
            time: deadline.left(),
            stdout: OUTPUT,
            stderr: OUTPUT,
        };
        let finished = group::run(&mut command, b"", bounds).await;
        let finished = finished.map_err(|source| Trouble::Start(path, source))?;
        let (success, how) = match finished.end {
            End::Exited(0) => (true, "succeeded".to_owned()),
            End::Exited(code) => (false, format!("ended with status {code}")),
            End::Signalled(signal) => (false, format!("was ended by signal {signal}")),
            End::TimedOut | End::Undead(_) => return Err(deadline.over()),
        };
        Ok(Said {
            success,
            stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
            how,
            program: program.to_owned(),
        })
    }

    /// Kills what an operation of a killed agent has left, and returns when none of it is there any more.
    pub(super) async fn end_left(&self, deadline: Deadline) -> Result<(), Trouble> {
        let mark = self.mark.display().to_string();
        deadline
            .within(async {
                loop {
                    let mark = mark.clone();
                    let killed = tokio::task::spawn_blocking(move || kill_marked(&mark));
                    let killed = killed.await.map_err(|_| Trouble::Ending)?;
                    if killed.map_err(Trouble::Processes)? == 0 {
                        return Ok(());
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            })
            .await
    }
}

fn kill_marked(mark: &str) -> std::io::Result<usize> {
    let left = shim::marked(MARKER, mark)?;
    for process in &left {
        tracing::warn!(
            pid = process.pid,
            "killing a program of a server that an earlier operation has left"
        );
        process.signal(Signal::KILL)?;
    }
    Ok(left.len())
}

impl Said {
    /// It must have succeeded.
    pub(super) fn done(self) -> Result<String, Trouble> {
        if self.success {
            Ok(self.stdout)
        } else {
            Err(self.failure())
        }
    }

    /// Why it failed, as it says itself.
    pub(super) fn failure(self) -> Trouble {
        Trouble::Tool {
            said: self.why(),
            program: self.program,
            how: self.how,
        }
    }

    /// The end of what it said.
    pub(super) fn why(&self) -> String {
        let said = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let lines: Vec<&str> = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let said = lines.join("; ");
        let skipped = said.chars().count().saturating_sub(SHOWN);
        said.chars().skip(skipped).collect()
    }
}

/// A path as an argument. One that is no text cannot be written in the agent's file.
pub(super) fn argument(path: &Path) -> String {
    path.display().to_string()
}
