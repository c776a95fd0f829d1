//! What the guard of an instance may keep running: what an operation has proven to run.
//!
//! *Wanted* is what an operation meant; it says *running* also while a start is under way, and after one that has failed
//! or was cancelled. Such a start leaves nothing in the guard's hands: the operation halts, and a person decides. The same
//! holds when the instance is made of something else by now: `spec apply` starts nothing.

use interlock_model::action::{Command, Part};
use interlock_model::attempt::AttemptState;
use interlock_model::ids::{AttemptId, BootId};
use interlock_model::names::ServiceName;
use serde::{Deserialize, Serialize};

use super::outbox::Effects;
use super::{BY_HAND, Entry, Ledger, Record, Slot};

/// What an operation has proven to run, until another attempt of an operation comes to anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// What the instance was made of.
    pub parts: Vec<Part>,
    /// The boot in which it was proven.
    pub boot: BootId,
}

impl Ledger {
    /// What an operation has proven to run of an instance; none if the last one has not.
    #[must_use]
    pub fn trust(&self, service: &ServiceName) -> Option<&Trust> {
        self.trusted.get(service)
    }

    /// An attempt has come to its end. Acts by hand say nothing of what should run.
    pub(super) fn entrust(&mut self, id: &AttemptId, effects: &mut Effects) {
        if id.operation == BY_HAND {
            return;
        }
        let Some((state, command)) = self.entry(id).and_then(ended) else {
            return;
        };
        match command {
            Command::Start { service, parts } | Command::Verify { service, parts }
                if state == AttemptState::Done =>
            {
                let trust = Trust {
                    parts: parts.clone(),
                    boot: self.boot.clone(),
                };
                self.trusted.insert(service.clone(), trust.clone());
                effects.put([Record::Trust { service, trust }]);
            }
            Command::Start { service, .. }
            | Command::Verify { service, .. }
            | Command::Stop { service, .. } => {
                if self.trusted.remove(&service).is_some() {
                    effects.remove(Slot::Trust(service));
                }
            }
            Command::Promote { .. }
            | Command::Drain { .. }
            | Command::Admit { .. }
            | Command::File { .. }
            | Command::Shutdown { .. }
            | Command::Reboot
            | Command::Fence { .. } => {}
        }
    }
}

fn ended(entry: &Entry) -> Option<(AttemptState, Command)> {
    Some((entry.state, entry.command.clone()?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, dispatch, id, start, stop};
    use super::super::{Event, Outcome};
    use super::*;

    fn end(node: &mut Node, number: u64, outcome: Outcome) {
        let id = id(1, "step", number);
        let now = node.now();
        let effects = node.ledger.handle(Event::Finished { id, outcome }, now);
        node.settle(effects);
    }

    fn done() -> Outcome {
        Outcome::Done {
            evidence: "running".into(),
        }
    }

    #[test]
    fn only_what_an_operation_has_proven_to_run_is_entrusted_also_after_a_restart() {
        let web: ServiceName = "web".parse().unwrap();
        let failed = Outcome::Failed {
            evidence: "no".into(),
        };
        let unknown = Outcome::Unknown {
            evidence: "perhaps".into(),
            repeatable: false,
        };
        let cases = [
            (start(), done(), true),
            (start(), failed.clone(), false),
            (start(), done(), true),
            (start(), unknown, false),
            (start(), done(), true),
            (stop(), failed, false),
            (start(), done(), true),
            (stop(), done(), false),
        ];
        let mut node = Node::new();
        for (number, (command, outcome, trusted)) in (1..).zip(cases) {
            let before = node.ledger.trust(&web).cloned();
            let event = dispatch(1, id(1, "step", number), command.clone());
            node.tell(event);
            assert_eq!(
                node.ledger.trust(&web),
                before.as_ref(),
                "nothing is proven yet"
            );
            end(&mut node, number, outcome.clone());
            let kept = Ledger::restore(BootId("b2".into()), node.disk.values().cloned());
            for ledger in [&node.ledger, &kept] {
                let trust = ledger.trust(&web);
                assert_eq!(trust.is_some(), trusted, "{command:?} {outcome:?}");
                assert!(trust.is_none_or(|trust| trust.boot == BootId("b1".into())));
            }
        }
    }
}
