//! The agent's own file, `interlock-agent.toml`.
//!
//! It belongs to whoever owns the machine, not to the cluster: it says who this node is, where the coordinators are,
//! how local commands look, and ([`Allow`]) what the cluster may ask for. It is read once, at start, completely: an
//! unknown key, a relative path or a name that leads nowhere is a problem with its line and its remedy, and all of
//! them are told at once. `interlock-agent config check FILE` does the same without starting anything, and finds fault also
//! with what an agent starts with, refusing what it is about: an upgrade must not keep one down.
//!
//! The commented sample is `deploy/config/interlock-agent.toml`.

mod account;
mod allow;
mod check;
mod commands;
mod files;
mod health;
mod lease;
mod mariadb;
mod named;
mod ocf;
mod one_or_more;
mod postgres;
mod problem;
mod raw;
mod redis;
mod refusal;
mod runner;
mod secrets;
mod target;
mod units;
mod watchdog;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interlock_model::names::{LocalName, NodeName, ServiceName};

pub use account::{Account, AccountError};
pub use allow::{Allow, Haproxy, Managers, Nginx, Told};
pub use commands::{Exec, Listener, Process, Ready, Setting, Shutdown};
pub use files::ManagedFile;
pub use health::Health;
pub use lease::{Lease, Reset};
pub use mariadb::Mariadb;
pub use ocf::{Ocf, OcfPermit, Permitted, SecretName};
pub use postgres::{Postgres, PostgresHost};
pub use problem::{Error, Problem};
pub use redis::Redis;
pub use refusal::Refusal;
pub use runner::Runner;
pub use secrets::{SecretError, Secrets};
pub use target::{BadTarget, ProbeTarget};
pub use watchdog::{Watchdog, WatchdogMode};

use crate::logs::Glob;

/// The configuration of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name of this node in the cluster spec, and in its certificate.
    pub node: NodeName,
    /// Where the agent keeps what it must remember. On a local disk.
    pub state_dir: PathBuf,
    /// The file that holds the identity of this boot.
    pub boot_id_path: PathBuf,
    /// A directory of a writable cgroup v2 tree for the runs of this agent; without it one in the agent's own group, if that
    /// is delegated to it.
    pub cgroup: Option<PathBuf>,
    /// All coordinators, as `https://HOST:PORT`. At least one.
    pub coordinators: Vec<String>,
    /// The credentials.
    pub tls: Tls,
    /// Where the agent's own gRPC service listens.
    pub listen: SocketAddr,
    /// Where secrets are.
    pub secrets: Secrets,
    /// Where OCF resource agents are.
    pub ocf: Ocf,
    /// What the cluster may ask for.
    pub allow: Allow,
    /// Processes that the agent supervises, by name.
    pub processes: BTreeMap<LocalName, Process>,
    /// Start, stop and check commands, by name.
    pub execs: BTreeMap<LocalName, Exec>,
    /// PostgreSQL servers of this machine, by name.
    pub postgres: BTreeMap<LocalName, Postgres>,
    /// Redis servers of this machine, by name.
    pub redis: BTreeMap<LocalName, Redis>,
    /// MariaDB servers of this machine, by name.
    pub mariadb: BTreeMap<LocalName, Mariadb>,
    /// Files that people may read through the agent, by the name of the log.
    pub logs: BTreeMap<LocalName, Log>,
    /// The share that the agent brings its node's logs to every day.
    pub log_share: Option<LogShare>,
    /// What reads the journal, with its first arguments.
    pub journalctl: Vec<String>,
    /// What takes this machine down if the operating system is not to be asked.
    pub shutdown: Option<Shutdown>,
    /// How leases are kept.
    pub lease: Lease,
    /// The watchdog device.
    pub watchdog: Watchdog,
    /// Leased services whose health load balancers may ask for.
    pub health: BTreeMap<ServiceName, Health>,
    /// What is wrong with the file, and keeps no agent from starting: it refuses what each is about.
    pub tolerated: Vec<Problem>,
}

/// A log: files that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Which. At least one.
    pub globs: Vec<Glob>,
    /// Whose; the service of the log's own name if nothing else is said.
    pub service: ServiceName,
}

/// A share for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogShare {
    /// The directory on it, below the mount point; `YYYYMMDD/NODE/` are made in it.
    pub dir: PathBuf,
    /// Where its file system is mounted. Nothing is written while it is not.
    pub mount: PathBuf,
    /// A file of it, relative to the mount point, that must be there as well.
    pub marker: Option<String>,
    /// When logs are taken: so long after midnight (UTC).
    pub at: Duration,
    /// The most bytes that wait on the node while the share is away.
    pub spool: u64,
}

/// Files with this node's credentials, in PEM. Read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificates of the authorities that are trusted.
    pub ca: PathBuf,
    /// The certificate chain of this node.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates of the authorities that checks trust; those of the machine if none.
    pub check_ca: Option<PathBuf>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or does not say what it must: then with all problems.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let bytes = fs::read(file).map_err(|error| Error::Read(file.to_owned(), error))?;
        let text = str::from_utf8(&bytes).map_err(|error| Error::Invalid {
            file: file.to_owned(),
            problems: vec![Problem::of_encoding(&bytes, error)],
        })?;
        Self::parse(file, text)
    }

    /// Reads a text; `file` is what problems and refusals name.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, Error> {
        let problems = match toml::from_str(text) {
            Ok(raw) => match check::check(file, text, raw) {
                Ok(config) => return Ok(config),
                Err(problems) => problems,
            },
            Err(error) => vec![Problem::of_reader(text, &error)],
        };
        Err(Error::Invalid {
            file: file.to_owned(),
            problems,
        })
    }

    /// The same, if there is nothing wrong with it at all: for whoever can still correct the file.
    ///
    /// # Errors
    /// With what is.
    pub fn flawless(self) -> Result<Self, Error> {
        if self.tolerated.is_empty() {
            return Ok(self);
        }
        Err(Error::Invalid {
            file: self.allow.file,
            problems: self.tolerated,
        })
    }
}
