//! From the store to a running coordinator.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlock_model::ids::{Generation, OperationId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::SealedPlan;
use interlock_model::time::Timestamp;

use super::claims::Hold;
use super::maintenance::Maintenance;
use super::records::{Head, Verified};
use super::{Applied, Block, Coordinator, Output, Stray, Told, Unreadable};
use crate::by_hand::ActId;
use crate::operation::{Corrupt, Entry, Operation};
use crate::view::View;

/// What the store held when this process became the leader.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The newest spec.
    pub applied: Option<Applied>,
    /// The same if it cannot be read.
    pub unreadable: Option<Unreadable>,
    /// Remembered activity.
    pub activity: BTreeMap<ServiceName, NodeName>,
    /// Why nothing is remembered of services of which something was.
    pub forgotten: BTreeMap<ServiceName, String>,
    /// Verified plugs.
    pub verified: BTreeMap<NodeName, Verified>,
    /// Of what nothing moves by itself for a time.
    pub maintenance: Vec<Maintenance>,
    /// When roles moved by themselves.
    pub counted: BTreeMap<ServiceName, Vec<Timestamp>>,
    /// Of what nothing moves by itself before a person says so.
    pub blocks: Vec<Block>,
    /// What may run, and the spec has no more.
    pub strays: Vec<Stray>,
    /// The names by which nobody has been heard since a generation of the spec brought them.
    pub newcomers: BTreeMap<NodeName, Generation>,
    /// The acts by hand that there is, or was, an event of.
    pub acts: BTreeMap<NodeName, Vec<ActId>>,
    /// Operations that are not over.
    pub operations: Vec<LoadedOperation>,
    /// The highest operation ever started, or remembered by an agent that was ahead of the store.
    pub last_operation: OperationId,
    /// The number of the last event.
    pub last_event: u64,
    /// What events have told of how things are.
    pub told: Told,
}

/// An operation that was under way.
#[derive(Debug)]
pub struct LoadedOperation {
    /// Its head.
    pub head: Head,
    /// Its plan.
    pub plan: SealedPlan,
    /// Its journal.
    pub entries: Vec<Entry>,
    /// How many batches the journal has.
    pub batches: u64,
}

impl Coordinator {
    /// The coordinator of a new term, as the store left it.
    ///
    /// # Errors
    /// If a journal does not belong to its plan.
    pub fn recover(term: Term, loaded: Loaded) -> Result<Self, Corrupt> {
        let mut operations = BTreeMap::new();
        let mut batches = BTreeMap::new();
        for LoadedOperation {
            head,
            plan,
            entries,
            batches: count,
        } in loaded.operations
        {
            operations.insert(
                head.id,
                Operation::replay(head.id, Arc::new(plan), entries)?,
            );
            batches.insert(head.id, count);
        }
        let holds = operations
            .iter()
            .map(|(id, operation)| (*id, Hold::of(operation)))
            .collect();
        let mut coordinator = Self {
            term,
            applied: None,
            unreadable: loaded.unreadable,
            assignments: BTreeMap::new(),
            view: View::default(),
            operations,
            holds,
            untold: std::collections::BTreeSet::new(),
            batches,
            turned: std::collections::BTreeSet::new(),
            next_operation: loaded.last_operation.next(),
            activity: loaded.activity,
            forgotten: loaded.forgotten,
            trails: BTreeMap::new(),
            verified: loaded.verified,
            acts: loaded.acts,
            next_event: loaded.last_event + 1,
            askings: super::asking::Askings::default(),
            doubts: BTreeMap::new(),
            lists: BTreeMap::new(),
            last_ask: before_first_ask(term),
            turned_away: BTreeMap::new(),
            voices: BTreeMap::new(),
            strays: loaded.strays.into_iter().collect(),
            newcomers: loaded.newcomers,
            failovers: BTreeMap::new(),
            maintenance: loaded
                .maintenance
                .into_iter()
                .map(|it| (it.scope.clone(), it))
                .collect(),
            counted: loaded.counted,
            prepared: BTreeMap::new(),
            blocks: loaded
                .blocks
                .into_iter()
                .map(|it| (it.of.clone(), it))
                .collect(),
            observers: BTreeMap::new(),
            fencings: BTreeMap::new(),
            comparisons: super::files::Questions::default(),
            trying: BTreeMap::new(),
            looked: super::frozen::Looked::default(),
            told: loaded.told,
            output: Output::default(),
        };
        if let Some(applied) = loaded.applied {
            coordinator.set_applied(applied);
        }
        Ok(coordinator)
    }
}

/// What the numbers of the questions of a coordinator come after: its term is in them, and a term belongs to one coordinator process.
const fn before_first_ask(term: Term) -> u64 {
    term.0 << u32::BITS
}
