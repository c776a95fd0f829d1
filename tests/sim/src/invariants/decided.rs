//! What journals say of when each attempt was decided, and of what a person has taken for done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_engine::coordinator::Write;
use interlock_engine::operation::{Entry, What};
use interlock_model::ids::{AttemptId, OperationId};
use interlock_model::plan::StepId;

use super::ON_THE_WAY;
use crate::store::operation_of;
use crate::world::Instance;

/// The entries of journals among writes, each with its operation.
pub(crate) fn entries(writes: &[Write]) -> Vec<(OperationId, Entry)> {
    let journals = writes.iter().filter(|it| it.key.contains("/journal/"));
    let batches = journals.filter_map(|it| Some((operation_of(&it.key)?, it.value.as_ref()?)));
    batches
        .flat_map(|(id, value)| {
            let entries: Vec<Entry> = serde_json::from_slice(value).unwrap_or_default();
            entries.into_iter().map(move |entry| (id, entry))
        })
        .collect()
}

/// When each attempt was decided, and what was taken for done.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    at: BTreeMap<AttemptId, Duration>,
    skipped: BTreeSet<(OperationId, StepId)>,
}

impl Decided {
    /// Takes notice of an entry that has become durable.
    pub(crate) fn note(&mut self, operation: OperationId, entry: &Entry, now: Duration) {
        match &entry.what {
            What::Intent { step, attempt, .. } => {
                let id = AttemptId {
                    operation,
                    step: step.clone(),
                    attempt: *attempt,
                };
                self.at.insert(id, now);
            }
            What::Skipped { step, .. } => drop(self.skipped.insert((operation, step.clone()))),
            _ => {}
        }
    }

    /// Was an instance as it is for so long before an attempt was decided that it must have been heard of?
    pub(crate) fn was_known(&self, instance: &Instance, id: &AttemptId) -> bool {
        let decided = self.at.get(id);
        decided.is_some_and(|at| instance.since + ON_THE_WAY <= *at)
    }

    /// Has a person taken a step for done?
    pub(crate) fn is_skipped(&self, operation: OperationId, step: &StepId) -> bool {
        self.skipped.contains(&(operation, step.clone()))
    }

    /// Has a person taken any step of it for done?
    pub(crate) fn has_skipped(&self, operation: OperationId) -> bool {
        self.skipped.iter().any(|(of, _)| *of == operation)
    }

    /// Has nobody taken anything for done?
    pub(crate) fn nothing_is_skipped(&self) -> bool {
        self.skipped.is_empty()
    }
}
