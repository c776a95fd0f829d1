//! What is written down of why an epoch is over.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::epoch::Holder;
use crate::names::NodeName;

/// Why the holder of an epoch cannot be active any more, as the lease record keeps it for people and for later leaders.
///
/// A note, and no right: an epoch begins with the engine's `ExclusionProof`, from which this is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum Exclusion {
    /// The holder has said so, durably: nothing of the instance is left, and it starts nothing again in that epoch.
    Released {
        /// Who.
        by: Holder,
    },
    /// The lease ran out, and something acts on the node when its agent cannot.
    Expired {
        /// The holder that did not renew.
        holder: Holder,
        /// The store's revision at which the leader began to count.
        revision: u64,
    },
    /// A power device has confirmed that the machine is off.
    Fenced {
        /// The machine.
        node: NodeName,
    },
    /// A person has given their word that it is down.
    Attested {
        /// The machine.
        node: NodeName,
        /// Who.
        by: String,
        /// Why, in their words.
        why: String,
    },
    /// It was never renewed, so nobody was ever active in it: a promotion needs an acknowledged renewal first (safety
    /// rule E5), and the record that would have taken it is gone.
    NeverHeld,
    /// The store went back, and every member has said, to the leader that began the next epoch, that it holds nothing
    /// (safety rule E11).
    AllReported,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released { by } => write!(f, "released by {by}"),
            Self::Expired { holder, revision } => {
                write!(f, "the lease of {holder} expired at revision {revision}")
            }
            Self::Fenced { node } => write!(f, "{node} was fenced"),
            Self::Attested { node, by, why } => {
                write!(f, "{by} attests that {node} is down: {why}")
            }
            Self::NeverHeld => f.write_str("it was never held"),
            Self::AllReported => f.write_str("every member reported that it holds nothing"),
        }
    }
}
