//! The coordinator's own file, `interlock-coordinator.toml`.
//!
//! Unknown keys are errors: a setting that is misspelt must not silently be its default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interlock_model::names::NodeName;
use serde::Deserialize;

use crate::driver::compaction::Policy;

/// What the file holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of this coordinator: that of the machine it runs on, and that in its certificate.
    pub name: NodeName,
    /// Where agents and operators connect.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where the embedded store lives.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Which store keeps what must not be forgotten.
    #[serde(default)]
    pub store: Store,
    /// Its certificate.
    pub tls: Tls,
    /// Which operations that are over it keeps.
    #[serde(default)]
    pub keep: Keep,
}

/// Which operations that are over are kept, with their plans and journals: those that are among the newest, and those that
/// ended not long ago. What is not over is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// So many of the newest.
    pub operations: std::num::NonZeroU64,
    /// And those of so many days.
    pub days: u32,
}

impl Default for Keep {
    /// A quarter of a year, and never fewer than a thousand: a plan with a hundred steps and its journal are some 100 KiB.
    fn default() -> Self {
        Self {
            operations: std::num::NonZeroU64::new(1000).unwrap_or(std::num::NonZeroU64::MIN),
            days: 90,
        }
    }
}

impl From<Keep> for Policy {
    fn from(keep: Keep) -> Self {
        Self {
            newest: keep.operations.get(),
            age: Duration::from_secs(u64::from(keep.days) * 24 * 3600),
        }
    }
}

/// Where the files of its certificate are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The cluster's certificate authority.
    pub ca: PathBuf,
    /// The coordinator's certificate.
    pub cert: PathBuf,
    /// Its key; readable by its owner only.
    pub key: PathBuf,
}

/// Which store: `store = "embedded"`, or a section `[store.etcd]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// A file in the state directory; for one coordinator.
    #[default]
    Embedded,
    /// An etcd of version 3.4 or later.
    Etcd(Etcd),
}

/// Where etcd is, and how to get in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// The members' client URLs, `https://host:port`.
    pub endpoints: Vec<String>,
    /// The authority of etcd's certificates.
    pub ca: PathBuf,
    /// The coordinator's certificate as etcd's client.
    pub cert: PathBuf,
    /// Its key; readable by its owner only.
    pub key: PathBuf,
    /// The user, where etcd has authentication on.
    #[serde(default)]
    pub login: Option<Login>,
    /// Below which path the cluster is; `/interlock/<cluster>` if it is not said.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Whether this coordinator makes etcd forget revisions older than five minutes. Turn it off
    /// where others use the same etcd, and set `--auto-compaction-retention` there.
    #[serde(default = "default_compact")]
    pub compact: bool,
}

/// A user of etcd.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The file with the password; readable by its owner only.
    pub password_file: PathBuf,
}

fn default_compact() -> bool {
    true
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7443))
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/interlock-coordinator")
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {path}: is it there, and may this user read it?")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It does not say what it should; the message has line, column and key.
    #[error("{path} is not a coordinator's configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| Error::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "name = 'mgmt1'\n[tls]\nca = 'ca.crt'\ncert = 'c.crt'\nkey = 'c.key'\n";

    #[test]
    fn the_published_sample_is_a_configuration() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/config/interlock-coordinator.toml");
        assert_eq!(Config::load(&sample).unwrap().name.as_str(), "mgmt1");
    }

    #[test]
    fn the_store_is_embedded_unless_etcd_is_described() {
        let parse = |store: &str| toml::from_str::<Config>(&format!("{FILE}{store}"));
        assert!(matches!(parse("").unwrap().store, Store::Embedded));
        let etcd =
            "[store.etcd]\nendpoints = ['https://e1:2379']\nca = 'a'\ncert = 'b'\nkey = 'c'\n";
        let Store::Etcd(parsed) = parse(etcd).unwrap().store else {
            panic!("not etcd");
        };
        assert!(parsed.compact && parsed.login.is_none() && parsed.prefix.is_none());
        let login = format!("{etcd}login = {{ user = 'u', password_file = 'p' }}\n");
        assert!(parse(&login).is_ok());
        let error = parse(&format!("{etcd}password = 'p'\n")).unwrap_err();
        assert!(error.to_string().contains("password"), "{error}");
    }

    #[test]
    fn what_is_kept_has_defaults_and_is_never_nothing() {
        let parse = |keep: &str| toml::from_str::<Config>(&format!("{FILE}{keep}"));
        let keep = parse("").unwrap().keep;
        assert_eq!((keep.operations.get(), keep.days), (1000, 90));
        let keep = parse("[keep]\noperations = 5\n").unwrap().keep;
        assert_eq!((keep.operations.get(), keep.days), (5, 90));
        assert!(parse("[keep]\noperations = 0\n").is_err());
        assert!(parse("[keep]\nweeks = 1\n").is_err());
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_names_it() {
        assert!(toml::from_str::<Config>(FILE).is_ok());
        let error = toml::from_str::<Config>(&format!("lisen = '0.0.0.0:1'\n{FILE}")).unwrap_err();
        assert!(error.to_string().contains("lisen"), "{error}");
    }
}
