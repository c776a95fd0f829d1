//! A Redis server of this machine: everything of it that is local.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use interlock_model::names::LocalName;

use super::check::Check;
use super::commands::Process;
use super::{Runner, raw};

/// The port of Redis.
const PORT: u16 = 6379;
/// Where it is asked if nothing is said.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The bound of what is kept aside if nothing is said: some snapshots of a cache that fits into memory.
const ASIDE: u64 = 16 << 30;
/// The name of the file that the server's configuration includes, if nothing is said.
const INCLUDE: &str = "interlock.conf";

/// A Redis server of this machine (`[redis.NAME]`), and how it is managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// The configuration file that it is started with.
    pub config: PathBuf,
    /// The agent's own file, which that one includes last.
    pub include: PathBuf,
    /// Where it listens for this machine.
    pub host: IpAddr,
    /// Its port.
    pub port: u16,
    /// The user that the agent logs in as, here and at the other servers of the service; the default one if none.
    pub login: Option<String>,
    /// The secret with the password of that user. None if no password is asked for.
    pub password: Option<LocalName>,
    /// What runs it.
    pub run: Runner,
    /// Where snapshots are kept of what a rejoin loses.
    pub aside: PathBuf,
    /// The most bytes that are kept there.
    pub aside_limit: u64,
}

impl Check<'_> {
    /// `state` is where the agent keeps what it must remember.
    pub(super) fn redis(
        &mut self,
        given: BTreeMap<LocalName, raw::Redis>,
        processes: &BTreeMap<LocalName, Process>,
        state: &Path,
    ) -> BTreeMap<LocalName, Redis> {
        let mut servers = BTreeMap::new();
        for (name, raw) in given {
            let span = raw.config.span();
            let config = self.absolute(raw.config);
            let run = self.runner(
                raw.unit,
                raw.process,
                &span,
                "redis-server.service",
                processes,
            );
            let include = raw.include.map(|path| self.absolute(path));
            let aside = raw.aside.map(|path| self.absolute(path));
            let Some(run) = run else {
                continue;
            };
            let server = Redis {
                include: include.unwrap_or_else(|| config.with_file_name(INCLUDE)),
                config,
                host: raw.host.unwrap_or(HOST),
                port: raw.port.unwrap_or(PORT),
                login: raw.login,
                password: raw.password,
                run,
                aside: aside.unwrap_or_else(|| state.join("aside").join(name.as_str())),
                aside_limit: raw.aside_limit.map_or(ASIDE, |limit| limit.0),
            };
            servers.insert(name, server);
        }
        servers
    }
}
