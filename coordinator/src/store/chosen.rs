//! The store that the configuration names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::timeout;
use tracing::warn;

use super::Store;
use super::embedded::{Embedded, IfMissing, Options};
use super::etcd::{self, Access, COMPACT, Etcd, IfHeld, LEASE, Login};
use crate::config;

/// How long an orderly end waits for the store. After that it is as if the process was killed, which every store takes.
const CLOSING: Duration = Duration::from_secs(5);

/// An open store of one kind or the other.
#[derive(Debug, Clone)]
pub(crate) enum Chosen {
    Embedded(Embedded),
    Etcd(Etcd),
}

impl Chosen {
    /// Opens the store, and makes it if there is none. Waits while another process has an etcd store.
    pub(crate) async fn open(
        store: &config::Store,
        state_dir: &Path,
        cluster: &str,
        coordinator: &str,
    ) -> anyhow::Result<Self> {
        match store {
            config::Store::Embedded => {
                std::fs::create_dir_all(state_dir).with_context(|| {
                    format!("cannot make the state directory {}", state_dir.display())
                })?;
                let opened = Embedded::open(Options {
                    path: state_dir.join("store.redb"),
                    if_missing: IfMissing::Create,
                });
                Ok(Self::Embedded(opened.await?))
            }
            config::Store::Etcd(config) => {
                let opened = Etcd::open(options(config, cluster, coordinator));
                Ok(Self::Etcd(opened.await?))
            }
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Etcd(store) => Arc::new(store.clone()),
        }
    }

    /// Completes when another process may have taken the store. The file's lock is not lost.
    pub(crate) async fn lost(&self) {
        match self {
            Self::Embedded(_) => std::future::pending().await,
            Self::Etcd(store) => store.lost().await,
        }
    }

    /// Ends the store, and lets the next process have it.
    pub(crate) async fn close(&self) {
        let closed = match self {
            Self::Embedded(store) => timeout(CLOSING, store.close()).await,
            Self::Etcd(store) => timeout(CLOSING, store.close()).await,
        };
        if closed.is_err() {
            warn!("the store does not close in time");
        }
    }
}

fn options(config: &config::Etcd, cluster: &str, coordinator: &str) -> etcd::Options {
    let login = config.login.as_ref().map(|login| Login {
        user: login.user.clone(),
        password_file: login.password_file.clone(),
    });
    let prefix = config.prefix.clone();
    etcd::Options {
        access: Access {
            endpoints: config.endpoints.clone(),
            ca: config.ca.clone(),
            cert: config.cert.clone(),
            key: config.key.clone(),
            login,
        },
        prefix: prefix.unwrap_or_else(|| format!("/interlock/{cluster}")),
        coordinator: coordinator.to_owned(),
        if_held: IfHeld::Wait,
        lease: LEASE,
        compact: config.compact.then_some(COMPACT),
    }
}
