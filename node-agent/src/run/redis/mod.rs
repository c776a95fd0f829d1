//! Redis servers under a lease: what the roles of this node have them do.
//!
//! [`crate::redis`] acts on one local server and knows nothing of leases; [`crate::roles`] knows who may be primary and nothing
//! of servers. Here both meet, as for PostgreSQL ([`super::postgres`]), with these differences:
//!
//! * **A role is given back without a stop.** The server turns into a replica, which it is seen to be, and goes on with its
//!   data in memory: nothing writable is left, and nothing is lost if nobody takes over.
//! * **A primary that died is not restarted in its place** (safety rule D2). Its memory is gone and its disk is older: its
//!   replica has more. It comes back as one.
//! * **An offset says something of its line only.** Which line the data of a server are of, as far as it was seen to follow or
//!   to lead, is noted durably; of any other line it is not told how far it goes.
//! * **A process that led is not another one.** What it had in memory alone went with it, and a save point of its term has the same
//!   line: so which process leads is noted as well, and nothing that has less than was told of it is told of, or promoted.
//! * **To follow may be to lose**: a replica throws away what its primary does not know, without a word. So it is asked before.
//!
//! | file | holds |
//! |---|---|
//! | `follower` | one task per instance: a replica follows who is primary |
//! | `promotion` | a replica becomes the primary, and the primary a replica |
//! | `sight` | how a server looks to who keeps its role |
//! | `note` | which line its data are of, and which process led |

mod follower;
mod note;
mod promotion;
mod sight;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::names::LocalName;
use interlock_model::postgres::Peer;
use interlock_model::redis::Redis;
use tokio::sync::Notify;

use self::note::Note;
use crate::config::{self, Runner, Secrets};
use crate::redis::{self, Data, Error, Observed, Upstream};

pub(super) use follower::Follower;

/// How long a look at a server may take.
const LOOK: Duration = Duration::from_secs(2);

/// How long it may take to have it follow, or to see how it is set.
const CHANGE: Duration = Duration::from_secs(5);

/// The servers of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    all: Arc<BTreeMap<LocalName, Arc<Server>>>,
}

/// A server of this node.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) redis: redis::Server,
    pub(super) run: Runner,
    /// Held by whoever starts, stops, promotes, or has it follow.
    pub(super) acting: tokio::sync::Mutex<()>,
    /// Something was done to it.
    stirred: Notify,
    note: Note,
    known: Mutex<Known>,
}

/// What is known of a server beside what it says itself.
#[derive(Debug, Default)]
struct Known {
    /// Why it could not be promoted, however it looks.
    trouble: Option<String>,
    /// The line in which its writes were counted since it is primary.
    counted: Option<String>,
    /// The last line of which it was told how far its data go, and the furthest of that.
    told: Option<Data>,
    /// Was it asked to become a primary since it was last to be promoted in a new epoch? Nobody knows of an agent before this
    /// one.
    asked: Option<bool>,
}

impl Known {
    /// Notes how far it was told that its data go.
    fn tell(&mut self, data: &Data) {
        match &mut self.told {
            Some(told) if told.line == data.line => told.offset = told.offset.max(data.offset),
            told => *told = Some(data.clone()),
        }
    }
}

impl Servers {
    /// Those of the agent's file. What is known of their data is below `state`.
    pub(super) fn new(
        all: &BTreeMap<LocalName, config::Redis>,
        secrets: &Secrets,
        state: &Path,
    ) -> Self {
        let server = |(name, config): (&LocalName, &config::Redis)| {
            let server = Server {
                redis: redis::Server::new(name.clone(), config.clone(), secrets.clone()),
                run: config.run.clone(),
                acting: tokio::sync::Mutex::default(),
                stirred: Notify::new(),
                note: Note::open(state.join("redis").join(name.as_str())),
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
    pub(super) fn get(&self, redis: &Redis) -> Result<&Arc<Server>, String> {
        let name = &redis.server;
        let missing =
            || format!("there is no Redis server {name}: add [redis.{name}] to the agent's file");
        self.all.get(name).ok_or_else(missing)
    }

    /// What runs the server of a part, if there is one.
    pub(super) fn runner_of(&self, redis: &Redis) -> Option<&Runner> {
        let server = self.all.get(&redis.server)?;
        Some(&server.run)
    }
}

impl Server {
    /// Looks at it.
    pub(super) async fn observe(&self) -> Result<Observed, Error> {
        self.redis.observe(LOOK).await
    }

    /// How far it was told that its data go, so far.
    fn told(&self) -> Option<Data> {
        self.known().told.clone()
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

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is complete before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a peer's server is reached.
fn upstream(redis: &Redis, peer: &Peer) -> Upstream {
    Upstream {
        node: peer.node.clone(),
        host: peer.address.clone(),
        port: redis.port,
    }
}
