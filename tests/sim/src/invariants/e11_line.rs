//! E11: a term belongs to one coordinator process, and what an agent did for another line of the store is not taken for
//! done in this one.
//!
//! A store that was restored from a backup counts again what agents have counted already. They refuse what they know as
//! older, and answer from memory what they know as done; neither may go unnoticed.

use std::collections::{BTreeMap, BTreeSet};

use interlock_engine::operation::What;
use interlock_model::action::Action;
use interlock_model::ids::{AttemptId, AttemptNo, OperationId, Term};
use interlock_model::names::NodeName;
use interlock_model::plan::StepId;

use super::{Invariant, Number};
use crate::fact::{AttemptEnd, Fact, Sight};
use crate::store::{Store, operation_of};

/// Whose terms agents have heard, and what was done in this line of the store.
#[derive(Debug, Default)]
pub(crate) struct Line {
    heard: BTreeMap<(NodeName, Term), u32>,
    /// The attempts that machines have done.
    done: BTreeSet<AttemptId>,
    restored: bool,
}

impl Invariant for Line {
    fn number(&self) -> Number {
        Number::E11
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Heard {
                node,
                process,
                term,
            } => {
                let key = ((*node).clone(), *term);
                let first = *self.heard.entry(key).or_insert(*process);
                if first == *process {
                    Ok(())
                } else {
                    Err(format!(
                        "{node} obeys coordinator {process} in term {term}, which was that of coordinator {first}"
                    ))
                }
            }
            Fact::Ended {
                id,
                outcome: AttemptEnd::Done,
                ..
            } => {
                self.done.insert((*id).clone());
                Ok(())
            }
            Fact::Restored => {
                self.restored = true;
                let store = &*sight.store;
                self.done.retain(|id| is_made(store, id));
                Ok(())
            }
            Fact::Stored(writes) if self.restored => {
                let journals: BTreeSet<OperationId> = writes
                    .iter()
                    .filter(|write| write.key.contains("/journal/"))
                    .filter_map(|write| operation_of(&write.key))
                    .collect();
                journals
                    .into_iter()
                    .try_for_each(|id| self.taken(id, sight))
            }
            _ => Ok(()),
        }
    }
}

impl Line {
    /// What a coordinator takes for proven on the word of an agent has been done for it.
    fn taken(&self, operation: OperationId, sight: &mut Sight<'_>) -> Result<(), String> {
        let Some(plan) = sight.store.plan(operation) else {
            return Ok(());
        };
        let is_of_agent = |step: &StepId| {
            plan.plan().steps.iter().any(|other| {
                other.id == *step
                    && matches!(other.action, Action::Start | Action::Stop | Action::Verify)
            })
        };
        // The latest attempt of each step; none if no agent was asked for it, and something else is the proof.
        let mut latest: BTreeMap<&StepId, Option<AttemptNo>> = BTreeMap::new();
        for entry in sight.store.journal(operation) {
            match &entry.what {
                What::Intent {
                    step, attempt, on, ..
                } => drop(latest.insert(step, on.is_some().then_some(*attempt))),
                What::Proven { step, .. } if is_of_agent(step) => {
                    let Some(attempt) = latest.get(step).copied().flatten() else {
                        continue;
                    };
                    let id = AttemptId {
                        operation,
                        step: step.clone(),
                        attempt,
                    };
                    if !self.done.contains(&id) {
                        return Err(format!(
                            "{id} is taken for done, and was done for another line of the store"
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Is the intent of an attempt in the journal?
fn is_made(store: &Store, id: &AttemptId) -> bool {
    store.journal(id.operation).any(|entry| {
        matches!(&entry.what, What::Intent { step, attempt, .. }
            if *step == id.step && *attempt == id.attempt)
    })
}
