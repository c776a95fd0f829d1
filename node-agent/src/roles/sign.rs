//! How a role looks to who sends clients: as much as it takes to say at any moment whether they may come.
//!
//! [`View`](super::View) tells of changes. How long a right lasts changes with every moment, so here is what it is told from, and
//! who is asked reads the clock.

use std::collections::BTreeMap;

use interlock_engine::lease::Clock;
use interlock_engine::lease::holder::Tenure;
use interlock_model::lease::Epoch;
use interlock_model::names::ServiceName;
use interlock_model::observation::Side;

use super::input::{Condition, Following, Sight};
use super::seat::Seat;

/// All of them.
pub(crate) type Signs = BTreeMap<ServiceName, Sign>;

/// What is to be said of the role of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sign {
    /// Which side it is.
    pub(crate) side: Side,
    /// The epoch that it holds, or the highest that it has heard of.
    pub(crate) epoch: Epoch,
    /// The right that it has.
    pub(crate) tenure: Option<Tenure>,
    /// Why what only a primary has is down although it is primary.
    pub(crate) down: Option<String>,
    /// Why it is of no use as a standby, whatever its data are.
    pub(crate) idle: Option<String>,
    /// The last look at what only a primary has, or is another thing there.
    pub(crate) looked: Option<Looked>,
    /// When the thread that keeps the role had its last turn.
    pub(crate) turned: Clock,
}

/// A look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looked {
    /// When it had ended.
    pub(crate) at: Clock,
    /// Which part does not run as it does on a primary; none if all of them do.
    pub(crate) not_primary: Option<String>,
    /// Which part does not run as it does on a standby; none if all of them do, or there is none that would.
    pub(crate) not_standby: Option<String>,
    /// How its data follow those of somebody else; none if it has none, or they follow nobody.
    pub(crate) following: Option<Following>,
}

impl Looked {
    /// It was just proven to be a primary with all that belongs to one.
    pub(super) fn primary(at: Clock) -> Self {
        Self {
            at,
            not_primary: None,
            not_standby: Some("it is primary".to_owned()),
            following: None,
        }
    }

    /// What a look has found.
    pub(super) fn of(sight: &Sight, at: Clock) -> Self {
        let mut promoted = sight.parts.iter().filter(|(part, _)| part.is_promoted());
        Self {
            at,
            not_primary: sight.parts.iter().find_map(|(part, seen)| match seen {
                Condition::Up => None,
                Condition::Standby => Some(format!("{part} accepts no writes")),
                Condition::Down(why) | Condition::Unknown(why) => Some(format!("{part}: {why}")),
            }),
            not_standby: promoted.find_map(|(part, seen)| match seen {
                Condition::Standby => None,
                Condition::Up => Some(format!("{part} accepts writes")),
                Condition::Down(why) | Condition::Unknown(why) => Some(format!("{part}: {why}")),
            }),
            following: sight.data.as_ref().and_then(|data| data.following),
        }
    }
}

impl Seat {
    /// What is to be said of it.
    pub(super) fn sign(&self, now: Clock) -> Sign {
        Sign {
            side: self.side,
            epoch: self.epoch(),
            tenure: self.holder.tenure().cloned(),
            down: self.down.clone(),
            idle: self.why_idle(),
            looked: self.looked.clone(),
            turned: now,
        }
    }

    fn why_idle(&self) -> Option<String> {
        if self.claims.attempts > 0 || self.claims.leaving {
            return Some("an attempt is open on it".to_owned());
        }
        if !self.leased.everywhere {
            return Some("nothing of it runs on a standby".to_owned());
        }
        let down = self.readiness.down.clone();
        // A server that follows is of use to readers also while it could not be promoted.
        down.or_else(|| match self.leased.has_data() {
            true => None,
            false => self.readiness.unready.clone(),
        })
    }
}
