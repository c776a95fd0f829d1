//! A node to try the ledger on: a disk that keeps what is committed, a clock, and short ways to speak.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::{Command, Part};
use interlock_model::attempt::AttemptReport;
use interlock_model::ids::{AttemptId, AttemptNo, BootId, OperationId, Term};
use interlock_model::plan::StepId;
use interlock_model::time::{Now, Timestamp};

use super::*;
use crate::agent::Peer;

pub(super) const ONE: Peer = Peer(1);

/// A ledger on a disk that keeps what is committed.
pub(super) struct Node {
    pub(super) ledger: Ledger,
    pub(super) disk: BTreeMap<Slot, Record>,
    pub(super) clock: u64,
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            ledger: Ledger::restore(BootId("b1".into()), []),
            disk: BTreeMap::new(),
            clock: 0,
        }
    }

    pub(super) fn now(&mut self) -> Now {
        self.clock += 1;
        Now {
            mono: Duration::from_secs(self.clock),
            wall: Timestamp(self.clock * 1000),
        }
    }

    /// Commits at once; returns everything else.
    pub(super) fn settle(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut out = Vec::new();
        for effect in effects {
            match effect {
                Effect::Commit { batch, writes } => {
                    for write in writes {
                        match write {
                            Write::Put(record) => drop(self.disk.insert(record.slot(), record)),
                            Write::Remove(slot) => drop(self.disk.remove(&slot)),
                        }
                    }
                    let released = self.ledger.committed(batch);
                    out.extend(self.settle(released));
                }
                other => out.push(other),
            }
        }
        out
    }

    pub(super) fn tell(&mut self, event: Event) -> Vec<Effect> {
        let now = self.now();
        let effects = self.ledger.handle(event, now);
        self.settle(effects)
    }

    /// The one answer to an event.
    pub(super) fn ask(&mut self, event: Event) -> AttemptReport {
        let effects = self.tell(event);
        let mut reports = effects.into_iter().filter_map(|effect| match effect {
            Effect::Reply { report, .. } => Some(report),
            _ => None,
        });
        let report = reports.next().expect("an answer");
        assert_eq!(reports.next(), None);
        report
    }

    pub(super) fn greeting(&mut self) -> Greeting {
        match self.tell(Event::Greet(ONE)).as_slice() {
            [Effect::Greet { greeting, .. }] => greeting.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn restart(&mut self) {
        self.ledger = Ledger::restore(BootId("b1".into()), self.disk.values().cloned());
    }
}

pub(super) fn id(operation: u64, step: &str, attempt: u64) -> AttemptId {
    AttemptId {
        operation: OperationId(operation),
        step: StepId::new(step),
        attempt: AttemptNo(attempt),
    }
}

pub(super) fn parts() -> Vec<Part> {
    vec![Part::Process {
        name: "web".parse().unwrap(),
    }]
}

pub(super) fn start() -> Command {
    Command::Start {
        service: "web".parse().unwrap(),
        parts: parts(),
    }
}

pub(super) fn stop() -> Command {
    Command::Stop {
        service: "web".parse().unwrap(),
        parts: parts(),
    }
}

pub(super) fn ask(term: u64, id: AttemptId) -> Ask {
    Ask {
        from: ONE,
        term: Term(term),
        id,
    }
}

pub(super) fn dispatch(term: u64, id: AttemptId, command: Command) -> Event {
    Event::Dispatch {
        ask: ask(term, id),
        command,
        limit: Duration::from_secs(30),
        permit: Permit::Granted,
    }
}

pub(super) fn finished(id: AttemptId) -> Event {
    Event::Finished {
        id,
        outcome: Outcome::done("running since 12:00"),
    }
}

pub(super) fn executes(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Execute { .. }))
        .count()
}
