//! What coordinators are told of acts by hand.

use interlock_model::attempt::AttemptState;

use super::entry::describe;
use super::{BY_HAND, Entry, Ledger, Origin, Slot, Target};
use crate::by_hand::{Act, ActId};

impl Entry {
    /// What coordinators are told of it, if it is an act by hand that was begun and is over.
    #[must_use]
    pub fn act(&self) -> Option<Act> {
        let Origin::Hand { who, why } = &self.origin else {
            return None;
        };
        if self.is_open() || self.state == AttemptState::Refused {
            return None;
        }
        let command = self.command.as_ref()?;
        let service = match Target::of(command) {
            Target::Instance(service) => Some(service),
            Target::Role(_)
            | Target::Member { .. }
            | Target::File(_)
            | Target::Machine
            | Target::Power(_) => None,
        };
        Some(Act {
            id: ActId {
                number: self.id.attempt.0,
                begun: self.accepted,
            },
            who: who.clone(),
            why: why.clone(),
            what: describe(command),
            service,
            state: self.state,
            evidence: self.evidence.clone(),
        })
    }
}

impl Ledger {
    /// The acts by hand that are over, as far as that is durable: at most
    /// [`MAX_BY_HAND`](super::MAX_BY_HAND), the newest.
    pub fn acts_by_hand(&self) -> impl Iterator<Item = Act> {
        self.entries
            .values()
            .filter(|entry| entry.id.operation == BY_HAND)
            .filter(|entry| !self.outbox.holds(&Slot::Entry(entry.id.clone())))
            .filter_map(|entry| entry.act())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Node, finished, stop};
    use super::super::{ByHand, Event, Permit};
    use super::*;

    fn act() -> ByHand {
        ByHand {
            who: "operator anna".into(),
            why: "disk replaced".into(),
            command: stop(),
            limit: Duration::from_secs(30),
            permit: Permit::Granted,
        }
    }

    fn told(node: &Node) -> Vec<(u64, String)> {
        let line = |act: Act| {
            (
                act.id.number,
                format!("{} {} {} {:?}", act.who, act.why, act.what, act.state),
            )
        };
        node.ledger.acts_by_hand().map(line).collect()
    }

    #[test]
    fn an_act_is_told_when_it_is_over_and_that_is_durable_and_again_after_a_restart() {
        let mut node = Node::new();
        let now = node.now();
        let (id, effects) = node.ledger.by_hand(act(), now);
        node.settle(effects);
        assert_eq!(told(&node), [], "it is not over");
        let now = node.now();
        let commit = node.ledger.handle(finished(id.expect("it may begin")), now);
        assert_eq!(told(&node), [], "a crash could take it back");
        node.settle(commit);
        let line = "operator anna disk replaced stop web Done";
        assert_eq!(told(&node), [(1, line.to_owned())]);
        node.restart();
        assert_eq!(told(&node), [(1, line.to_owned())]);
    }

    #[test]
    fn what_was_refused_is_no_act() {
        let mut node = Node::new();
        let now = node.now();
        let denied = ByHand {
            permit: Permit::Denied("exclusive".into()),
            ..act()
        };
        let (_, effects) = node.ledger.by_hand(denied, now);
        node.settle(effects);
        let (_, _never_durable) = node.ledger.by_hand(act(), now);
        let setback = node.ledger.refused_by_disk("No space left on device", now);
        let commit = super::super::Effect::Commit {
            batch: setback.batch,
            writes: setback.writes,
        };
        node.settle(vec![commit]);
        assert_eq!(told(&node), []);
    }

    #[test]
    fn two_ledgers_of_one_node_count_alike_and_their_acts_are_told_apart() {
        let mut ids = Vec::new();
        let mut clock = 0;
        for _ in 0..2 {
            let mut node = Node::new();
            node.clock = clock + 10;
            let now = node.now();
            let (id, effects) = node.ledger.by_hand(act(), now);
            node.settle(effects);
            node.tell(finished(id.expect("it may begin")));
            ids.extend(node.ledger.acts_by_hand().map(|act| act.id));
            clock = node.clock;
        }
        assert_eq!([ids[0].number, ids[1].number], [1, 1]);
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn an_attempt_of_an_operation_is_no_act() {
        let mut node = Node::new();
        let id = super::super::testing::id(1, "stop:web@web1", 1);
        node.tell(super::super::testing::dispatch(1, id.clone(), stop()));
        node.tell(Event::Finished {
            id,
            outcome: super::super::Outcome::done("down"),
        });
        assert_eq!(told(&node), []);
    }
}
