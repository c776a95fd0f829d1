//! What a node must not forget, whatever happens to its agent and its machine.

use interlock_model::ids::BootId;
use interlock_model::lease::{Epoch, Holder as Member};
use interlock_model::names::ServiceName;
use serde::{Deserialize, Serialize};

use crate::lease::ReleaseReport;

/// What is durable on the node, for one service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The highest epoch that this node has heard of.
    pub seen: Epoch,
    /// The record knows that this node had seen more than its disk does: the disk went back, and no person has looked.
    #[serde(default)]
    pub reverted: bool,
    /// What this node has given back; nothing up to that epoch is ever started again (safety rule E10).
    pub released: Option<Released>,
    /// It was primary, and has not been proven to follow another one since (safety rule E17).
    pub mark: Option<Mark>,
    /// The last epoch whose primary its data were seen to follow: how far they go says something of that one's log alone.
    #[serde(default)]
    pub follows: Epoch,
}

impl Facts {
    /// The highest epoch that was given back.
    #[must_use]
    pub fn released_through(&self) -> Epoch {
        self.released
            .as_ref()
            .map_or(Epoch::NONE, |released| released.epoch)
    }
}

/// What was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Which epoch, and with it all before.
    pub epoch: Epoch,
    /// Who held it.
    pub by: Member,
    /// Was its mark durable, and may its promotion have had an effect? If not, it never began.
    pub began: bool,
    /// How far it had written when it ended; none if nobody knows.
    pub position: Option<u64>,
}

impl Released {
    /// What coordinators are told of it.
    pub(super) fn report(&self, service: &ServiceName) -> ReleaseReport {
        ReleaseReport {
            service: service.clone(),
            holder: self.by.clone(),
            epoch: self.epoch,
            began: self.began,
            position: self.position,
        }
    }
}

/// *Was primary, not handed over.*
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// In which epoch.
    pub epoch: Epoch,
    /// In which boot of the machine.
    pub boot: BootId,
}
