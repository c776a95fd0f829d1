//! I10: what was active before a full stop is remembered durably, and used at start.
//!
//! A plan never goes by a wrong memory. Nor is a memory given up lightly: where it is, so that a person is asked, it was
//! wrong, since the active side had moved and gone down before anybody could see it where it was.
//!
//! Nobody can know of a side that has moved since the last look. While the instance that it moved to is up, the next look
//! finds it, and the plan halts (I9); so a memory is held against the world from then on. One that is down is not looked
//! at any more: of that no memory may be wrong, however short its time was. Unless it died by itself where nobody had
//! seen it active: nothing can be known of that, and nothing can be known from a backup that is older.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_engine::coordinator::{ACTIVITY, Write};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Known, Plan, PlanKind};

use super::{Invariant, Number, ON_THE_WAY};
use crate::fact::{Fact, Sight};
use crate::run::EVERY;
use crate::world::Cause;

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// What has been written down.
    remembered: BTreeMap<ServiceName, NodeName>,
    /// What has been given up since.
    given_up: BTreeSet<ServiceName>,
    /// Since when each active side is where it is.
    active: BTreeMap<ServiceName, (NodeName, Duration)>,
    /// Active sides that died before they were remembered.
    unseen: BTreeMap<ServiceName, NodeName>,
    restored: bool,
}

impl Invariant for Memory {
    fn number(&self) -> Number {
        Number::I10
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        if self.restored {
            return Ok(());
        }
        match fact {
            Fact::Restored => {
                self.restored = true;
                Ok(())
            }
            Fact::Down {
                node,
                service,
                cause: Cause::Itself,
            } => {
                if sight.world.active(service) == Some(*node)
                    && self.remembered.get(*service) != Some(*node)
                {
                    self.unseen.insert((*service).clone(), (*node).clone());
                }
                Ok(())
            }
            Fact::Planned(plan) if plan.kind == PlanKind::Startup => self.right(plan, sight),
            Fact::NotPlanned(why) => match forgotten(why).find(|it| !self.is_excused(it)) {
                Some(service) => Err(format!("which side of {service} was active: {why}")),
                None => Ok(()),
            },
            Fact::Stored(writes) => writes
                .iter()
                .try_for_each(|write| self.written(write, sight)),
            Fact::Moment => {
                self.look(sight);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Memory {
    fn look(&mut self, sight: &Sight<'_>) {
        for service in sight.world.spec.services.keys() {
            let Some(active) = sight.world.active(service) else {
                continue;
            };
            if self
                .active
                .get(service)
                .is_none_or(|(old, _)| old != active)
            {
                self.active
                    .insert(service.clone(), (active.clone(), sight.now));
            }
            if self.unseen.get(service).is_some_and(|unseen| {
                unseen != active || self.remembered.get(service) == Some(active)
            }) {
                self.unseen.remove(service);
            }
        }
    }

    /// May nothing be remembered of a service?
    fn is_excused(&self, service: &ServiceName) -> bool {
        self.given_up.contains(service) || self.unseen.contains_key(service)
    }

    /// Is the active side on an instance that is up, and was there no time to see it there?
    fn is_news(&self, service: &ServiceName, sight: &Sight<'_>) -> bool {
        sight.world.active(service).is_some_and(|active| {
            let since = match self.active.get(service) {
                Some((known, since)) if known == active => *since,
                _ => sight.now,
            };
            !sight.world.state(active, service).is_down()
                && sight.now.saturating_sub(since) <= EVERY + ON_THE_WAY
        })
    }

    fn right(&self, plan: &Plan, sight: &Sight<'_>) -> Result<(), String> {
        for (service, assumption) in &plan.assumptions {
            let was = sight.world.active(service);
            if assumption.known == Known::Remembered
                && was != Some(&assumption.active)
                && !self.is_news(service, sight)
                && !self.unseen.contains_key(service)
            {
                return Err(format!(
                    "{service} was active on {was:?}, and {} is remembered",
                    assumption.active
                ));
            }
        }
        Ok(())
    }

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
        if remembered.as_ref() == was && !self.is_news(&service, sight) {
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
