//! E11: a term belongs to one coordinator process, and what an agent did for another line of the store is not taken for
//! done in this one.
//!
//! A store that was restored from a backup counts again what agents have counted already. They refuse what they know as
//! older, and answer from memory what they know as done; neither may go unnoticed.
//!
//! Nor is what such a store remembers of activity gone by, once an agent has been heard that is ahead of it: what was
//! active may have moved since the copy was made.

use std::collections::{BTreeMap, BTreeSet};

use interlock_engine::agent::ledger::Record;
use interlock_engine::coordinator::{ACTIVITY, Write};
use interlock_engine::operation::What;
use interlock_model::action::Action;
use interlock_model::ids::{AttemptId, AttemptNo, OperationId, Term};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Known, Plan, PlanKind, StepId};

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
    /// The highest operation that each agent has had an attempt of, in any line.
    highest: BTreeMap<NodeName, OperationId>,
    /// An agent has been heard that is ahead of the store as it was restored last.
    behind: bool,
    /// The services of which something was written down since.
    anew: BTreeSet<ServiceName>,
    /// The services of which what was written down was given up, and nothing was written down since.
    given_up: BTreeSet<ServiceName>,
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
                self.compare(node, sight);
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
            Fact::Recorded { node, records, .. } => {
                let attempts = records.iter().filter_map(|record| match record {
                    Record::Entry(entry) => Some(entry.id.operation),
                    _ => None,
                });
                if let Some(highest) = attempts.max() {
                    let known = self.highest.entry((*node).clone()).or_default();
                    *known = highest.max(*known);
                }
                Ok(())
            }
            Fact::Planned(plan) if self.restored && plan.kind == PlanKind::Startup => {
                self.goes_by_the_copy(plan, sight)
            }
            Fact::Restored => {
                self.restored = true;
                self.behind = false;
                self.anew.clear();
                self.given_up.clear();
                let store = &*sight.store;
                self.done.retain(|id| is_made(store, id));
                Ok(())
            }
            Fact::Stored(writes) if self.restored => {
                writes.iter().for_each(|write| self.written(write));
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
    /// Is an agent that was heard ahead of a store that was restored?
    fn compare(&mut self, node: &NodeName, sight: &Sight<'_>) {
        if !self.restored || self.behind {
            return;
        }
        let highest = self.highest.get(node).copied().unwrap_or_default();
        let last = sight.store.heads().iter().map(|head| head.id).max();
        self.behind = highest > last.unwrap_or_default();
    }

    /// What is written down of activity, and what is given up.
    fn written(&mut self, write: &Write) {
        let name = write.key.strip_prefix(ACTIVITY);
        let service = name.and_then(|name| name.strip_prefix('/')?.parse::<ServiceName>().ok());
        let Some(service) = service else {
            return;
        };
        if write.value.is_some() {
            self.given_up.remove(&service);
            self.anew.insert(service);
        } else {
            self.given_up.insert(service);
        }
    }

    /// A plan for a start goes by no memory that was given up, and by none of the copy that is wrong.
    fn goes_by_the_copy(&self, plan: &Plan, sight: &Sight<'_>) -> Result<(), String> {
        for (service, assumption) in &plan.assumptions {
            if assumption.known != Known::Remembered {
                continue;
            }
            let was = sight.world.active(service);
            let wrong = was != Some(&assumption.active);
            if self.given_up.contains(service)
                || self.behind && wrong && !self.anew.contains(service)
            {
                return Err(format!(
                    "{service} was active on {was:?}, and {} is remembered from a copy that agents are ahead of",
                    assumption.active
                ));
            }
        }
        Ok(())
    }

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
