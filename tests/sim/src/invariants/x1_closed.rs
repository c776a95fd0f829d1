//! X1: a question about an attempt carries the term, which is durable before it is answered, and closes the attempt; so
//! does a later attempt of the same step.
//!
//! Who hears *never seen* goes on as if the attempt had never been made. It must not begin after that, however late the
//! message arrives that asks for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use interlock_engine::agent::ledger::Record;
use interlock_model::attempt::AttemptState;
use interlock_model::ids::{AttemptId, AttemptNo, OperationId, Term};
use interlock_model::names::NodeName;
use interlock_model::plan::StepId;

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

/// What each agent was asked, has answered, and has made durable.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    terms: BTreeMap<NodeName, Term>,
    /// The terms of the questions about an attempt that are not answered yet, in their order.
    asked: BTreeMap<(NodeName, AttemptId), VecDeque<Term>>,
    never_seen: BTreeSet<(NodeName, AttemptId)>,
    /// The latest attempt of each step that is in a ledger.
    latest: BTreeMap<(NodeName, OperationId, StepId), AttemptNo>,
}

impl Invariant for Closed {
    fn number(&self) -> Number {
        Number::X1
    }

    fn see(&mut self, fact: &Fact<'_>, _: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Asked { node, id, term } => {
                let key = ((*node).clone(), (*id).clone());
                self.asked.entry(key).or_default().push_back(*term);
                Ok(())
            }
            Fact::Recorded { node, records, .. } => {
                for record in *records {
                    self.recorded(node, record);
                }
                Ok(())
            }
            Fact::Reported { node, report } if report.state == AttemptState::NeverSeen => {
                let key = ((*node).clone(), report.id.clone());
                let asked = self.asked.get_mut(&key).and_then(VecDeque::pop_front);
                let durable = self.terms.get(*node).copied().unwrap_or_default();
                self.never_seen.insert(key);
                match asked {
                    Some(term) if durable < term => Err(format!(
                        "{node} answered for {} in term {term}, and term {durable} is durable",
                        report.id
                    )),
                    _ => Ok(()),
                }
            }
            Fact::Began { node, id, .. } => self.began(node, id),
            _ => Ok(()),
        }
    }
}

impl Closed {
    fn recorded(&mut self, node: &NodeName, record: &Record) {
        match record {
            Record::Term(term) => drop(self.terms.insert(node.clone(), *term)),
            Record::Entry(entry) => {
                let id = &entry.id;
                let key = (node.clone(), id.operation, id.step.clone());
                let latest = self.latest.entry(key).or_insert(id.attempt);
                *latest = id.attempt.max(*latest);
            }
            _ => {}
        }
    }

    fn began(&self, node: &NodeName, id: &AttemptId) -> Result<(), String> {
        if self.never_seen.contains(&(node.clone(), id.clone())) {
            return Err(format!(
                "{node} began {id} after it had said that it never saw it"
            ));
        }
        let key = (node.clone(), id.operation, id.step.clone());
        match self.latest.get(&key) {
            Some(latest) if *latest > id.attempt => Err(format!(
                "{node} began {id} after attempt {latest} of the same step"
            )),
            _ => Ok(()),
        }
    }
}
