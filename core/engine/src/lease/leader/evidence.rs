//! Evidence of others that an epoch is over: a power device, a person.

use interlock_model::lease::{Epoch, Holder as Member};
use interlock_model::names::NodeName;

use super::reading::Reading;
use crate::lease::Clock;

/// A machine was confirmed off after this leader had read that it holds this epoch: so the boot that held it is over.
///
/// Not so if anything was heard of that boot since the question: either the answer is about another machine, or it is not
/// off. It is asked again, then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lease) struct PoweredOff {
    holder: Member,
    epoch: Epoch,
    asked: Clock,
}

impl PoweredOff {
    /// None if the question was asked before this leader knew who holds the epoch: the answer may be of a time before the
    /// holder's boot. None also if that boot was `heard` since.
    pub(super) fn establish(
        node: &NodeName,
        asked: Clock,
        reading: &Reading,
        heard: impl Fn(&Member) -> Option<Clock>,
    ) -> Option<Self> {
        let record = reading.record()?;
        let holder = record.holder()?;
        let spoke = heard(holder).is_some_and(|at| at > asked);
        let off = Self {
            holder: holder.clone(),
            epoch: record.epoch(),
            asked,
        };
        let is_of_it = holder.node == *node && asked >= reading.holder_since();
        (is_of_it && !spoke && !off.is_contradicted_by(reading)).then_some(off)
    }

    /// Has the boot that is said to be off renewed since?
    pub(super) fn is_contradicted_by(&self, reading: &Reading) -> bool {
        reading.renewed_since().is_some_and(|at| at > self.asked)
    }

    /// Is it the one that speaks here?
    pub(super) fn is_of(&self, speaker: &Member) -> bool {
        self.holder == *speaker
    }

    /// When the device was asked.
    pub(super) fn asked(&self) -> Clock {
        self.asked
    }

    pub(in crate::lease) fn node(&self) -> &NodeName {
        &self.holder.node
    }

    pub(in crate::lease) fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// The word of a person, for the epoch that was current when it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lease) struct Attested {
    pub(in crate::lease) node: NodeName,
    pub(in crate::lease) epoch: Epoch,
    pub(in crate::lease) by: String,
    pub(in crate::lease) why: String,
}

impl Attested {
    /// None if the node holds nothing.
    pub(super) fn establish(
        node: &NodeName,
        by: String,
        why: String,
        reading: &Reading,
    ) -> Option<Self> {
        let record = reading.record()?;
        let holds = record.holder().is_some_and(|holder| holder.node == *node);
        holds.then(|| Self {
            node: node.clone(),
            epoch: record.epoch(),
            by,
            why,
        })
    }
}
