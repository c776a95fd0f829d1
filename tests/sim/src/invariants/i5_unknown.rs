//! I5: no answer means *unknown*, and a machine is down only when its power source says so.
//!
//! Whatever the journal calls proven down is really down at that moment: the plug of a machine gives no power, an
//! instance is not there. What is called healthy on the strength of checks is the business of I2.

use interlock_engine::operation::{Entry, Phase, What};
use interlock_model::action::Action;
use interlock_model::plan::{Plan, Step};

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};
use crate::store::operation_of;

#[derive(Debug)]
pub(crate) struct Unknown;

impl Invariant for Unknown {
    fn number(&self) -> Number {
        Number::I5
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        let Fact::Stored(writes) = fact else {
            return Ok(());
        };
        for write in *writes {
            if !write.key.contains("/journal/") {
                continue;
            }
            let (Some(id), Some(value)) = (operation_of(&write.key), &write.value) else {
                continue;
            };
            let entries: Vec<Entry> = serde_json::from_slice(value).unwrap_or_default();
            for entry in entries {
                let What::Proven { step, .. } = &entry.what else {
                    continue;
                };
                let Some(operation) = sight.store.operation(id) else {
                    continue;
                };
                let undone = operation
                    .steps()
                    .any(|(other, state)| other.id == *step && state.phase == Phase::Undone);
                if let Some(step) = find(operation.plan(), step) {
                    really_down(step, undone, sight)?;
                }
            }
        }
        Ok(())
    }
}

fn find<'a>(plan: &'a Plan, id: &interlock_model::plan::StepId) -> Option<&'a Step> {
    plan.steps.iter().find(|step| step.id == *id)
}

fn really_down(step: &Step, undone: bool, sight: &Sight<'_>) -> Result<(), String> {
    let action = match (&step.undo, undone) {
        (Some(undo), true) => &undo.0,
        _ => &step.action,
    };
    let (Some(node), true) = (&step.node, action.takes_down()) else {
        return Ok(());
    };
    match (action, &step.service) {
        (Action::PowerOff { .. }, _) if sight.world.plug(node) => {
            Err(format!("{} is proven, and {node} still has power", step.id))
        }
        (Action::Stop, Some(service)) if !sight.world.state(node, service).is_down() => Err(
            format!("{} is proven, and {service} is still there", step.id),
        ),
        _ => Ok(()),
    }
}
