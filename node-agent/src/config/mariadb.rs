//! A MariaDB server of this machine: everything of it that is local.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use interlock_model::names::LocalName;

use super::check::Check;
use super::commands::Process;
use super::{Runner, raw};

/// The server's program, as Debian's package has it.
const PROGRAM: &str = "/usr/sbin/mariadbd";
/// Where it listens for this machine, as Debian's package has it.
const SOCKET: &str = "/run/mysqld/mysqld.sock";
/// Who the agent logs in as if nothing is said: by that socket the package lets the system's root in as this one.
const LOGIN: &str = "root";
/// The agent's own file beside the configuration, if nothing is said: the last one that Debian's configuration reads.
const INCLUDE: &str = "mariadb.conf.d/zz-interlock.cnf";

/// A MariaDB server of this machine (`[mariadb.NAME]`), and how it is managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mariadb {
    /// The configuration file that it is started with.
    pub config: PathBuf,
    /// The agent's own file, the last one that is read of that configuration.
    pub include: PathBuf,
    /// The server's program: it is asked what it would be started with.
    pub program: PathBuf,
    /// Where it listens for this machine.
    pub socket: PathBuf,
    /// The user that the agent logs in as at that socket, with all rights.
    pub login: String,
    /// The secret with the password of that user. None if no password is asked for.
    pub password: Option<LocalName>,
    /// The secret with the password of the user that replicas log in as, at the other servers of the service.
    pub replication_password: LocalName,
    /// What runs it.
    pub run: Runner,
}

impl Check<'_> {
    pub(super) fn mariadb(
        &mut self,
        given: BTreeMap<LocalName, raw::Mariadb>,
        processes: &BTreeMap<LocalName, Process>,
    ) -> BTreeMap<LocalName, Mariadb> {
        let mut servers = BTreeMap::new();
        for (name, raw) in given {
            let span = raw.config.span();
            let config = self.absolute(raw.config);
            let run = self.runner(raw.unit, raw.process, &span, "mariadb.service", processes);
            let include = raw.include.map(|path| self.absolute(path));
            let program = raw.program.map(|path| self.absolute(path));
            let socket = raw.socket.map(|path| self.absolute(path));
            let Some(run) = run else {
                continue;
            };
            let beside = config.parent().unwrap_or(Path::new("/")).join(INCLUDE);
            let server = Mariadb {
                include: include.unwrap_or(beside),
                config,
                program: program.unwrap_or_else(|| PROGRAM.into()),
                socket: socket.unwrap_or_else(|| SOCKET.into()),
                login: raw.login.unwrap_or_else(|| LOGIN.to_owned()),
                password: raw.password,
                replication_password: raw.replication_password,
                run,
            };
            servers.insert(name, server);
        }
        servers
    }
}
