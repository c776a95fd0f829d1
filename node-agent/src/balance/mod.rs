//! Load balancers, as they are told who takes part.
//!
//! | module | speaks to |
//! |---|---|
//! | `haproxy` | HAProxy, through its runtime socket |
//! | `nginx` | nginx open source, through a file of its configuration and a reload |
//!
//! What their processes have with a server the kernel is asked for: `connections`, `diag`, `table`.
//!
//! [`Balancers`] knows which of them may be spoken to: what the agent's own file does not permit is not even looked at.

mod connections;
mod diag;
mod haproxy;
mod nginx;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use interlock_model::check::CheckKind;
use interlock_model::member::{Member, MemberState};
use interlock_model::names::ServiceName;
use serde::{Deserialize, Serialize};

use crate::config::{Allow, Refusal, Told};

pub(crate) use haproxy::{Haproxy, HaproxyServer};
pub(crate) use nginx::Nginx;

/// What is wanted of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Admin {
    /// That it takes part.
    Ready,
    /// That it gets nothing new, save from clients whose cookie names it.
    Drain,
    /// That it gets nothing.
    Maint,
}

impl Admin {
    /// The word for it, which is that of HAProxy's socket.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

/// A server, as its load balancer shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// What is wanted of it.
    pub(crate) admin: Admin,
    /// What the load balancer makes of it, in its own words: `UP`, `DOWN 1/2`, `MAINT`, `no check`.
    pub(crate) status: String,
    /// Does it get what it should get, without reservation?
    pub(crate) up: bool,
    /// Does it get anything, if that is wanted?
    pub(crate) reached: bool,
    /// What the load balancer's own check said last; empty without one.
    pub(crate) checked: String,
    /// How much of it is in use now: nothing is waited for any more at 0.
    pub(crate) sessions: u64,
    /// Of what `sessions` is the number.
    pub(crate) counted: &'static str,
}

impl Server {
    /// The same in a word.
    pub(crate) fn state(&self) -> MemberState {
        match self.admin {
            Admin::Maint => MemberState::Maint,
            Admin::Drain => MemberState::Drain,
            Admin::Ready if self.reached => MemberState::Ready,
            Admin::Ready => MemberState::Down,
        }
    }
}

/// A load balancer cannot be told, or asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The agent's own file does not permit it.
    #[error(transparent)]
    NotPermitted(#[from] Refusal),
    #[error(transparent)]
    Haproxy(#[from] haproxy::Error),
    #[error(transparent)]
    Nginx(#[from] nginx::Error),
}

impl Error {
    /// Does the load balancer not run, for all that is seen?
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Haproxy(error) => error.is_away(),
            Self::Nginx(error) => matches!(error, nginx::Error::NotRunning(_)),
            Self::NotPermitted(_) => false,
        }
    }
}

/// A load balancer of this node, however it is told.
#[derive(Debug, Clone)]
pub(crate) enum Balancer {
    Haproxy(Haproxy),
    Nginx(Nginx),
}

impl Balancer {
    /// How a server is.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn look(&self, backend: &str, server: &str) -> Result<Server, Error> {
        Ok(match self {
            Self::Haproxy(haproxy) => haproxy.look(backend, server).await?,
            Self::Nginx(nginx) => nginx.look(backend, server).await?,
        })
    }

    /// The same, without what is costly to count: there it has no sessions.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn glance(&self, backend: &str, server: &str) -> Result<Server, Error> {
        Ok(match self {
            Self::Haproxy(haproxy) => haproxy.glance(backend, server).await?,
            Self::Nginx(nginx) => nginx.glance(backend, server).await?,
        })
    }

    /// Says what is wanted of a server.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn set(&self, backend: &str, server: &str, admin: Admin) -> Result<(), Error> {
        match self {
            Self::Haproxy(haproxy) => haproxy.set(backend, server, admin).await?,
            Self::Nginx(nginx) => nginx.set(backend, server, admin).await?,
        }
        Ok(())
    }

    /// What a server is seen to be that was put to this: a load balancer may know fewer words.
    pub(crate) fn seen_as(&self, admin: Admin) -> Admin {
        match (self, admin) {
            (Self::Nginx(_), Admin::Drain) => Admin::Maint,
            (Self::Haproxy(_) | Self::Nginx(_), admin) => admin,
        }
    }
}

/// The load balancers of this node.
#[derive(Debug)]
pub(crate) struct Balancers {
    allow: Arc<Allow>,
    /// Where is kept what must not be forgotten of a change under way.
    directory: PathBuf,
    /// Held by whoever changes a file, of which several members may be in one.
    turns: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl Balancers {
    /// Those that this file permits. What must not be forgotten is kept in `directory`.
    pub(crate) fn new(allow: Arc<Allow>, directory: &Path) -> Self {
        Self {
            allow,
            directory: directory.to_owned(),
            turns: Mutex::default(),
        }
    }

    /// The one that a member is in.
    ///
    /// # Errors
    /// If the agent's own file does not permit to switch the member there.
    pub(crate) fn of(&self, balancer: &ServiceName, member: &Member) -> Result<Balancer, Error> {
        Ok(match self.allow.permits_member(balancer, member)? {
            Told::Haproxy(haproxy) => Balancer::Haproxy(Haproxy::at(&haproxy.socket)),
            Told::Nginx(nginx) => {
                let turn = self.turn(&nginx.file);
                Balancer::Nginx(Nginx::new(nginx.clone(), &self.directory, turn))
            }
        })
    }

    /// May this check of a member be run here?
    ///
    /// # Errors
    /// If the agent's own file does not permit it.
    pub(crate) fn permits_check(&self, check: &CheckKind) -> Result<(), Refusal> {
        self.allow.permits_check(check)
    }

    fn turn(&self, file: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(file.to_owned()).or_default())
    }
}

/// The names that exist, as many as a person reads.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
        }
        _ => names.join(", "),
    }
}
