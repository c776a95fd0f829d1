//! The file as it is written. What it means is decided in [`super::check`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use interlock_model::address::FloatingAddress;
use interlock_model::names::{LocalName, NodeName, ServiceName};
use serde::Deserialize;
use toml::Spanned;

use super::account::Account;
use super::commands::Listener;
use super::files;
use super::lease::Reset;
use super::ocf::OcfPermit;
use super::one_or_more::OneOrMore;
use super::target::ProbeTarget;
use super::units::{Bytes, Period, TimeOfDay};
use super::watchdog::WatchdogMode;
use crate::logs::Glob;
use crate::shim::StopSignal;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) coordinators: Spanned<Vec<Spanned<String>>>,
    pub(super) node: Node,
    pub(super) tls: Tls,
    pub(super) listen: Listen,
    #[serde(default)]
    pub(super) allow: Allow,
    #[serde(default)]
    pub(super) process: BTreeMap<LocalName, Process>,
    #[serde(default)]
    pub(super) exec: BTreeMap<LocalName, Spanned<Exec>>,
    #[serde(default)]
    pub(super) postgres: BTreeMap<LocalName, Postgres>,
    #[serde(default)]
    pub(super) redis: BTreeMap<LocalName, Redis>,
    #[serde(default)]
    pub(super) mariadb: BTreeMap<LocalName, Mariadb>,
    #[serde(default)]
    pub(super) file: BTreeMap<LocalName, files::Raw>,
    #[serde(default)]
    pub(super) logs: BTreeMap<Spanned<LocalName>, Log>,
    pub(super) log_share: Option<LogShare>,
    pub(super) secrets: Option<Secrets>,
    pub(super) ocf: Option<Ocf>,
    pub(super) shutdown: Option<Shutdown>,
    pub(super) lease: Option<Lease>,
    pub(super) watchdog: Option<Watchdog>,
    #[serde(default)]
    pub(super) health: BTreeMap<Spanned<ServiceName>, Health>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) state_dir: Spanned<PathBuf>,
    pub(super) boot_id_path: Option<Spanned<PathBuf>>,
    pub(super) cgroup: Option<Spanned<PathBuf>>,
    pub(super) journalctl: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) ca: Spanned<PathBuf>,
    pub(super) cert: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
    pub(super) check_ca: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Allow {
    pub(super) services: BTreeMap<ServiceName, Spanned<Managers>>,
    pub(super) shutdown: bool,
    pub(super) reboot: bool,
    pub(super) power: Vec<Spanned<String>>,
    pub(super) fence_dir: Option<Vec<Spanned<PathBuf>>>,
    pub(super) fence_options: BTreeSet<String>,
    pub(super) checks: Vec<Spanned<LocalName>>,
    pub(super) probe_targets: Option<Vec<ProbeTarget>>,
    pub(super) check_secrets: BTreeMap<LocalName, Vec<ProbeTarget>>,
    pub(super) marker_paths: Vec<Spanned<PathBuf>>,
    pub(super) marker_writes: Vec<Spanned<PathBuf>>,
    pub(super) check_sockets: Vec<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Managers {
    pub(super) systemd: Vec<Spanned<String>>,
    pub(super) process: Option<Spanned<OneOrMore<LocalName>>>,
    pub(super) exec: Option<Spanned<LocalName>>,
    pub(super) ocf: Vec<OcfPermit>,
    pub(super) address: Vec<FloatingAddress>,
    pub(super) postgres: Vec<Spanned<LocalName>>,
    pub(super) redis: Vec<Spanned<LocalName>>,
    pub(super) mariadb: Vec<Spanned<LocalName>>,
    pub(super) haproxy: Option<Haproxy>,
    pub(super) nginx: Option<Nginx>,
    pub(super) files: Vec<Spanned<LocalName>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nginx {
    pub(super) file: Spanned<PathBuf>,
    pub(super) upstreams: Vec<String>,
    pub(super) test: Option<Spanned<Vec<String>>>,
    pub(super) pid: Option<Spanned<PathBuf>>,
    pub(super) reload: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Haproxy {
    pub(super) socket: Spanned<PathBuf>,
    pub(super) backends: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pub(super) command: Spanned<Vec<String>>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: Option<Spanned<PathBuf>>,
    pub(super) user: Option<Account>,
    pub(super) ready: Option<Spanned<Ready>>,
    pub(super) stop_signal: Option<StopSignal>,
    pub(super) stop_grace: Option<Period>,
    pub(super) log_cap: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ready {
    pub(super) tcp: Option<SocketAddr>,
    pub(super) listener: Option<Listener>,
    pub(super) after: Option<Period>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exec {
    pub(super) start: Option<Spanned<Vec<String>>>,
    pub(super) stop: Option<Spanned<Vec<String>>>,
    pub(super) check: Option<Spanned<Vec<String>>>,
    pub(super) time_limit: Option<Period>,
    #[serde(default)]
    pub(super) idempotent: bool,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: Option<Spanned<PathBuf>>,
    pub(super) user: Option<Account>,
    pub(super) stop_signal: Option<StopSignal>,
    pub(super) stop_grace: Option<Period>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Postgres {
    pub(super) data: Spanned<PathBuf>,
    pub(super) programs: Spanned<PathBuf>,
    pub(super) config: Option<Spanned<PathBuf>>,
    pub(super) user: Option<Account>,
    pub(super) host: Option<Spanned<String>>,
    pub(super) port: Option<u16>,
    pub(super) login: Option<String>,
    pub(super) database: Option<String>,
    pub(super) passfile: Option<Spanned<PathBuf>>,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) process: Option<Spanned<LocalName>>,
    pub(super) aside: Option<Spanned<PathBuf>>,
    pub(super) aside_limit: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redis {
    pub(super) config: Spanned<PathBuf>,
    pub(super) include: Option<Spanned<PathBuf>>,
    pub(super) host: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) login: Option<String>,
    pub(super) password: Option<LocalName>,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) process: Option<Spanned<LocalName>>,
    pub(super) aside: Option<Spanned<PathBuf>>,
    pub(super) aside_limit: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mariadb {
    pub(super) config: Spanned<PathBuf>,
    pub(super) include: Option<Spanned<PathBuf>>,
    pub(super) program: Option<Spanned<PathBuf>>,
    pub(super) socket: Option<Spanned<PathBuf>>,
    pub(super) login: Option<String>,
    pub(super) password: Option<LocalName>,
    pub(super) replication_password: LocalName,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) process: Option<Spanned<LocalName>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secrets {
    pub(super) dir: Spanned<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ocf {
    pub(super) path: Option<Vec<Spanned<PathBuf>>>,
    pub(super) state: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shutdown {
    pub(super) command: Spanned<Vec<String>>,
    pub(super) reboot_command: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    pub(super) reset: Option<Reset>,
    pub(super) runtime_dir: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watchdog {
    pub(super) mode: WatchdogMode,
    pub(super) device: Option<Spanned<PathBuf>>,
    pub(super) timeout: Option<Spanned<Period>>,
    pub(super) sysfs: Option<Spanned<PathBuf>>,
    pub(super) wdctl: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) listen: Spanned<Vec<Spanned<SocketAddr>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) globs: Spanned<Vec<Glob>>,
    pub(super) service: Option<ServiceName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogShare {
    pub(super) dir: Spanned<PathBuf>,
    pub(super) mount: Spanned<PathBuf>,
    pub(super) marker: Option<Spanned<PathBuf>>,
    pub(super) at: Option<TimeOfDay>,
    pub(super) spool: Option<Bytes>,
}
