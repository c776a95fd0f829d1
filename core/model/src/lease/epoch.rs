//! Epochs and who holds them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::BootId;
use crate::names::NodeName;

/// The fencing number of a lease: one more at every change of holder. The first epoch of a service is 1; 0 is before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before the first epoch.
    pub const NONE: Self = Self(0);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The epochs before this one, oldest first.
    pub fn earlier(self) -> impl Iterator<Item = Self> {
        (1..self.0).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.0)
    }
}

/// A node in one boot of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// The node.
    pub node: NodeName,
    /// The boot of its machine. Another boot is another holder: nothing that the earlier one had is left of it.
    pub boot: BootId,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (boot {})", self.node, self.boot)
    }
}
