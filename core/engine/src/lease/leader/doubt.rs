//! A store that went back (safety rule E11).
//!
//! A restored store says who held what some time ago. Nothing of that may be acted on: the record may name a holder that has
//! been excluded since, or terms that its holder has left. So nothing is decided automatically until *every* member has
//! spoken to this leader, or is attested to be down. Then:
//!
//! * one of them holds the highest epoch that any of them has seen: the record is written again as that holder says;
//! * none of them holds, claims or stops anything: the next epoch is above all that any of them has seen, and goes to the one
//!   that was primary last by its own mark.
//!
//! There is doubt when the record was last vouched for in another incarnation of the store, when there is no record, and when
//! an agent is ahead of what was read *after* it spoke.

use std::collections::BTreeMap;

use interlock_model::lease::Epoch;
use interlock_model::names::NodeName;

use super::Heard;
use super::event::Standing;
use super::reading::Reading;
use crate::lease::LeaseRecord;

/// Every member has spoken, or is attested to be down.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::lease) struct AllReported {
    highest: Epoch,
}

impl AllReported {
    /// The highest epoch that anybody knows of.
    pub(in crate::lease) fn highest(&self) -> Epoch {
        self.highest
    }
}

/// What follows from what all have said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// This one holds the highest epoch.
    Held(Box<Standing>, AllReported),
    /// Nobody holds anything; this one was primary last, or nobody ever was.
    Free(Box<Standing>, AllReported),
}

/// Why nothing is decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// Somebody has not spoken.
    #[error(
        "{0} has not spoken to this coordinator yet, and before all members have nothing tells which epoch is the last: \
         bring its agent up or, once its machine is certainly down, `interlockctl failover` with --attest-down"
    )]
    NotReported(NodeName),
    /// Somebody is in the middle of something.
    #[error("the store went back, and {0} is not idle yet")]
    Busy(NodeName),
    /// Their words do not fit together.
    #[error(
        "the store went back, and more than one node claims to hold the role, or not the highest epoch"
    )]
    Contradiction,
    /// The one that was primary last could not be promoted.
    #[error("no epoch has begun, and {0} is not ready: {1}")]
    Unready(NodeName, String),
    /// Nobody can be chosen.
    #[error("the store went back, and no node that has spoken was primary last")]
    NobodyWasPrimary,
}

/// Is there doubt about what was read?
pub(super) fn is_in_doubt(
    incarnation: &str,
    reading: &Reading,
    heard: &BTreeMap<NodeName, Heard>,
) -> bool {
    let Some(record) = reading.record() else {
        return true;
    };
    let ahead =
        |heard: &Heard| reading.at() > heard.at && highest(&heard.standing) > record.epoch();
    record.incarnation() != incarnation || heard.values().any(ahead)
}

fn highest(standing: &Standing) -> Epoch {
    let held = standing
        .holding
        .as_ref()
        .map_or(Epoch::NONE, |held| held.epoch);
    standing.seen.max(held)
}

/// Looks what all have said.
pub(super) fn settle<'a>(
    members: impl IntoIterator<Item = &'a NodeName>,
    reading: &Reading,
    heard: &BTreeMap<NodeName, Heard>,
    attested: impl Fn(&NodeName) -> bool,
) -> Result<Settled, Undecided> {
    let mut spoken = Vec::new();
    for member in members {
        match heard.get(member) {
            Some(heard) => spoken.push(&heard.standing),
            None if attested(member) => {}
            None => return Err(Undecided::NotReported(member.clone())),
        }
    }
    let known = reading.record().map_or(Epoch::NONE, LeaseRecord::epoch);
    let highest = spoken
        .iter()
        .map(|standing| highest(standing))
        .fold(known, Ord::max);
    let all = AllReported { highest };
    let mut holders = spoken.iter().filter(|standing| standing.holding.is_some());
    if let Some(holder) = holders.next() {
        let holds_highest = holder.holding.as_ref().is_some_and(|h| h.epoch == highest);
        if holders.next().is_some() || !holds_highest {
            return Err(Undecided::Contradiction);
        }
        return Ok(Settled::Held(Box::new((*holder).clone()), all));
    }
    if let Some(busy) = spoken
        .iter()
        .find(|standing| !standing.idle || standing.promised)
    {
        return Err(Undecided::Busy(busy.holder.node.clone()));
    }
    let last = spoken.iter().filter_map(|standing| standing.mark).max();
    let never = last.is_none() && highest == Epoch::NONE;
    let candidates = spoken.iter().filter(|standing| standing.mark == last);
    let chosen = candidates
        .max_by_key(|it| (it.unready.is_none(), it.position, it.score))
        .filter(|_| last.is_some() || never);
    match chosen {
        Some(standing) => Ok(Settled::Free(Box::new((*standing).clone()), all)),
        None => Err(Undecided::NobodyWasPrimary),
    }
}
