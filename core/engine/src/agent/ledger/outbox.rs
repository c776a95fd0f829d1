//! Effects that wait for what they depend on to be durable.

use std::collections::VecDeque;

use interlock_model::action::Command;
use interlock_model::attempt::AttemptReport;
use interlock_model::ids::AttemptId;

use super::refusal::Change;
use super::{Effect, Entry, Greeting, Recipient, Record, Slot, Write};
use crate::agent::Peer;

/// What one event leads to: writes, and what may happen when they are durable.
#[derive(Debug, Default)]
pub(super) struct Effects {
    writes: Vec<Write>,
    then: Vec<Effect>,
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

    pub(super) fn reply(&mut self, to: Peer, report: AttemptReport) {
        self.then.push(Effect::Reply {
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
}

/// Effects in the order of their events; none leaves before every earlier batch is durable.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    last_batch: u64,
    /// Per batch that is not durable yet, what waits for it.
    withheld: VecDeque<(u64, Vec<Effect>)>,
}

impl Outbox {
    /// Takes the effects of one event; returns what can be done at once.
    pub(super) fn send(&mut self, effects: Effects) -> Vec<Effect> {
        let Effects { writes, then } = effects;
        if writes.is_empty() {
            return match self.withheld.back_mut() {
                // They may speak of what is not durable yet.
                Some((_, waiting)) => {
                    waiting.extend(then);
                    Vec::new()
                }
                None => then,
            };
        }
        self.last_batch += 1;
        self.withheld.push_back((self.last_batch, then));
        vec![Effect::Commit {
            batch: self.last_batch,
            writes,
        }]
    }

    /// Everything up to this batch is durable.
    pub(super) fn committed(&mut self, batch: u64) -> Vec<Effect> {
        let mut released = Vec::new();
        while self
            .withheld
            .front()
            .is_some_and(|(number, _)| *number <= batch)
        {
            released.extend(
                self.withheld
                    .pop_front()
                    .into_iter()
                    .flat_map(|(_, effects)| effects),
            );
        }
        released
    }

    pub(super) fn waiting(&self) -> usize {
        self.withheld.len()
    }
}
