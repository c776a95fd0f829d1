//! The ledger: an agent's memory of attempts, and its right to say no.
//!
//! # Terms
//! An **entry** is what is remembered of one attempt. An attempt is **open** from its acceptance to its outcome. The
//! **closed mark** is an operation number: everything below it is over, and decides nothing any more. What came of it is
//! **history**, for people; only the newest [`MAX_HISTORY`] entries of it are kept. A **refusal** is remembered
//! apart from entries, for people; only the newest [`MAX_REFUSALS`] are.
//!
//! # Rules
//! * **An older term commands nothing** (invariant I7). The highest term is durable before anything is answered.
//! * **Intent before action, outcome before report** (I3). An attempt is executed only after its entry is durable; its
//!   outcome is told only after that is durable, and never changes from then on.
//! * **Once** (I4). An attempt that is asked for again is answered from memory.
//! * **A query closes** (safety rule X1). Who asks for an attempt that was never seen may rely on the answer: the
//!   attempt is refused from then on, even if an earlier leader's message still arrives. Attempt *n* closes all lower
//!   ones of its step.
//! * **Forgetting is safe** (X3). Entries go only below the closed mark, which is durable, and what is below is refused,
//!   whether it is still in the history or not.
//! * **One at a time.** While an attempt on an instance is open, another one on it is refused, with the reason.
//! * **Wanted goes with acceptance.** What an instance should be changes in the same commit that accepts the attempt.
//!
//! # Effects are ordered
//! ```text
//!  event ─► Commit(batch) ······ Committed(batch) ─► Reply, Execute, Kill
//! ```
//! Whatever follows a [`Effect::Commit`] is withheld until [`Ledger::committed`] says that the batch is durable. As long
//! as one batch is not, later effects wait behind it, so nobody is told of a state that a crash could take back. A disk
//! that refuses a batch is [`Ledger::refused_by_disk`]: what was only promised is taken back, the rest waits.

mod acts;
mod entry;
mod event;
mod outbox;
mod record;
mod refusal;
mod rules;
mod setback;
mod trust;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use interlock_model::attempt::AttemptState;
use interlock_model::ids::{AttemptId, BootId, OperationId, Term};
use interlock_model::names::ServiceName;
use interlock_model::observation::Wanted;
use interlock_model::time::Now;

pub use entry::{Entry, Origin, Target};
pub use event::{Ask, ByHand, Effect, Event, Greeting, Obstacle, Outcome, Permit, Recipient};
pub use record::{Record, Slot, Write};
pub use refusal::{MAX_REFUSALS, Refusal};
pub use setback::Setback;
pub use trust::Trust;

use super::guard::Memory;
use outbox::{Effects, Outbox};
use refusal::Refusals;

/// The most entries that are remembered. A coordinator closes operations long before; an agent that is never told so
/// refuses instead of filling its disk.
pub const MAX_ENTRIES: usize = 4096;

/// The most entries of closed operations that are kept for people: as many as `ListAttempts` tells at once.
pub const MAX_HISTORY: usize = 512;

/// The most acts by hand that are remembered.
pub const MAX_BY_HAND: usize = 256;

/// Acts by hand belong to no operation: operations are counted from 1, and the closed mark begins there.
pub const BY_HAND: OperationId = OperationId(0);

/// The ledger of one agent in one boot of its machine.
#[derive(Debug)]
pub struct Ledger {
    boot: BootId,
    term: Term,
    incarnation: Option<String>,
    highest_operation: OperationId,
    closed_below: OperationId,
    /// Boxed, like the history: nearly always there are few, and a map makes room for eleven.
    entries: BTreeMap<AttemptId, Box<Entry>>,
    /// What came of attempts below the closed mark.
    history: BTreeMap<AttemptId, Box<Entry>>,
    wanted: BTreeMap<ServiceName, Wanted>,
    refusals: Refusals,
    /// What guards have to remember in this boot.
    guards: BTreeMap<ServiceName, Memory>,
    /// What guards may keep running.
    trusted: BTreeMap<ServiceName, Trust>,
    /// Why the disk takes nothing, since it has refused a batch.
    ailing: Option<String>,
    outbox: Outbox,
}

impl Ledger {
    /// A ledger with what its records say, in any order; none for a new agent.
    #[must_use]
    pub fn restore(boot: BootId, records: impl IntoIterator<Item = Record>) -> Self {
        let mut ledger = Self {
            boot,
            term: Term(0),
            incarnation: None,
            highest_operation: OperationId(0),
            closed_below: OperationId(1),
            entries: BTreeMap::new(),
            history: BTreeMap::new(),
            wanted: BTreeMap::new(),
            refusals: Refusals::default(),
            guards: BTreeMap::new(),
            trusted: BTreeMap::new(),
            ailing: None,
            outbox: Outbox::default(),
        };
        for record in records {
            match record {
                Record::Term(term) => ledger.term = term,
                Record::Incarnation(incarnation) => ledger.incarnation = Some(incarnation),
                Record::HighestOperation(operation) => ledger.highest_operation = operation,
                Record::ClosedBelow(below) => ledger.closed_below = below,
                Record::Entry(entry) => {
                    ledger.entries.insert(entry.id.clone(), entry);
                }
                Record::Wanted { service, wanted } => {
                    ledger.wanted.insert(service, wanted);
                }
                Record::Refusal(refusal) => ledger.refusals.restore(refusal),
                // The clock of an earlier boot says nothing in this one.
                Record::Guard {
                    service,
                    boot,
                    memory,
                } if boot == ledger.boot => drop(ledger.guards.insert(service, memory)),
                Record::Guard { .. } => {}
                Record::Trust { service, trust } => drop(ledger.trusted.insert(service, trust)),
            }
        }
        let closed = ledger.closed_below;
        let over = |id: &AttemptId, entry: &mut Box<Entry>| {
            id.operation != BY_HAND && id.operation < closed && !entry.is_open()
        };
        ledger.history = ledger.entries.extract_if(.., over).collect();
        ledger
    }

    /// Takes an event; returns what to do now. What depends on a commit comes out of [`Ledger::committed`].
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Effects::default();
        match event {
            Event::Heard { term, incarnation } => self.heard(term, incarnation, &mut effects),
            Event::Dispatch {
                ask,
                command,
                limit,
                permit,
            } => {
                self.dispatch(&ask, &command, limit, permit, now, &mut effects);
            }
            Event::Query(ask) => self.query(&ask, now, &mut effects),
            Event::Cancel(ask) => self.cancel(&ask, now, &mut effects),
            Event::CloseOperations { term, below } => self.close(term, below, &mut effects),
            Event::GoingDown { id, evidence } => {
                self.move_on(
                    &id,
                    AttemptState::GoingDown,
                    evidence,
                    false,
                    now,
                    &mut effects,
                );
            }
            Event::Finished { id, outcome } => self.finish(&id, outcome, now, &mut effects),
            Event::Guarded { service, memory } => self.guarded(service, memory, &mut effects),
            Event::Greet(to) => {
                effects.greet(to, self.greeting());
                self.release_if_ailing(&mut effects);
            }
        }
        self.outbox.send(effects)
    }

    /// Accepts an act of a person on this node. The effects are those of [`Ledger::handle`].
    ///
    /// # Errors
    /// [`Obstacle`] if the allow-list does not permit it or an attempt is open on the instance. That is remembered
    /// like any refusal: the effects are to be carried out in either case.
    pub fn by_hand(&mut self, act: ByHand, now: Now) -> (Result<AttemptId, Obstacle>, Vec<Effect>) {
        let mut effects = Effects::default();
        let outcome = self.accept_by_hand(act, now, &mut effects);
        (outcome, self.outbox.send(effects))
    }

    /// A batch is durable: returns what was withheld for it.
    pub fn committed(&mut self, batch: u64) -> Vec<Effect> {
        self.ailing = None;
        self.outbox.committed(batch)
    }

    /// How many batches are not known to be durable yet. Who feeds the ledger should wait while there are many.
    #[must_use]
    pub fn uncommitted(&self) -> usize {
        self.outbox.waiting()
    }

    /// The highest term ever obeyed.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The store that the highest term came from; none if never heard.
    #[must_use]
    pub fn incarnation(&self) -> Option<&str> {
        self.incarnation.as_deref()
    }

    /// The highest operation ever seen.
    #[must_use]
    pub fn highest_operation(&self) -> OperationId {
        self.highest_operation
    }

    /// The closed mark.
    #[must_use]
    pub fn closed_below(&self) -> OperationId {
        self.closed_below
    }

    /// What an instance should be; none if no operation has ever said so.
    #[must_use]
    pub fn wanted(&self, service: &ServiceName) -> Option<Wanted> {
        self.wanted.get(service).copied()
    }

    /// What the guard of an instance has to remember; nothing in a new boot.
    #[must_use]
    pub fn guard(&self, service: &ServiceName) -> Memory {
        self.guards.get(service).cloned().unwrap_or_default()
    }

    /// What is remembered of an attempt that is not below the closed mark.
    #[must_use]
    pub fn entry(&self, id: &AttemptId) -> Option<&Entry> {
        self.entries.get(id).map(Box::as_ref)
    }

    /// All entries: the history, then acts by hand, then by operation, step and attempt.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        let all = self.history.values().chain(self.entries.values());
        all.map(Box::as_ref)
    }

    /// The refusals that are still remembered, oldest first.
    pub fn refusals(&self) -> impl DoubleEndedIterator<Item = &Refusal> {
        self.refusals.iter()
    }

    /// The attempt that is open on an instance.
    #[must_use]
    pub fn open_on_instance(&self, service: &ServiceName) -> Option<&Entry> {
        self.open_on(&Target::Instance(service.clone()))
    }

    /// Attempts that were accepted and have no outcome. Right after [`Ledger::restore`] these are the ones that the
    /// previous process left: for each the program finds out what became of it and says so with [`Event::Finished`];
    /// one that is still going on stays open.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.values().map(Box::as_ref);
        entries.filter(|entry| !entry.state.is_final())
    }
}
