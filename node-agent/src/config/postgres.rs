//! A PostgreSQL server of this machine: everything of it that is local.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use interlock_model::names::LocalName;
use toml::Spanned;

use super::check::Check;
use super::commands::Process;
use super::{Account, Runner, raw};

/// The user of a server, a database and a role if nothing is said: those of PostgreSQL and its packages.
const POSTGRES: &str = "postgres";
/// Where Debian's packages put the sockets.
const SOCKETS: &str = "/var/run/postgresql";
/// The port of PostgreSQL.
const PORT: u16 = 5432;
/// The bound of what is saved aside if nothing is said: a crashed primary loses some MiB, and a busy one that was cut off some
/// hundred.
const ASIDE: u64 = 4 << 30;

/// A PostgreSQL server of this machine (`[postgres.NAME]`), and how it is managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Its data directory. Two directories beside it are the agent's own: `DATA.interlock` on the same file system, and
    /// where the log that a rejoin loses is saved.
    pub data: PathBuf,
    /// The directory of its programs.
    pub programs: PathBuf,
    /// Its `postgresql.conf`, if that is not in the data directory.
    pub config: Option<PathBuf>,
    /// The user that it runs as.
    pub user: Account,
    /// Where it listens for this machine: a directory of sockets, or an IP address.
    pub host: PostgresHost,
    /// Its port.
    pub port: u16,
    /// The database role that the agent logs in with: a superuser, or one with `REPLICATION`, `pg_monitor`, `pg_checkpoint` and
    /// the right to execute `pg_promote`.
    pub login: String,
    /// A database that this role may connect to, here and on the other servers of the cluster.
    pub database: String,
    /// A password file (`HOST:PORT:DATABASE:USER:PASSWORD`), which belongs to the user of the server and is nobody else's to
    /// read. None if no password is asked for.
    pub passfile: Option<PathBuf>,
    /// What runs it.
    pub run: Runner,
    /// Where the log that a rejoin loses is saved.
    pub aside: PathBuf,
    /// The most bytes that are kept there.
    pub aside_limit: u64,
}

/// Where a server listens for its own machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresHost {
    /// On a socket in this directory.
    Socket(PathBuf),
    /// On this address, without TLS.
    Address(std::net::IpAddr),
}

impl PostgresHost {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            Some(Self::Socket(text.into()))
        } else {
            text.parse().ok().map(Self::Address)
        }
    }
}

/// A path beside another one: `DIR/NAME.suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

impl Check<'_> {
    pub(super) fn postgres(
        &mut self,
        given: BTreeMap<LocalName, raw::Postgres>,
        processes: &BTreeMap<LocalName, Process>,
    ) -> BTreeMap<LocalName, Postgres> {
        let mut servers = BTreeMap::new();
        for (name, raw) in given {
            if let Some(server) = self.server(raw, processes) {
                servers.insert(name, server);
            }
        }
        servers
    }

    fn server(
        &mut self,
        given: raw::Postgres,
        processes: &BTreeMap<LocalName, Process>,
    ) -> Option<Postgres> {
        let span = given.data.span();
        let data = self.absolute(given.data);
        if data.file_name().is_none() || data.ends_with("..") {
            let what = format!("'{}' has nothing beside it", data.display());
            let remedy = "name the directory itself, below a directory of the server's user";
            self.report(&span, what, remedy);
        }
        let host = given.host.map_or_else(
            || Some(PostgresHost::Socket(SOCKETS.into())),
            |host| self.host(&host),
        );
        let example = "postgresql@15-main.service";
        let run = self.runner(given.unit, given.process, &span, example, processes);
        let aside = given.aside.map(|path| self.absolute(path));
        Some(Postgres {
            programs: self.absolute(given.programs),
            config: given.config.map(|path| self.absolute(path)),
            user: given
                .user
                .unwrap_or_else(|| Account::Name(POSTGRES.to_owned())),
            host: host?,
            port: given.port.unwrap_or(PORT),
            login: given.login.unwrap_or_else(|| POSTGRES.to_owned()),
            database: given.database.unwrap_or_else(|| POSTGRES.to_owned()),
            passfile: given.passfile.map(|path| self.absolute(path)),
            run: run?,
            aside: aside.unwrap_or_else(|| beside(&data, ".aside")),
            aside_limit: given.aside_limit.map_or(ASIDE, |limit| limit.0),
            data,
        })
    }

    fn host(&mut self, given: &Spanned<String>) -> Option<PostgresHost> {
        let host = PostgresHost::parse(given.get_ref());
        if host.is_none() {
            let what = format!(
                "'{}' is neither a directory nor an IP address",
                given.get_ref()
            );
            let remedy = "write \"/var/run/postgresql\" or \"127.0.0.1\"";
            self.report(&given.span(), what, remedy);
        }
        host
    }
}
