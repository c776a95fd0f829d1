//! PostgreSQL servers under a lease: what the roles of this node have them do.
//!
//! [`crate::postgres`] acts on one local server and knows nothing of leases; [`crate::roles`] knows who may be primary and
//! nothing of servers. Here both meet.
//!
//! ```text
//!   seat ── promote ──► promotion ─┐                          ┌─ sight ──► seat: position, whom writes wait for
//!   seat ── heard: who holds it ──►├─ one at a time, a server ┤
//!   attempts ── start, stop ──────►│      (`Server::acting`)  └─ follower ──► seat: follows epoch e
//! ```
//!
//! # Terms
//! * **Server**: one of the agent's file, with what runs it: a unit or a process.
//! * **Upstream**: the server that a standby follows: that of the node that holds the role by the last word of a coordinator.
//!
//! # Invariants
//! * **A server is never started as anything but a standby** (safety rule D2). It becomes a primary by promotion alone, and
//!   that needs the right of its seat (E5). The signal file of a primary is written after its promotion, and again whenever it
//!   is missing, so that whoever starts it next starts a standby; and a unit that starts at boot makes its server unready.
//! * **One at a time** starts, stops, promotes, compares or rewinds a server.
//! * **What its data follow is proven, not assumed**: it streams from who holds the role, and a comparison of both histories
//!   says that it has nothing else.
//! * **What a rejoin loses is saved first** (D3), and said.
//!
//! | file | holds |
//! |---|---|
//! | `follower` | one task per instance: the standby's side, and what a primary owes its standbys |
//! | `rejoin` | a server that does not run, or has diverged, becomes a standby |
//! | `promotion` | a standby becomes the primary |
//! | `sight` | how a server looks to who keeps its role |
//! | `waiting` | whom the commits of a primary are to wait for |

mod follower;
mod promotion;
mod rejoin;
mod sight;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::names::{LocalName, NodeName};
use interlock_model::postgres::{Peer, Postgres};
use tokio::sync::Notify;

use crate::config::{self, Runner};
use crate::postgres::{
    Cluster, Control, ControlState, Error, Observed, SlotName, Synchronous, Timeline, Upstream,
};

pub(super) use follower::Follower;

/// How long a look at a server may take.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// How long a change of its settings, or a comparison with another one, may take.
const CHANGE: Duration = Duration::from_secs(15);

/// The servers of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    /// Their node.
    pub(super) node: NodeName,
    all: Arc<BTreeMap<LocalName, Arc<Server>>>,
}

/// A server of this node.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) cluster: Cluster,
    pub(super) run: Runner,
    /// Held by whoever starts, stops, promotes, compares or rewinds it.
    pub(super) acting: tokio::sync::Mutex<()>,
    /// Something was done to it.
    pub(super) stirred: Notify,
    known: Mutex<Known>,
}

/// What is known of a server beside what it says itself.
#[derive(Debug, Default)]
struct Known {
    /// Whom it was last told to follow.
    upstream: Option<Upstream>,
    /// Why it could not be promoted, however it looks.
    trouble: Option<String>,
    /// The request by which the record is asked to say that commits wait for nobody: until they do, nobody is told that they
    /// wait. It permits one change, so that what was permitted at one time is of no use at another.
    degrading: Option<u64>,
    /// How many such requests there were.
    requests: u64,
    /// Was it asked to become a primary, since it was last to be promoted in a new epoch?
    asked: Asked,
    /// The last ends of its log that were certainly those of records, rising.
    settled: VecDeque<u64>,
    /// Which of these the standby that commits wait for is known to have.
    there: Option<u64>,
}

/// Was a server asked to become a primary?
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Not in the life of this agent, which knows nothing of those before.
    #[default]
    Unknown,
    /// No.
    Never,
    /// Yes, when it was on this timeline.
    On(Timeline),
}

impl Asked {
    /// Does what a stopped server has left prove that it has never left recovery since? With its promotion it begins a timeline.
    fn has_no_effect(self, control: &Control) -> bool {
        let recovers = control.state == ControlState::ShutDownInRecovery;
        match self {
            Self::Unknown => false,
            Self::Never => recovers,
            Self::On(timeline) => recovers && control.newest_timeline() <= timeline,
        }
    }
}

impl Servers {
    /// Those of the agent's file, on this node.
    pub(super) fn new(node: &NodeName, all: &BTreeMap<LocalName, config::Postgres>) -> Self {
        let server = |(name, config): (&LocalName, &config::Postgres)| {
            let server = Server {
                cluster: Cluster::new(name.clone(), config.clone(), node.clone()),
                run: config.run.clone(),
                acting: tokio::sync::Mutex::default(),
                stirred: Notify::new(),
                known: Mutex::default(),
            };
            (name.clone(), Arc::new(server))
        };
        Self {
            node: node.clone(),
            all: Arc::new(all.iter().map(server).collect()),
        }
    }

    /// The server of a part.
    ///
    /// # Errors
    /// With what to do if there is none.
    pub(super) fn get(&self, postgres: &Postgres) -> Result<&Arc<Server>, String> {
        let name = &postgres.cluster;
        let missing = || {
            format!(
                "there is no PostgreSQL server {name}: add [postgres.{name}] to the agent's file"
            )
        };
        self.all.get(name).ok_or_else(missing)
    }

    /// What runs the server of a part, if there is one.
    pub(super) fn runner_of(&self, postgres: &Postgres) -> Option<&Runner> {
        let server = self.all.get(&postgres.cluster)?;
        Some(&server.run)
    }
}

impl Server {
    /// Whom it was last told to follow.
    pub(super) fn upstream(&self) -> Option<Upstream> {
        self.known().upstream.clone()
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

    /// The request to have commits wait for nobody that is under way, or a new one.
    fn request(&self) -> u64 {
        let mut known = self.known();
        if let Some(request) = known.degrading {
            return request;
        }
        known.requests += 1;
        let request = known.requests;
        known.degrading = Some(request);
        request
    }

    /// Has it, which is stopped, not left recovery since it was last to be promoted in a new epoch?
    pub(super) fn was_not_promoted(&self, control: &Control) -> bool {
        self.known().asked.has_no_effect(control)
    }

    /// Looks at it.
    pub(super) async fn observe(&self) -> Result<Observed, Error> {
        self.cluster.observe(LOOK).await
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is complete before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a peer's server is reached, by this node.
fn upstream(node: &NodeName, postgres: &Postgres, peer: &Peer) -> Upstream {
    Upstream {
        node: peer.node.clone(),
        host: peer.address.clone(),
        port: postgres.port,
        user: postgres.user.clone(),
        slot: Some(SlotName::of(node)),
    }
}

/// Commits that wait for any one of these.
fn any_of(nodes: impl IntoIterator<Item = NodeName>) -> Synchronous {
    Synchronous {
        needed: NonZeroU32::MIN,
        nodes: nodes.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Lsn, SystemId};

    fn left(state: ControlState, timeline: u32) -> Control {
        Control {
            state,
            system: SystemId(1),
            checkpoint: Lsn(1000),
            redo: Lsn(1000),
            timeline: Timeline(3),
            consistent: Some((Lsn(2000), Timeline(timeline))),
            segment_bytes: 16 << 20,
            rewindable: true,
        }
    }

    #[test]
    fn a_promotion_had_no_effect_only_if_recovery_went_on_to_the_end_on_the_same_timeline() {
        let recovers = || ControlState::ShutDownInRecovery;
        let other = || ControlState::Other("in production".to_owned());
        for (asked, control, none) in [
            (Asked::Never, left(recovers(), 4), true),
            (Asked::Unknown, left(recovers(), 4), false),
            (Asked::On(Timeline(4)), left(recovers(), 4), true),
            (Asked::On(Timeline(4)), left(recovers(), 5), false),
            (Asked::Never, left(ControlState::ShutDown, 4), false),
            (Asked::Never, left(other(), 4), false),
        ] {
            assert_eq!(asked.has_no_effect(&control), none, "{asked:?} {control:?}");
        }
    }
}
