//! A real HAProxy of a local cluster, asked on its runtime socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::Cluster;

/// The load balancer of [`Machine::haproxy`](super::Machine::haproxy).
#[derive(Debug)]
pub struct Haproxy {
    socket: PathBuf,
    backend: String,
}

impl Haproxy {
    /// The program that has to be there, and its package.
    pub const NEEDED: (&'static str, &'static str) = ("/usr/sbin/haproxy", "haproxy");

    /// The one of this service, and this backend of it.
    #[must_use]
    pub fn of(cluster: &Cluster, service: &str, backend: &str) -> Self {
        Self {
            socket: cluster.path(&format!("{service}.sock")),
            backend: backend.to_owned(),
        }
    }

    /// What it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn tell(&self, command: &str) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        writeln!(stream, "{command}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// A figure of each server of the backend, in order: `status`, `scur` (sessions).
    ///
    /// # Errors
    /// It does not tell.
    pub fn figures(&self, figure: &str) -> Result<Vec<String>> {
        let backend = &self.backend;
        let figures = self.tell(&format!("show stat {backend} 4 -1"))?;
        let mut lines = figures.lines();
        let names = lines.next().context("no figures")?.split(',');
        let at = names.into_iter().position(|name| name == figure);
        let at = at.with_context(|| format!("no {figure}"))?;
        let rows = lines.filter(|line| line.starts_with(&format!("{backend},")));
        let figure = |line: &str| line.split(',').nth(at).map(str::to_owned);
        rows.map(|line| figure(line).context("a short line"))
            .collect()
    }

    /// How each server of the backend is: `UP`, `DOWN`, `DRAIN`, `MAINT`.
    ///
    /// # Errors
    /// It does not tell.
    pub fn members(&self) -> Result<Vec<String>> {
        self.figures("status")
    }

    /// The process that does its work; another one after a reload.
    ///
    /// # Errors
    /// It does not tell.
    pub fn worker(&self) -> Result<i32> {
        let info = self.tell("show info")?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "));
        Ok(pid.context("no pid")?.parse()?)
    }

    /// Lets it read its file again, as an administrator does who knows of nothing.
    ///
    /// # Errors
    /// Its first process is not found.
    pub fn reload(&self) -> Result<()> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker()?))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let master = Pid::from_raw(parent.context("no parent")?.trim().parse()?);
        Ok(kill_process(master.context("no master")?, Signal::USR2)?)
    }
}
