//! The lease record: what the store knows of the lease of one service.
//!
//! Its fields can be read by everybody and changed by nobody but this module's siblings: a renewal, a release, a bump. So
//! an epoch cannot be raised by writing a number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::ids::OperationId;
use interlock_model::lease::{Epoch, Exclusion, Holder, Synchrony, Terms};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::human;
use serde::{Deserialize, Serialize};

use super::hand_over::HandOver;

/// What acts on the holder's node when its agent cannot (safety rule E4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Safeguards {
    /// A watchdog is armed. True only after the device has said so.
    pub watchdog: bool,
    /// All writers come by a path that the kernel closes by itself, and that only acknowledged renewals keep open.
    pub client_path: bool,
}

impl Safeguards {
    /// Is there any?
    #[must_use]
    pub fn any(self) -> bool {
        self.watchdog || self.client_path
    }
}

/// What is known of the data of a service: what candidates are measured by (safety rule D1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Data {
    /// The last epoch in which somebody can have written.
    pub(super) epoch: Epoch,
    /// Whom acknowledged writes have waited for.
    pub(super) synchrony: Synchrony,
    /// How far the holder had written at its last renewal; none is unknown.
    pub(super) position: Option<u64>,
    /// How far it had written when it gave the role back; none if it has not, or nobody knows. Exact, where `position` is
    /// what it was some time before the end.
    pub(super) ended_at: Option<u64>,
    /// In what an epoch has inherited: for whom the role was owed before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owed: Option<HandOver>,
}

/// What the store knows of the lease of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub(super) service: ServiceName,
    /// The store that a leader last vouched for (safety rule E11).
    pub(super) incarnation: String,
    pub(super) epoch: Epoch,
    /// None once it has released.
    pub(super) holder: Option<Holder>,
    pub(super) terms: Terms,
    pub(super) safeguards: Safeguards,
    pub(super) data: Data,
    /// What was known of the data before this epoch was first renewed: true again if its holder gives it back without
    /// ever having begun.
    pub(super) inherited: Option<Data>,
    /// The holder's `CLOCK_BOOTTIME` when it sent the renewal that was last taken. None: nobody ever renewed this epoch.
    /// Renewals are taken in the order in which they were sent, or an older one could bring back terms that the holder
    /// has left (safety rule E8).
    #[serde(with = "human::option")]
    pub(super) renewed: Option<Duration>,
    /// The highest epoch that each node has ever said to have seen, as of the last bump (safety rule E6).
    pub(super) witnessed: BTreeMap<NodeName, Epoch>,
    /// Nodes that know less than they have once said.
    pub(super) quarantined: BTreeSet<NodeName>,
    /// Why each epoch that is over is over.
    pub(super) exclusions: BTreeMap<Epoch, Exclusion>,
    /// Its holder is asked to give the role back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hand_over: Option<HandOver>,
    /// The terms of the last epoch that anybody began: what can be gone back to if nobody takes the role under those of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proven: Option<Terms>,
    /// The operation for which it was given back before this epoch, and whose move came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) returned: Option<OperationId>,
}

impl LeaseRecord {
    /// The service.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }
    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// Who holds it; none once it was released.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }
    /// What holder and leader have agreed on.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
    /// What acts on the holder's node when its agent cannot.
    #[must_use]
    pub fn safeguards(&self) -> Safeguards {
        self.safeguards
    }
    /// Whom acknowledged writes have waited for.
    #[must_use]
    pub fn synchrony(&self) -> &Synchrony {
        &self.data.synchrony
    }
    /// How far the holder had written at its last renewal; none is unknown.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.data.position
    }
    /// How far the holder had written when it gave the role back.
    #[must_use]
    pub fn ended_at(&self) -> Option<u64> {
        self.data.ended_at
    }
    /// Has anybody ever renewed the current epoch? Nobody is active in one before.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.renewed.is_some()
    }
    /// The last epoch in which somebody can have been active.
    #[must_use]
    pub fn last_held(&self) -> Epoch {
        self.data.epoch
    }
    /// Who was primary last, as far as it was written down.
    #[must_use]
    pub fn last_primary(&self) -> Option<&NodeName> {
        if self.is_held()
            && let Some(holder) = &self.holder
        {
            return Some(&holder.node);
        }
        match self.exclusions.get(&self.last_held())? {
            Exclusion::Released { by: holder } | Exclusion::Expired { holder, .. } => {
                Some(&holder.node)
            }
            Exclusion::Fenced { node } | Exclusion::Attested { node, .. } => Some(node),
            Exclusion::NeverHeld | Exclusion::AllReported => None,
        }
    }
    /// That its holder is asked to give this epoch back, if it is, or was until it did.
    #[must_use]
    pub fn hand_over(&self) -> Option<&HandOver> {
        self.hand_over.as_ref()
    }
    /// Was it given back by somebody who was asked to, and has nobody taken it up since? Whoever asked owes the service a primary.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        let has_somebody = self.holder.is_some() && self.is_held();
        self.hand_over.is_some() && !has_somebody
    }
    /// Can somebody have been active in the current epoch?
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.last_held() == self.epoch
    }
    /// The terms of the last epoch that anybody began, as far as it is known.
    pub(super) fn proven_terms(&self) -> Option<&Terms> {
        if self.has_begun() {
            Some(&self.terms)
        } else {
            self.proven.as_ref()
        }
    }
    /// Has the move of this operation come to nothing, so that the role is where it was?
    #[must_use]
    pub fn has_returned_from(&self, operation: OperationId) -> bool {
        self.returned == Some(operation)
    }
    /// The store that a leader last vouched for.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }
    /// Why each epoch that is over is over.
    #[must_use]
    pub fn exclusions(&self) -> &BTreeMap<Epoch, Exclusion> {
        &self.exclusions
    }
    /// What a node has once said to have seen.
    #[must_use]
    pub fn witnessed(&self, node: &NodeName) -> Epoch {
        self.witnessed.get(node).copied().unwrap_or_default()
    }
    /// Nodes that know less than they have once said, until a person has looked.
    #[must_use]
    pub fn quarantined(&self) -> &BTreeSet<NodeName> {
        &self.quarantined
    }
}
