//! Effects that wait for what they depend on to be durable.

use std::collections::{BTreeMap, VecDeque};

use interlock_model::action::Command;
use interlock_model::attempt::AttemptReport;
use interlock_model::ids::AttemptId;
use interlock_model::names::ServiceName;
use interlock_model::observation::Wanted;

use super::refusal::Change;
use super::{Effect, Entry, Greeting, Recipient, Record, Slot, Write};
use crate::agent::Peer;

/// What one event leads to: writes, what may happen when they are durable, and what need not wait for that.
#[derive(Debug, Default)]
pub(super) struct Effects {
    writes: Vec<Write>,
    then: Vec<Effect>,
    now: Vec<Effect>,
    before: Before,
}

/// What held before the writes of a batch: it still holds on disk as long as they are not durable.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// What an instance should have been, if that changes.
    pub(super) wanted: Option<(ServiceName, Option<Wanted>)>,
    /// How far attempts were that have moved on.
    pub(super) reports: BTreeMap<AttemptId, AttemptReport>,
}

impl Effects {
    pub(super) fn put(&mut self, records: impl IntoIterator<Item = Record>) {
        self.writes.extend(records.into_iter().map(Write::Put));
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.writes.push(Write::Remove(slot));
    }

    pub(super) fn replace_refusal(&mut self, change: Change) {
        if let Some(number) = change.dropped {
            self.remove(Slot::Refusal(number));
        }
        self.put([Record::Refusal(change.new)]);
    }

    /// An instance was to be something else until now.
    pub(super) fn wanted_before(&mut self, service: ServiceName, wanted: Option<Wanted>) {
        self.before.wanted = Some((service, wanted));
    }

    /// An attempt was this far until now.
    pub(super) fn report_before(&mut self, report: AttemptReport) {
        self.before.reports.insert(report.id.clone(), report);
    }

    pub(super) fn reply(&mut self, to: Peer, report: AttemptReport) {
        self.then.push(Effect::Reply {
            to: Recipient::Asker(to),
            report,
        });
    }

    /// The same without waiting for the disk.
    pub(super) fn reply_at_once(&mut self, to: Peer, report: AttemptReport) {
        self.now.push(Effect::Reply {
            to: Recipient::Asker(to),
            report,
        });
    }

    pub(super) fn tell(&mut self, report: AttemptReport) {
        self.then.push(Effect::Reply {
            to: Recipient::Everyone,
            report,
        });
    }

    pub(super) fn greet(&mut self, to: Peer, greeting: Greeting) {
        self.then.push(Effect::Greet { to, greeting });
    }

    pub(super) fn execute(&mut self, entry: &Entry, command: &Command) {
        self.then.push(Effect::Execute {
            id: entry.id.clone(),
            command: command.clone(),
            accepted: entry.accepted_mono,
            limit: entry.limit,
        });
    }

    pub(super) fn kill(&mut self, id: AttemptId) {
        self.then.push(Effect::Kill(id));
    }

    pub(super) fn into_writes(self) -> Vec<Write> {
        self.writes
    }

    /// Nothing of this waits for the disk.
    pub(super) fn at_once(&mut self) {
        self.now.append(&mut self.then);
    }
}

/// Writes that are not known to be durable, and what waits for them.
#[derive(Debug)]
pub(super) struct Batch {
    number: u64,
    pub(super) writes: Vec<Write>,
    pub(super) then: Vec<Effect>,
    pub(super) before: Before,
}

/// Effects in the order of their events; none leaves before every earlier batch is durable.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    last_batch: u64,
    withheld: VecDeque<Batch>,
}

impl Outbox {
    /// Takes the effects of one event; returns what can be done at once.
    pub(super) fn send(&mut self, effects: Effects) -> Vec<Effect> {
        let Effects {
            writes,
            then,
            now,
            before,
        } = effects;
        let mut out = now;
        if writes.is_empty() {
            match self.withheld.back_mut() {
                // They may speak of what is not durable yet.
                Some(batch) => batch.then.extend(then),
                None => out.extend(then),
            }
            return out;
        }
        let batch = self.withhold(writes.clone(), then, before);
        out.push(Effect::Commit { batch, writes });
        out
    }

    /// Everything up to this batch is durable.
    pub(super) fn committed(&mut self, batch: u64) -> Vec<Effect> {
        let mut released = Vec::new();
        while self
            .withheld
            .front()
            .is_some_and(|withheld| withheld.number <= batch)
        {
            released.extend(
                self.withheld
                    .pop_front()
                    .into_iter()
                    .flat_map(|batch| batch.then),
            );
        }
        released
    }

    pub(super) fn waiting(&self) -> usize {
        self.withheld.len()
    }

    /// Takes back every batch that is not known to be durable, oldest first.
    pub(super) fn take_back(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.withheld).into()
    }

    /// Withholds these effects until these writes are durable; returns the number of their batch.
    pub(super) fn withhold(
        &mut self,
        writes: Vec<Write>,
        then: Vec<Effect>,
        before: Before,
    ) -> u64 {
        self.last_batch += 1;
        let number = self.last_batch;
        self.withheld.push_back(Batch {
            number,
            writes,
            then,
            before,
        });
        number
    }

    /// How far an attempt is as far as that is durable; none if its last state is.
    pub(super) fn durable_report(&self, id: &AttemptId) -> Option<&AttemptReport> {
        self.withheld
            .iter()
            .find_map(|batch| batch.before.reports.get(id))
    }

    /// Is something of this slot not durable?
    pub(super) fn holds(&self, slot: &Slot) -> bool {
        let mut writes = self.withheld.iter().flat_map(|batch| &batch.writes);
        writes.any(|write| write.slot() == *slot)
    }
}
