//! Evidence of others that an epoch is over: a power device, a person.

use interlock_model::lease::Epoch;
use interlock_model::names::NodeName;

use super::reading::Reading;
use crate::lease::Clock;

/// A machine was confirmed off after this leader had read that it holds this epoch: so the boot that held it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lease) struct PoweredOff {
    node: NodeName,
    epoch: Epoch,
}

impl PoweredOff {
    /// None if the question was asked before this leader knew who holds the epoch: the answer may be of a time before the
    /// holder's boot.
    pub(super) fn establish(node: &NodeName, asked: Clock, reading: &Reading) -> Option<Self> {
        let record = reading.record()?;
        let holder = record.holder()?;
        (holder.node == *node && asked >= reading.holder_since()).then(|| Self {
            node: node.clone(),
            epoch: record.epoch(),
        })
    }

    pub(in crate::lease) fn node(&self) -> &NodeName {
        &self.node
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
