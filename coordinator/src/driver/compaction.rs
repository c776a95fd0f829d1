//! Operations that ended long ago are let go, with their plans and journals.
//!
//! # What stays
//! * An operation that is not over, whatever its age; one that needs attention is not over.
//! * The newest ones, and those that ended not long ago: [`Policy`]. The newest of all is always among them, for the next
//!   one takes the number after it.
//! * What is remembered beside the journals: activity, verified plugs, specs, events.
//!
//! What agents forget is decided by which operations are over, not by which are kept, so nothing of this reaches them
//! (safety rule X3).
//!
//! # How
//! Only the leader does it, in the background: the deletes go through the driver, a few at a time, under the same guard as
//! everything that it writes. The head of an operation goes first. A crash in between leaves parts without a head; they
//! are found by that, and go the next time.
//!
//! # Space
//! The embedded store uses the freed pages for what comes next, and gives them back to the file system when they are at
//! its end, or else when it is opened the next time. In etcd they are free once its own history of revisions is compacted
//! (`compact` in the coordinator's file); its file shrinks when it is defragmented.

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Head, OPERATIONS, Write};
use interlock_model::ids::OperationId;
use interlock_model::time::Timestamp;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::{Handle, LoadError, NotDone, chain, read_json};
use crate::clock;
use crate::store::{Key, PageRequest, Prefix, Store};

/// How often it is looked for what is old.
const PERIOD: Duration = Duration::from_secs(3600);

/// How many records go in one call: what is decided meanwhile waits for it.
const AT_ONCE: usize = 100;

/// Which operations that are over are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// So many of the newest. At least one is.
    pub newest: u64,
    /// And those that ended within this time.
    pub age: Duration,
}

/// Why it could not be done this time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read.
    #[error("old operations cannot be looked for")]
    Load(#[from] LoadError),
    /// The driver has ended, or did not do it.
    #[error("old operations cannot be let go")]
    NotDone(#[from] NotDone),
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Load(error.into())
    }
}

impl From<crate::store::InvalidKey> for Error {
    fn from(error: crate::store::InvalidKey) -> Self {
        Self::Load(error.into())
    }
}

/// Lets go of what is old, now and then, until the driver ends.
pub async fn run(handle: Handle, store: Arc<dyn Store>, policy: Policy) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match once(&handle, &*store, policy, clock::now().wall).await {
            Ok(0) => {}
            Ok(count) => info!(count, "old operations are let go"),
            Err(Error::NotDone(NotDone::Gone)) => return,
            Err(error) => warn!(error = %chain(&error), "old operations stay for now"),
        }
    }
}

/// Lets go of what is old at this moment, and returns of how many operations.
///
/// # Errors
/// If the store cannot be read, or the driver has ended. What has gone by then is gone.
pub async fn once(
    handle: &Handle,
    store: &dyn Store,
    policy: Policy,
    now: Timestamp,
) -> Result<u64, Error> {
    let found = operations(store).await?;
    let last = found.last().map_or(0, |found| found.id.0);
    let mut gone = Vec::new();
    for Found { id, head } in found {
        let among_newest = id.0.saturating_add(policy.newest.max(1)) > last;
        let old = match head {
            Some(head) => head.state.is_over() && is_before(head.ended, now, policy.age),
            None => true,
        };
        if !among_newest && old && delete(handle, store, id).await? {
            gone.push(id);
        }
    }
    if let (Some(first), Some(last)) = (gone.first().copied(), gone.last().copied()) {
        let count = gone.len();
        handle
            .call(move |desk| {
                desk.coordinator
                    .event("operations-compacted", clock::now(), |event| {
                        event.text = format!(
                            "the plans and journals of {count} old operations, {first} to {last}, are let go"
                        );
                    });
            })
            .await?;
    }
    Ok(gone.len() as u64)
}

/// An operation that the store has something of.
struct Found {
    id: OperationId,
    /// None if only parts are left of it.
    head: Option<Head>,
}

/// All operations of the store, oldest first. Of each only the first record is read.
async fn operations(store: &dyn Store) -> Result<Vec<Found>, Error> {
    let prefix = Prefix::new(OPERATIONS)?;
    let mut after: Option<Key> = None;
    let mut found = Vec::new();
    loop {
        let request = PageRequest {
            after: after.as_ref(),
            limit: 1,
        };
        let page = store.range(&prefix, request).await?;
        let Some(entry) = page.entries.first() else {
            return Ok(found);
        };
        let below = entry.key.as_str().strip_prefix(prefix.as_str());
        let Some((number, record)) = below.and_then(|below| below.split_once('/')) else {
            after = Some(entry.key.clone());
            continue;
        };
        // Behind everything that an operation has: no record's name begins with a tilde.
        after = Some(Key::new(format!("{OPERATIONS}/{number}/~"))?);
        let Ok(number) = number.parse() else {
            continue;
        };
        let head = match record {
            "head" => Some(read_json(&entry.key, &entry.value)?),
            _ => None,
        };
        found.push(Found {
            id: OperationId(number),
            head,
        });
    }
}

/// Did it end longer ago than this? One that is over and does not say when is old.
fn is_before(ended: Option<Timestamp>, now: Timestamp, age: Duration) -> bool {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    ended.unwrap_or_default().0.saturating_add(age) <= now.0
}

/// Deletes everything of an operation, unless the engine holds it; says whether it did.
async fn delete(handle: &Handle, store: &dyn Store, id: OperationId) -> Result<bool, Error> {
    let prefix = Prefix::new(format!("{OPERATIONS}/{:012}", id.0))?;
    loop {
        // What is deleted is not found again: the call returns when it is durable.
        let request = PageRequest {
            after: None,
            limit: AT_ONCE,
        };
        let page = store.range(&prefix, request).await?;
        let keys: Vec<String> = page
            .entries
            .iter()
            .map(|entry| entry.key.to_string())
            .collect();
        if keys.is_empty() {
            return Ok(true);
        }
        let deleted = handle
            .call(move |desk| {
                let over = desk.coordinator.operation(id).is_none();
                if over {
                    desk.write(keys.into_iter().map(|key| Write { key, value: None }));
                }
                over
            })
            .await?;
        if !deleted {
            return Ok(false);
        }
    }
}
