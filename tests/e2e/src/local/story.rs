//! What really happened to the stand-ins, written by themselves.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Microseconds since 1970.
    pub at: u64,
    /// What: `start`, `up`, `term`, `stop` of a process; `begin start`, `end start` and so on of a command.
    pub what: String,
    /// The instance, as `service@node`.
    pub who: String,
    /// The process that wrote it.
    pub pid: i32,
}

/// The file that all stand-ins of a cluster append to.
#[derive(Debug, Clone)]
pub struct Story {
    path: PathBuf,
}

impl Story {
    /// The story in this file.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Appends a line, in one write, so that lines of several processes do not mix.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn tell(&self, what: &str, who: &str) -> Result<()> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let line = Line {
            at: u64::try_from(at.as_micros())?,
            what: what.to_owned(),
            who: who.to_owned(),
            pid: rustix::process::getpid().as_raw_nonzero().get(),
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        file.write_all(format!("{}\n", serde_json::to_string(&line)?).as_bytes())
            .with_context(|| self.path.display().to_string())
    }

    /// Everything so far; nothing yet is an empty story.
    ///
    /// # Errors
    /// A line is none.
    pub fn read(&self) -> Result<Vec<Line>> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect()
    }

    /// How often this happened to this instance.
    ///
    /// # Errors
    /// See [`Story::read`].
    pub fn count(&self, what: &str, who: &str) -> Result<usize> {
        Ok(self
            .read()?
            .iter()
            .filter(|line| line.what == what && line.who == who)
            .count())
    }

    /// The process that last wrote this about this instance.
    ///
    /// # Errors
    /// See [`Story::read`]; or it never happened.
    pub fn pid(&self, what: &str, who: &str) -> Result<Pid> {
        let lines = self.read()?;
        let last = lines
            .iter()
            .rev()
            .find(|line| line.what == what && line.who == who);
        last.and_then(|line| Pid::from_raw(line.pid))
            .with_context(|| format!("no '{what}' of {who} yet"))
    }
}
