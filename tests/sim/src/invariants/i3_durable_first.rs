//! I3: intent is durable before dispatch; outcome is durable before the next dispatch. On both sides.

use std::collections::BTreeMap;

use interlock_engine::agent::ledger::Record;
use interlock_engine::coordinator::ToAgent;
use interlock_engine::operation::{Operation, What};
use interlock_model::attempt::AttemptState;
use interlock_model::ids::AttemptId;
use interlock_model::names::NodeName;

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

/// What each agent has made durable of each attempt.
#[derive(Debug, Default)]
pub(crate) struct DurableFirst(BTreeMap<(NodeName, AttemptId), AttemptState>);

impl Invariant for DurableFirst {
    fn number(&self) -> Number {
        Number::I3
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Sent { send } => match &send.message {
                ToAgent::Dispatch { id, .. } => dispatched(id, sight),
                _ => Ok(()),
            },
            Fact::Recorded { node, records, .. } => {
                for record in *records {
                    if let Record::Entry(entry) = record {
                        self.0
                            .insert(((*node).clone(), entry.id.clone()), entry.state);
                    }
                }
                Ok(())
            }
            Fact::Began { node, id, .. } => match self.0.get(&((*node).clone(), (*id).clone())) {
                Some(AttemptState::Accepted) => Ok(()),
                state => Err(format!("{node} began {id}, its ledger has {state:?}")),
            },
            // What is refused, never seen or forgotten is said of numbers alone and needs no entry.
            Fact::Reported { node, report }
                if matches!(report.state, AttemptState::Done | AttemptState::Failed) =>
            {
                let durable = self.0.get(&((*node).clone(), report.id.clone()));
                if durable == Some(&report.state) {
                    Ok(())
                } else {
                    Err(format!(
                        "{node} said {} is {:?}, its ledger has {durable:?}",
                        report.id, report.state
                    ))
                }
            }
            _ => Ok(()),
        }
    }
}

fn dispatched(id: &AttemptId, sight: &mut Sight<'_>) -> Result<(), String> {
    let intent = sight.store.journal(id.operation).any(|entry| {
        matches!(&entry.what, What::Intent { step, attempt, .. }
            if *step == id.step && *attempt == id.attempt)
    });
    if !intent {
        return Err(format!("{id} was sent before its intent was durable"));
    }
    let Some(operation) = sight.store.operation(id.operation) else {
        return Err(format!("{id} was sent and its operation cannot be read"));
    };
    if going_back(&operation) {
        return nothing_later_stands(id, &operation);
    }
    for (step, _) in operation.steps().filter(|(step, _)| step.id == id.step) {
        for edge in &step.after {
            let met = operation
                .steps()
                .any(|(other, state)| other.id == edge.step && state.has_reached(edge.until));
            if !met {
                return Err(format!(
                    "{id} was sent before it was durable that {} is {}",
                    edge.step, edge.until
                ));
            }
        }
    }
    Ok(())
}

fn going_back(operation: &Operation) -> bool {
    use interlock_engine::operation::{Phase, State};
    matches!(
        operation.state(),
        State::Unwinding | State::AbortingToUnwind
    ) || operation.steps().any(|(_, state)| {
        matches!(
            state.phase,
            Phase::Undoing | Phase::UndoFailed | Phase::Undone
        )
    })
}

/// A step is taken back only when every later one that was begun, and has an undo, is.
fn nothing_later_stands(id: &AttemptId, operation: &Operation) -> Result<(), String> {
    use interlock_engine::operation::Phase;
    let mut later = vec![id.step.clone()];
    let mut at = 0;
    while at < later.len() {
        let before = later[at].clone();
        for (step, state) in operation.steps() {
            if !step.after.iter().any(|edge| edge.step == before) || later.contains(&step.id) {
                continue;
            }
            let stands = step.undo.is_some()
                && state.attempt.0 > 0
                && !matches!(state.phase, Phase::Undone | Phase::Skipped);
            if stands {
                return Err(format!(
                    "{id} takes its step back while {} is {}",
                    step.id, state.phase
                ));
            }
            later.push(step.id.clone());
        }
        at += 1;
    }
    Ok(())
}
