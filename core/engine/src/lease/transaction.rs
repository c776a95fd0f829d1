//! What is written: conditions and changes that are one transaction of the store.
//!
//! Only this module's siblings make one. A program translates it into keys and values, and says what became of it.

use interlock_model::ids::OperationId;
use interlock_model::lease::Epoch;

use super::record::LeaseRecord;

/// What the store holds of a service's lease, as of one linearizable read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The record, and the revision that last modified it; none if there is none.
    pub record: Option<(LeaseRecord, u64)>,
    /// The operation that holds the service, if one does.
    pub operation: Option<OperationId>,
    /// The epoch for which automatic failover has claimed the service, if it has.
    pub failover: Option<Epoch>,
}

impl Stored {
    /// The revision that a change of the record is conditional on; 0 says that there is none.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.record.as_ref().map_or(0, |(_, revision)| *revision)
    }
}

/// What must hold for a transaction to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The leader's key is still that of the process that asks.
    Leading,
    /// The record was last modified at this revision; 0 says that there is none.
    Revision(u64),
    /// No operation holds the service (safety rule E18).
    NoOperation,
    /// This operation holds the service: one that was given up must not move a role late.
    Operation(OperationId),
}

/// What a transaction changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record.
    Record(Box<LeaseRecord>),
    /// Automatic failover claims the service for this epoch: no operation may begin on it.
    Claim(Epoch),
    /// That claim ends.
    Unclaim(Epoch),
}

/// Conditions and changes that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    conditions: Vec<Condition>,
    changes: Vec<Change>,
}

impl Transaction {
    pub(super) fn new(
        conditions: impl IntoIterator<Item = Condition>,
        changes: impl IntoIterator<Item = Change>,
    ) -> Self {
        Self {
            conditions: conditions.into_iter().collect(),
            changes: changes.into_iter().collect(),
        }
    }

    /// What must hold, all of it.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The record that it writes, if it writes one.
    #[must_use]
    pub fn record(&self) -> Option<&LeaseRecord> {
        self.changes.iter().find_map(|change| match change {
            Change::Record(record) => Some(&**record),
            Change::Claim(_) | Change::Unclaim(_) => None,
        })
    }

    /// What changes if it does.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}
