//! What a node must not forget, whatever happens to its agent and its machine.

use interlock_model::ids::BootId;
use interlock_model::lease::{Epoch, Holder as Member};
use serde::{Deserialize, Serialize};

/// What is durable on the node, for one service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The highest epoch that this node has heard of.
    pub seen: Epoch,
    /// What this node has given back; nothing up to that epoch is ever started again (safety rule E10).
    pub released: Option<Released>,
    /// It was primary, and has not been proven to follow another one since (safety rule E17).
    pub mark: Option<Mark>,
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
}

/// *Was primary, not handed over.*
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// In which epoch.
    pub epoch: Epoch,
    /// In which boot of the machine.
    pub boot: BootId,
}
