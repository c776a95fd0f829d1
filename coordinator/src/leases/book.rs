//! Leases in the store: keys, readings, and the translation of what the machines want committed.
//!
//! | key | holds |
//! |---|---|
//! | `/lease/SERVICE/record` | the [`LeaseRecord`]; every renewal rewrites it |
//! | `/lease/SERVICE/failover` | the epoch for which automatic failover has claimed the service |
//! | `/why/SERVICE/EPOCH` | why that epoch began, see [`Decision`](super::why::Decision) |
//!
//! Record and claim lie under one prefix, so that one read shows both as of one revision.

use std::sync::Arc;

use interlock_engine::coordinator::{Head, Write, head_key};
use interlock_engine::lease::{Change, Condition as Wanted, LeaseRecord, Stored, Transaction};
use interlock_engine::operation::State;
use interlock_model::ids::OperationId;
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};

use crate::driver::{LoadError, chain, read_json};
use crate::store::{
    Class, CommitError, Condition, InvalidKey, Key, Outcome, Prefix, Store, Transaction as Writes,
};

/// The prefix of lease records and of the claims of failovers.
pub(crate) const LEASES: &str = "/lease";

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is durable.
    Committed,
    /// Nothing of it was written, for this reason.
    Not(String),
    /// It may have been written, or may be yet.
    Unknown(String),
}

/// The leases of the store.
#[derive(Debug, Clone)]
pub(super) struct Book(Arc<dyn Store>);

impl Book {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Which store it is.
    pub(super) fn incarnation(&self) -> String {
        self.0.incarnation().to_string()
    }

    /// Record and claim of a service, linearizably and at one revision. Which operation holds it the store does not say.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) async fn read(&self, service: &ServiceName) -> Result<Stored, LoadError> {
        let below = Prefix::new(format!("{LEASES}/{service}"))?;
        let mut stored = Stored::default();
        for entry in &self.0.snapshot(&below).await?.entries {
            match entry.key.name() {
                "record" => {
                    let record: LeaseRecord = read_json(&entry.key, &entry.value)?;
                    stored.record = Some((record, entry.modified.0));
                }
                "failover" => stored.failover = Some(read_json(&entry.key, &entry.value)?),
                _ => {}
            }
        }
        Ok(stored)
    }

    /// One value, if it is there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) async fn value<T: serde::de::DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, LoadError> {
        let entry = self.0.get(&Key::new(key)?).await?;
        entry
            .map(|entry| read_json(&entry.key, &entry.value))
            .transpose()
    }

    /// Commits a transaction about a service, and `more` with it. `guard` stands for the leadership of this process.
    pub(super) async fn commit(
        &self,
        service: &ServiceName,
        transaction: &Transaction,
        guard: &Condition,
        more: &[Write],
    ) -> Fate {
        let writes = match self.translate(service, transaction, guard, more).await {
            Ok(Ok(writes)) => writes,
            Ok(Err(why)) => return Fate::Not(why),
            Err(error) => return Fate::Not(chain(&error)),
        };
        match self.0.commit(writes).await {
            Ok(Outcome::Committed { .. }) => Fate::Committed,
            Ok(Outcome::Conflict(conflict)) => Fate::Not(conflict.to_string()),
            Err(CommitError::NotCommitted(error)) => Fate::Not(chain(&error)),
            Err(error) => Fate::Unknown(chain(&error)),
        }
    }

    /// The transaction in the store's words, or why it cannot be committed now.
    async fn translate(
        &self,
        service: &ServiceName,
        transaction: &Transaction,
        guard: &Condition,
        more: &[Write],
    ) -> Result<Result<Writes, String>, LoadError> {
        let record = key(service, "record")?;
        let claim = key(service, "failover")?;
        let mut writes = Writes::new();
        for condition in transaction.conditions() {
            writes = match condition {
                Wanted::Leading => writes.when(guard.clone()),
                Wanted::Revision(0) => writes.when(Condition::Absent(record.clone())),
                Wanted::Revision(revision) => {
                    let revision = crate::store::Revision(*revision);
                    writes.when(Condition::ModifiedAt(record.clone(), revision))
                }
                // Taken in the driver before: see the module.
                Wanted::NoOperation => writes,
                Wanted::Operation(id) => match self.under_way(*id).await? {
                    Some(condition) => writes.when(condition),
                    None => return Ok(Err(format!("{id} goes on no more"))),
                },
            };
        }
        for change in transaction.changes() {
            writes = match change {
                Change::Record(written) => writes.put(&record, json(&**written)),
                Change::Claim(epoch) => writes.put(&claim, json(epoch)),
                Change::Unclaim(_) => writes.delete(&claim),
            };
        }
        for write in more {
            let key = Key::new(&write.key)?;
            writes = match &write.value {
                Some(value) => writes.put(&key, value.as_slice()),
                None => writes.delete(&key),
            };
        }
        Ok(Ok(writes))
    }

    /// The condition that an operation has not turned since it was seen to be under way here: one that was given up must
    /// not move a role late. Its head is rewritten at every turn.
    async fn under_way(&self, id: OperationId) -> Result<Option<Condition>, LoadError> {
        let Some(entry) = self.0.get(&Key::new(head_key(id))?).await? else {
            return Ok(None);
        };
        let head: Head = read_json(&entry.key, &entry.value)?;
        let condition = Condition::ModifiedAt(entry.key, entry.modified);
        let goes_on = matches!(
            head.state,
            State::Running | State::Pausing | State::Paused | State::NeedsAttention
        );
        Ok(goes_on.then_some(condition))
    }
}

fn key(service: &ServiceName, name: &str) -> Result<Key, InvalidKey> {
    Key::new(format!("{LEASES}/{service}/{name}"))
}

/// These types have no maps with other than text keys or numbers, and no failing impls: serialising them cannot fail.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Can reading again help?
pub(super) fn may_pass(error: &LoadError) -> bool {
    matches!(error, LoadError::Store(error) if error.class() == Class::Retryable)
}

/// The epoch of a claim that still keeps operations off: its record is of this store, and its holder has not renewed.
pub(super) fn claim<'a>(stored: &'a Stored, incarnation: &str) -> Option<(Epoch, &'a NodeName)> {
    let epoch = stored.failover?;
    let (record, _) = stored.record.as_ref()?;
    let holder = record.holder()?;
    let counts = record.epoch() == epoch && record.incarnation() == incarnation;
    (counts && !record.is_held()).then_some((epoch, &holder.node))
}
