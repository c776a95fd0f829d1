//! Random orders of messages, commits, crashes and ends, against what must hold in every one of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use interlock_model::action::{Command, Part};
use interlock_model::attempt::AttemptState;
use interlock_model::ids::{AttemptId, AttemptNo, BootId, OperationId, Term};
use interlock_model::plan::StepId;
use interlock_model::time::{Now, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::agent::Peer;

#[derive(Debug, Clone, Copy)]
enum Step {
    Dispatch {
        term: u64,
        id: (u64, u8, u64),
        service: u8,
        permitted: bool,
    },
    Query {
        term: u64,
        id: (u64, u8, u64),
    },
    Cancel {
        term: u64,
        id: (u64, u8, u64),
    },
    Close {
        term: u64,
        below: u64,
    },
    Greet,
    /// The oldest batch becomes durable.
    Commit,
    /// The disk refuses everything that is not durable.
    Refuse,
    /// An attempt that was begun goes down, or ends.
    GoingDown(prop::sample::Index),
    Finish(prop::sample::Index, u8),
    /// The agent dies; what is not durable is lost.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || (1_u64..4, 0_u8..3, 1_u64..4);
    let term = || 1_u64..5;
    let step = prop_oneof![
        6 => (term(), id(), 0_u8..2, prop::bool::weighted(0.9))
            .prop_map(|(term, id, service, permitted)| Step::Dispatch { term, id, service, permitted }),
        2 => (term(), id()).prop_map(|(term, id)| Step::Query { term, id }),
        2 => (term(), id()).prop_map(|(term, id)| Step::Cancel { term, id }),
        1 => (term(), 1_u64..5).prop_map(|(term, below)| Step::Close { term, below }),
        1 => Just(Step::Greet),
        8 => Just(Step::Commit),
        1 => Just(Step::Refuse),
        1 => any::<prop::sample::Index>().prop_map(Step::GoingDown),
        4 => (any::<prop::sample::Index>(), 0_u8..3).prop_map(|(which, how)| Step::Finish(which, how)),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

fn attempt((operation, step, attempt): (u64, u8, u64)) -> AttemptId {
    AttemptId {
        operation: OperationId(operation),
        step: StepId::new(&format!("s{step}")),
        attempt: AttemptNo(attempt),
    }
}

fn command(service: u8) -> Command {
    let name = format!("svc{service}");
    Command::Start {
        service: name.parse().unwrap(),
        parts: vec![Part::Process {
            name: name.parse().unwrap(),
        }],
    }
}

/// An agent with a disk, and an observer that remembers everything it was told.
struct World {
    ledger: Ledger,
    disk: BTreeMap<Slot, Record>,
    commits: VecDeque<(u64, Vec<Write>)>,
    clock: u64,
    running: BTreeMap<AttemptId, u8>,
    executed: BTreeSet<AttemptId>,
    closed: BTreeSet<AttemptId>,
    outcomes: BTreeMap<AttemptId, AttemptState>,
    highest_told: Term,
}

impl World {
    fn new() -> Self {
        Self {
            ledger: Ledger::restore(BootId("b".into()), []),
            disk: BTreeMap::new(),
            commits: VecDeque::new(),
            clock: 0,
            running: BTreeMap::new(),
            executed: BTreeSet::new(),
            closed: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            highest_told: Term(0),
        }
    }

    fn event(&mut self, event: Event) {
        self.clock += 1;
        let now = Now {
            mono: Duration::from_secs(self.clock),
            wall: Timestamp(self.clock),
        };
        let effects = self.ledger.handle(event, now);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit { batch, writes } => self.commits.push_back((batch, writes)),
                Effect::Execute { id, command, .. } => {
                    assert!(self.executed.insert(id.clone()), "{id} was executed twice");
                    assert!(
                        !self.closed.contains(&id),
                        "{id} runs although it was closed"
                    );
                    let entry = match self.disk.get(&Slot::Entry(id.clone())) {
                        Some(Record::Entry(entry)) => entry,
                        other => panic!("{id} runs before it is durable: {other:?}"),
                    };
                    assert!(
                        entry.term >= self.durable_term(),
                        "{id} runs for an older term"
                    );
                    let service = u8::from(
                        matches!(command, Command::Start { service, .. } if service.as_str() == "svc1"),
                    );
                    assert!(
                        self.running.values().all(|other| *other != service),
                        "two attempts on svc{service}"
                    );
                    self.running.insert(id, service);
                }
                Effect::Greet { greeting, .. } => greeting
                    .attempts
                    .into_iter()
                    .for_each(|report| self.told(report)),
                Effect::Kill(id) => assert!(
                    !self.outcomes.contains_key(&id),
                    "{id} is killed after its end"
                ),
                Effect::Reply { report, .. } => {
                    let durable_term = self.durable_term();
                    assert!(durable_term >= self.highest_told, "the term went back");
                    self.highest_told = durable_term;
                    self.told(report);
                }
            }
        }
    }

    fn durable_term(&self) -> Term {
        match self.disk.get(&Slot::Term) {
            Some(Record::Term(term)) => *term,
            _ => Term(0),
        }
    }

    fn told(&mut self, report: interlock_model::attempt::AttemptReport) {
        let id = report.id;
        match report.state {
            AttemptState::NeverSeen => {
                assert!(
                    !self.executed.contains(&id),
                    "{id} was executed and is said never to have been seen"
                );
                self.closed.insert(id);
            }
            AttemptState::Refused => {
                // Below the closed mark the past of the attempt is forgotten; only its future is known.
                let forgotten = id.operation < self.ledger.closed_below();
                assert!(
                    forgotten || !self.executed.contains(&id),
                    "{id} was executed and is said to be refused"
                );
            }
            AttemptState::Accepted | AttemptState::GoingDown => {
                assert!(!self.outcomes.contains_key(&id), "{id} is open again");
            }
            state @ (AttemptState::Done | AttemptState::Failed | AttemptState::Unknown) => {
                if id.operation < self.ledger.closed_below() {
                    return;
                }
                let first = *self.outcomes.entry(id.clone()).or_insert(state);
                assert_eq!(first, state, "the outcome of {id} changed");
            }
        }
    }

    fn commit(&mut self) {
        let Some((batch, writes)) = self.commits.pop_front() else {
            return;
        };
        for write in writes {
            match write {
                Write::Put(record) => drop(self.disk.insert(record.slot(), record)),
                Write::Remove(slot) => drop(self.disk.remove(&slot)),
            }
        }
        let released = self.ledger.committed(batch);
        self.take(released);
    }

    fn refuse(&mut self) {
        self.commits.clear();
        let now = Now {
            mono: Duration::from_secs(self.clock),
            wall: Timestamp(self.clock),
        };
        let setback = self.ledger.refused_by_disk("full", now);
        self.commits.push_back((setback.batch, setback.writes));
        self.take(setback.effects);
    }

    fn step(&mut self, step: Step) {
        let ask = |term, id| Ask {
            from: Peer(0),
            term: Term(term),
            id: attempt(id),
        };
        match step {
            Step::Dispatch {
                term,
                id,
                service,
                permitted,
            } => self.event(Event::Dispatch {
                ask: ask(term, id),
                command: command(service),
                limit: Duration::from_secs(9),
                permit: if permitted {
                    Permit::Granted
                } else {
                    Permit::Denied("no".into())
                },
            }),
            Step::Query { term, id } => self.event(Event::Query(ask(term, id))),
            Step::Cancel { term, id } => self.event(Event::Cancel(ask(term, id))),
            Step::Close { term, below } => {
                self.event(Event::CloseOperations {
                    term: Term(term),
                    below: OperationId(below),
                });
            }
            Step::Greet => self.event(Event::Greet(Peer(0))),
            Step::Commit => self.commit(),
            Step::Refuse => self.refuse(),
            Step::GoingDown(which) => {
                if let Some(id) = pick(&self.running, which) {
                    self.event(Event::GoingDown {
                        id,
                        evidence: String::new(),
                    });
                }
            }
            Step::Finish(which, how) => {
                let Some(id) = pick(&self.running, which) else {
                    return;
                };
                self.running.remove(&id);
                let outcome = match how {
                    0 => Outcome::done(""),
                    1 => Outcome::failed(""),
                    _ => Outcome::Unknown {
                        evidence: String::new(),
                        repeatable: true,
                    },
                };
                self.event(Event::Finished { id, outcome });
            }
            Step::Crash => self.crash(),
        }
    }

    /// What ran is adopted: those that have no durable outcome go on.
    fn crash(&mut self) {
        self.commits.clear();
        self.ledger = Ledger::restore(BootId("b".into()), self.disk.values().cloned());
        let open: Vec<Entry> = self.ledger.open().cloned().collect();
        self.running.clear();
        for entry in open {
            if self.executed.contains(&entry.id) {
                let second = matches!(&entry.command, Some(Command::Start { service, .. }) if service.as_str() == "svc1");
                self.running.insert(entry.id, u8::from(second));
            } else {
                // Durable, but never begun: the program finds nothing of it.
                self.executed.insert(entry.id.clone());
                let outcome = Outcome::Unknown {
                    evidence: "nothing found".into(),
                    repeatable: true,
                };
                self.event(Event::Finished {
                    id: entry.id,
                    outcome,
                });
            }
        }
    }
}

fn pick(from: &BTreeMap<AttemptId, u8>, which: prop::sample::Index) -> Option<AttemptId> {
    (!from.is_empty()).then(|| which.get(&from.keys().cloned().collect::<Vec<_>>()).clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn in_no_order_of_events_is_an_attempt_executed_twice_reopened_or_taken_back(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // Liveness: when everything is durable, nothing is withheld.
        while !world.commits.is_empty() {
            world.commit();
        }
        prop_assert_eq!(world.ledger.uncommitted(), 0);
    }

    #[test]
    fn a_restored_ledger_equals_the_one_that_wrote_it(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        while !world.commits.is_empty() {
            world.commit();
        }
        let restored = Ledger::restore(BootId("b".into()), world.disk.values().cloned());
        prop_assert_eq!(restored.term(), world.ledger.term());
        prop_assert_eq!(restored.closed_below(), world.ledger.closed_below());
        prop_assert_eq!(restored.highest_operation(), world.ledger.highest_operation());
        prop_assert_eq!(restored.entries().collect::<Vec<_>>(), world.ledger.entries().collect::<Vec<_>>());
        prop_assert_eq!(restored.refusals().collect::<Vec<_>>(), world.ledger.refusals().collect::<Vec<_>>());
    }
}
