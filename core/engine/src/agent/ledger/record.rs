//! What is durable.
//!
//! The ledger needs little of its storage: slots that hold one record each, and writes that are applied all or none.

use interlock_model::ids::{AttemptId, BootId, OperationId, Term};
use interlock_model::names::ServiceName;
use interlock_model::observation::Wanted;
use serde::{Deserialize, Serialize};

use super::{Entry, Refusal, Trust};
use crate::agent::guard::Memory;

/// One durable fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// The highest term obeyed.
    Term(Term),
    /// The store that it came from.
    Incarnation(String),
    /// The highest operation seen.
    HighestOperation(OperationId),
    /// The closed mark.
    ClosedBelow(OperationId),
    /// An attempt.
    Entry(Box<Entry>),
    /// What an instance should be.
    Wanted {
        /// The service.
        service: ServiceName,
        /// What it should be.
        wanted: Wanted,
    },
    /// A refusal.
    Refusal(Refusal),
    /// What the guard of an instance has to remember.
    Guard {
        /// The service.
        service: ServiceName,
        /// The boot in which it holds.
        boot: BootId,
        /// What.
        memory: Memory,
    },
    /// What an operation has proven to run of an instance.
    Trust {
        /// The service.
        service: ServiceName,
        /// What.
        trust: Trust,
    },
}

/// Where a record lies: a later one in the same slot takes its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slot {
    /// See [`Record::Term`].
    Term,
    /// See [`Record::Incarnation`].
    Incarnation,
    /// See [`Record::HighestOperation`].
    HighestOperation,
    /// See [`Record::ClosedBelow`].
    ClosedBelow,
    /// See [`Record::Entry`].
    Entry(AttemptId),
    /// See [`Record::Wanted`].
    Wanted(ServiceName),
    /// See [`Record::Refusal`]: its number.
    Refusal(u64),
    /// See [`Record::Guard`].
    Guard(ServiceName),
    /// See [`Record::Trust`].
    Trust(ServiceName),
}

impl Record {
    /// Where it lies.
    #[must_use]
    pub fn slot(&self) -> Slot {
        match self {
            Self::Term(_) => Slot::Term,
            Self::Incarnation(_) => Slot::Incarnation,
            Self::HighestOperation(_) => Slot::HighestOperation,
            Self::ClosedBelow(_) => Slot::ClosedBelow,
            Self::Entry(entry) => Slot::Entry(entry.id.clone()),
            Self::Wanted { service, .. } => Slot::Wanted(service.clone()),
            Self::Refusal(refusal) => Slot::Refusal(refusal.number),
            Self::Guard { service, .. } => Slot::Guard(service.clone()),
            Self::Trust { service, .. } => Slot::Trust(service.clone()),
        }
    }
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put a record into its slot.
    Put(Record),
    /// Empty a slot.
    Remove(Slot),
}

impl Write {
    /// Which slot it changes.
    #[must_use]
    pub fn slot(&self) -> Slot {
        match self {
            Self::Put(record) => record.slot(),
            Self::Remove(slot) => slot.clone(),
        }
    }
}
