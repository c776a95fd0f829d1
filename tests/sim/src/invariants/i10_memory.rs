//! I10: what was active before a full stop is remembered durably, and used at start.

use interlock_model::plan::{Known, Plan, PlanKind};

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

#[derive(Debug)]
pub(crate) struct Memory;

impl Invariant for Memory {
    fn number(&self) -> Number {
        Number::I10
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Planned(plan) if plan.kind == PlanKind::Startup => remembered(plan, sight),
            Fact::NotPlanned(why) if why.contains("nothing is remembered") => {
                Err((*why).to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn remembered(plan: &Plan, sight: &Sight<'_>) -> Result<(), String> {
    for (service, assumption) in &plan.assumptions {
        let was = sight.world.active(service);
        if assumption.known == Known::Remembered && was != Some(&assumption.active) {
            return Err(format!(
                "{service} was active on {was:?}, and {} is remembered",
                assumption.active
            ));
        }
    }
    Ok(())
}
