//! What becomes of batches that the disk refuses: it is full, or it has become read-only.
//!
//! # Rules
//! * **What was only promised is taken back.** An attempt whose acceptance cannot be made durable has not been begun, and
//!   is refused, with the reason; what its instance should be is what it was.
//! * **What has happened stays.** Outcomes, terms, closed attempts remain in memory, go into the next batch, and whoever
//!   waits for them waits on.
//! * **Until a batch is durable again nothing is accepted**, and whoever asks hears why at once. Hellos, cancellations and
//!   such refusals do not wait for the disk: an agent that could not say hello would look dead, and its health matters
//!   most when its disk is full. A hello tells of each attempt what is durable, and of attempts that a query has closed
//!   nothing.
//!
//! That a refusal is told before it is durable is safe: only the coordinator that has journaled an attempt dispatches it,
//! in a stream that ends with this process. Whoever comes later asks first, and hears *refused*, or after a crash *never
//! seen*; both say that nothing was begun.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::AttemptId;
use interlock_model::names::ServiceName;
use interlock_model::observation::Wanted;
use interlock_model::time::Now;

use super::entry::describe;
use super::outbox::{Batch, Before, Effects};
use super::{BY_HAND, Effect, Entry, Greeting, Ledger, Obstacle, Recipient, Record, Slot, Write};

/// What is to be done after a setback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// The number of the batch that stands for all that were refused.
    pub batch: u64,
    /// What to make durable in place of everything that was not: nothing of the earlier batches may be written any more.
    pub writes: Vec<Write>,
    /// What to do at once.
    pub effects: Vec<Effect>,
}

impl Ledger {
    /// No batch after the last one that was reported as durable is so, or will be: the disk refuses, for this reason.
    pub fn refused_by_disk(&mut self, why: &str, now: Now) -> Setback {
        self.ailing = Some(why.to_owned());
        let batches = self.outbox.take_back();
        let mut writes = self.restore_wanted(&batches);
        let mut before = Before::default();
        let mut waiting = Vec::new();
        for batch in batches {
            for write in batch.writes {
                let slot = write.slot();
                // What was wanted is settled: only acceptances change it, and all of them are taken back.
                if !matches!(slot, Slot::Wanted(_)) {
                    writes.insert(slot, write);
                }
            }
            for (id, report) in batch.before.reports {
                before.reports.entry(id).or_insert(report);
            }
            waiting.extend(batch.then);
        }
        let promised: BTreeSet<AttemptId> = waiting
            .iter()
            .filter_map(|effect| match effect {
                Effect::Execute { id, .. } => Some(id.clone()),
                Effect::Commit { .. }
                | Effect::Reply { .. }
                | Effect::Greet { .. }
                | Effect::Kill(_) => None,
            })
            .collect();
        let mut effects = Vec::new();
        for id in &promised {
            let (report, records) = self.take_back(id, why, now);
            for write in records {
                writes.insert(write.slot(), write);
            }
            effects.push(Effect::Reply {
                to: Recipient::Everyone,
                report,
            });
        }
        let mut greeted = Vec::new();
        let mut then = Vec::new();
        for effect in waiting {
            match effect {
                Effect::Execute { .. } => {}
                Effect::Reply { ref report, .. } if promised.contains(&report.id) => {}
                Effect::Kill(ref id) if promised.contains(id) => {}
                Effect::Kill(_) => effects.push(effect),
                Effect::Greet { to, .. } => greeted.push(to),
                Effect::Reply { .. } | Effect::Commit { .. } => then.push(effect),
            }
        }
        let writes: Vec<Write> = writes.into_values().collect();
        let batch = self.outbox.withhold(writes.clone(), then, before);
        effects.extend(greeted.into_iter().map(|to| Effect::Greet {
            to,
            greeting: self.greeting(),
        }));
        Setback {
            batch,
            writes,
            effects,
        }
    }

    /// Why nothing can be accepted now, whatever is asked for.
    pub(super) fn ailment(&self) -> Option<Obstacle> {
        self.ailing.clone().map(Obstacle::NotDurable)
    }

    /// Releases what must not wait for a disk that refuses.
    pub(super) fn release_if_ailing(&self, effects: &mut Effects) {
        if self.ailing.is_some() {
            effects.at_once();
        }
    }

    /// What a hello tells. It waits for the disk like everything else, and is true by then; where it does not wait, it
    /// tells only what is durable.
    pub(super) fn greeting(&self) -> Greeting {
        let known = |entry: &&Entry| {
            let closed = entry.state == AttemptState::NeverSeen;
            let at_once = self.ailing.is_some();
            entry.id.operation != BY_HAND
                && !(at_once && closed && self.outbox.holds(&Slot::Entry(entry.id.clone())))
        };
        let report = |entry: &Entry| {
            let durable = self.outbox.durable_report(&entry.id);
            match durable.filter(|_| self.ailing.is_some()) {
                Some(durable) => durable.clone(),
                None => entry.report(),
            }
        };
        let entries = self.entries.values().map(Box::as_ref);
        Greeting {
            term: self.term,
            operation: self.highest_operation,
            closed_below: self.closed_below,
            incarnation: self.incarnation.clone(),
            attempts: entries.filter(known).map(report).collect(),
        }
    }

    /// What instances should be is again what is durable.
    fn restore_wanted(&mut self, batches: &[Batch]) -> BTreeMap<Slot, Write> {
        let mut durable: BTreeMap<ServiceName, Option<Wanted>> = BTreeMap::new();
        for batch in batches {
            if let Some((service, wanted)) = &batch.before.wanted {
                durable.entry(service.clone()).or_insert(*wanted);
            }
        }
        let mut writes = BTreeMap::new();
        for (service, wanted) in durable {
            let slot = Slot::Wanted(service.clone());
            let write = match wanted {
                Some(wanted) => {
                    self.wanted.insert(service.clone(), wanted);
                    Write::Put(Record::Wanted { service, wanted })
                }
                None => {
                    self.wanted.remove(&service);
                    Write::Remove(slot.clone())
                }
            };
            writes.insert(slot, write);
        }
        writes
    }

    /// Refuses an attempt whose acceptance is not durable.
    fn take_back(&mut self, id: &AttemptId, why: &str, now: Now) -> (AttemptReport, Vec<Write>) {
        let reason = Obstacle::NotDurable(why.to_owned()).to_string();
        let mut effects = Effects::default();
        let Some(entry) = self.entries.get_mut(id) else {
            let report = AttemptReport {
                id: id.clone(),
                state: AttemptState::Refused,
                evidence: reason,
                repeatable: false,
            };
            return (report, effects.into_writes());
        };
        entry.state = AttemptState::Refused;
        entry.evidence.clone_from(&reason);
        entry.at = now.wall;
        let what = entry.command.as_ref().map(describe).unwrap_or_default();
        effects.put([Record::Entry(entry.clone())]);
        let (report, term) = (entry.report(), entry.term);
        let change = self
            .refusals
            .push(now.wall, term, id.clone(), &what, &reason);
        effects.replace_refusal(change);
        self.retire_if_closed(id, &mut effects);
        (report, effects.into_writes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, ONE, ask, dispatch, finished, id, start, stop};
    use super::super::{Event, Greeting};
    use super::*;

    fn reports(effects: &[Effect]) -> Vec<(AttemptId, AttemptState)> {
        let report = |effect: &Effect| match effect {
            Effect::Reply { report, .. } => Some((report.id.clone(), report.state)),
            _ => None,
        };
        effects.iter().filter_map(report).collect()
    }

    fn greeting(effects: &[Effect]) -> &Greeting {
        let greeting = effects.iter().find_map(|effect| match effect {
            Effect::Greet { greeting, .. } => Some(greeting),
            _ => None,
        });
        greeting.unwrap_or_else(|| panic!("{effects:?}"))
    }

    impl Node {
        /// The event happens; nothing becomes durable.
        fn tell_only(&mut self, event: Event) -> Vec<Effect> {
            let now = self.now();
            self.ledger.handle(event, now)
        }

        fn disk_refuses(&mut self) -> Setback {
            let now = self.now();
            self.ledger.refused_by_disk("No space left on device", now)
        }

        /// There is room again.
        fn recover(&mut self, setback: &Setback) -> Vec<Effect> {
            let commit = Effect::Commit {
                batch: setback.batch,
                writes: setback.writes.clone(),
            };
            self.settle(vec![commit])
        }
    }

    #[test]
    fn an_attempt_that_cannot_be_remembered_is_refused_and_what_was_wanted_stays() {
        let mut node = Node::new();
        node.tell(dispatch(1, id(1, "up", 1), start()));
        node.tell(finished(id(1, "up", 1)));
        node.tell_only(dispatch(1, id(1, "down", 1), stop()));
        assert_eq!(
            node.ledger.wanted(&"web".parse().unwrap()),
            Some(Wanted::Stopped)
        );
        let setback = node.disk_refuses();
        let refused = id(1, "down", 1);
        assert_eq!(
            reports(&setback.effects),
            [(refused.clone(), AttemptState::Refused)]
        );
        assert_eq!(
            node.ledger.wanted(&"web".parse().unwrap()),
            Some(Wanted::Running)
        );
        // Further ones hear it at once, and the same one the same.
        let more = node.tell_only(dispatch(1, id(1, "down", 2), stop()));
        assert_eq!(
            reports(&more),
            [(id(1, "down", 2), AttemptState::Refused)],
            "{more:?}"
        );
        let again = node.disk_refuses();
        assert_eq!(reports(&again.effects), []);
        let released = node.recover(&again);
        assert!(
            !released
                .iter()
                .any(|effect| matches!(effect, Effect::Execute { .. })),
            "{released:?}"
        );
        node.restart();
        assert_eq!(
            node.ledger.wanted(&"web".parse().unwrap()),
            Some(Wanted::Running)
        );
        assert_eq!(node.ledger.open().count(), 0);
        assert!(
            node.ledger.refusals().any(|refusal| {
                refusal.id == refused && refusal.reason.contains("No space left")
            })
        );
        let accepted = node.ask(dispatch(1, id(1, "down", 3), stop()));
        assert_eq!(accepted.state, AttemptState::Accepted);
    }

    #[test]
    fn an_outcome_waits_for_room_and_a_hello_tells_what_is_durable() {
        let mut node = Node::new();
        node.tell(dispatch(1, id(1, "up", 1), start()));
        node.tell_only(finished(id(1, "up", 1)));
        node.tell_only(Event::Greet(ONE));
        let setback = node.disk_refuses();
        assert_eq!(reports(&setback.effects), []);
        let accepted = |greeting: &Greeting| {
            let states: Vec<AttemptState> = greeting.attempts.iter().map(|a| a.state).collect();
            states == [AttemptState::Accepted]
        };
        assert!(accepted(greeting(&setback.effects)), "the hello is said");
        let hello = node.tell_only(Event::Greet(ONE));
        assert!(accepted(greeting(&hello)), "{hello:?}");
        let released = node.recover(&setback);
        assert_eq!(
            reports(&released),
            [(id(1, "up", 1), AttemptState::Done)],
            "told when it is durable, and once"
        );
    }

    #[test]
    fn a_query_closes_only_what_is_durably_closed() {
        let mut node = Node::new();
        let asked = node.tell_only(Event::Query(ask(1, id(1, "up", 1))));
        assert_eq!(reports(&asked), []);
        let setback = node.disk_refuses();
        assert_eq!(reports(&setback.effects), []);
        let hello = node.tell_only(Event::Greet(ONE));
        assert_eq!(greeting(&hello).attempts, []);
        let released = node.recover(&setback);
        assert_eq!(
            reports(&released),
            [(id(1, "up", 1), AttemptState::NeverSeen)]
        );
    }

    #[test]
    fn what_runs_can_be_cancelled_while_the_disk_is_full() {
        let mut node = Node::new();
        node.tell(dispatch(1, id(1, "up", 1), start()));
        node.tell_only(Event::Heard {
            term: interlock_model::ids::Term(2),
            incarnation: None,
        });
        node.disk_refuses();
        let effects = node.tell_only(Event::Cancel(ask(2, id(1, "up", 1))));
        assert_eq!(effects, [Effect::Kill(id(1, "up", 1))]);
    }
}
