//! I10: what was active before a full stop is remembered durably, and used at start.
//!
//! A plan never goes by a wrong memory. Nor is a memory given up lightly: where it is, so that a person is asked, it was
//! wrong, since the active side had moved and gone down before anybody could see it where it was.

use std::collections::{BTreeMap, BTreeSet};

use interlock_engine::coordinator::{ACTIVITY, Write};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Known, Plan, PlanKind};

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// What has been written down.
    remembered: BTreeMap<ServiceName, NodeName>,
    /// What has been given up since.
    given_up: BTreeSet<ServiceName>,
}

impl Invariant for Memory {
    fn number(&self) -> Number {
        Number::I10
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Planned(plan) if plan.kind == PlanKind::Startup => right(plan, sight),
            Fact::NotPlanned(why) => match forgotten(why).find(|it| !self.given_up.contains(it)) {
                Some(service) => Err(format!("which side of {service} was active: {why}")),
                None => Ok(()),
            },
            Fact::Stored(writes) => writes
                .iter()
                .try_for_each(|write| self.written(write, sight)),
            _ => Ok(()),
        }
    }
}

impl Memory {
    fn written(&mut self, write: &Write, sight: &Sight<'_>) -> Result<(), String> {
        let Some(service) = write
            .key
            .strip_prefix(ACTIVITY)
            .and_then(|name| name.strip_prefix('/')?.parse::<ServiceName>().ok())
        else {
            return Ok(());
        };
        if let Some(value) = &write.value {
            let active = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            self.given_up.remove(&service);
            self.remembered.insert(service, active);
            return Ok(());
        }
        let was = sight.world.active(&service);
        let remembered = self.remembered.remove(&service);
        if remembered.as_ref() == was {
            return Err(format!(
                "that {service} was active on {was:?} is given up, and is so"
            ));
        }
        self.given_up.insert(service);
        Ok(())
    }
}

/// The services of which a report says that nothing is remembered.
pub(crate) fn forgotten(report: &str) -> impl Iterator<Item = ServiceName> + '_ {
    report
        .lines()
        .filter(|line| line.contains("nothing is remembered"))
        .filter_map(|line| {
            let name = line.split_once("service ")?.1.split(':').next()?;
            name.parse().ok()
        })
}

fn right(plan: &Plan, sight: &Sight<'_>) -> Result<(), String> {
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
