//! MariaDB servers under a lease: what the roles of this node have them do.
//!
//! [`crate::mariadb`] acts on one local server and knows nothing of leases; [`crate::roles`] knows who may be primary and nothing
//! of servers. Here both meet, as for PostgreSQL ([`super::postgres`]), with these differences:
//!
//! * **A role is given back without a stop.** The server refuses writes, which it is seen to do, its clients' sessions are ended,
//!   and it goes on sending its log: whoever takes over gets the last of it from there.
//! * **Nothing of it is thrown away by itself.** Replication that stopped with an error, and transactions that the new primary never
//!   got, are for a person; such a server is not fit, and says why.
//!
//! | file | holds |
//! |---|---|
//! | `follower` | one task per instance: a replica follows who is primary |
//! | `promotion` | a replica becomes the primary, and the primary a replica |
//! | `sight` | how a server looks to who keeps its role |

mod follower;
mod promotion;
mod sight;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::mariadb::Mariadb;
use interlock_model::names::LocalName;
use interlock_model::postgres::Peer;
use tokio::sync::Notify;

use crate::config::{self, Runner, Secrets};
use crate::mariadb::{self, Error, Facts, Observed, Upstream};

pub(super) use follower::Follower;

/// How long a look at a server may take.
const LOOK: Duration = Duration::from_secs(2);

/// How long it may take to have it follow, or to see how it is set.
const CHANGE: Duration = Duration::from_secs(5);

/// What a person can do about transactions that nobody else has.
const REMEDY: &str = "look at them with mariadb-binlog and keep what is needed, then stop this server and copy its data anew from the \
                      primary (mariadb-backup)";

/// The servers of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    all: Arc<BTreeMap<LocalName, Arc<Server>>>,
}

/// A server of this node.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) mariadb: mariadb::Server,
    pub(super) run: Runner,
    /// Held by whoever starts, stops, promotes, or has it follow.
    pub(super) acting: tokio::sync::Mutex<()>,
    /// Something was done to it.
    stirred: Notify,
    known: Mutex<Known>,
}

/// What is known of a server beside what it says itself.
#[derive(Debug, Default)]
struct Known {
    /// Why it could not be promoted, however it looks.
    trouble: Option<String>,
    /// Was it asked to become a primary since it was last to be promoted in a new epoch? Nobody knows of an agent before this
    /// one.
    asked: Option<bool>,
    /// The last transaction that its own server had written when it was last seen to follow with all that it has; none if this
    /// agent has not seen that since it last took writes.
    own: Option<Option<u64>>,
}

impl Servers {
    /// Those of the agent's file.
    pub(super) fn new(all: &BTreeMap<LocalName, config::Mariadb>, secrets: &Secrets) -> Self {
        let server = |(name, config): (&LocalName, &config::Mariadb)| {
            let server = Server {
                mariadb: mariadb::Server::new(name.clone(), config.clone(), secrets.clone()),
                run: config.run.clone(),
                acting: tokio::sync::Mutex::default(),
                stirred: Notify::new(),
                known: Mutex::default(),
            };
            (name.clone(), Arc::new(server))
        };
        Self {
            all: Arc::new(all.iter().map(server).collect()),
        }
    }

    /// The server of a part.
    ///
    /// # Errors
    /// With what to do if there is none.
    pub(super) fn get(&self, mariadb: &Mariadb) -> Result<&Arc<Server>, String> {
        let name = &mariadb.server;
        let missing = || {
            format!("there is no MariaDB server {name}: add [mariadb.{name}] to the agent's file")
        };
        self.all.get(name).ok_or_else(missing)
    }

    /// What runs the server of a part, if there is one.
    pub(super) fn runner_of(&self, mariadb: &Mariadb) -> Option<&Runner> {
        let server = self.all.get(&mariadb.server)?;
        Some(&server.run)
    }
}

impl Server {
    /// Looks at it.
    pub(super) async fn observe(&self) -> Result<Observed, Error> {
        self.mariadb.observe(LOOK).await
    }

    /// Why it could not be promoted, however it looks.
    pub(super) fn trouble(&self) -> Option<String> {
        self.known().trouble.clone()
    }

    /// Says why it could not be promoted; true if that is news.
    fn set_trouble(&self, trouble: Option<String>) -> bool {
        let mut known = self.known();
        let news = known.trouble != trouble;
        known.trouble = trouble;
        news
    }

    /// What somebody has written to it who may although it is a replica, since it was last seen to follow: nobody else has that,
    /// and its number says nothing of what it has of others.
    fn written_here(&self, facts: &Facts) -> Option<String> {
        let before = self.known().own?;
        let now = own(facts);
        let number = |last: Option<u64>| last.map_or_else(|| "none".to_owned(), |n| n.to_string());
        (facts.read_only && now != before).then(|| {
            format!(
                "it was written to while it was a replica: the last transaction of its own is number {}, and was {} when it last \
                 followed; {REMEDY}",
                number(now),
                number(before)
            )
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is complete before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last transaction that its own server has written.
fn own(facts: &Facts) -> Option<u64> {
    facts.history.of(facts.domain, facts.server_id)
}

/// How a peer's server is reached.
fn upstream(mariadb: &Mariadb, peer: &Peer) -> Upstream {
    Upstream {
        node: peer.node.clone(),
        host: peer.address.clone(),
        port: mariadb.port,
        user: mariadb.user.clone(),
    }
}
