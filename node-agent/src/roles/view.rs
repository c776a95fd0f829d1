//! How a role looks from outside of its thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlock_model::action::Part;
use interlock_model::lease::{Epoch, Holder};
use interlock_model::names::ServiceName;
use interlock_model::observation::{Fitness, Loss, RoleObservation, Side};
use interlock_model::time::Timestamp;

/// All of them.
pub(crate) type Views = BTreeMap<ServiceName, View>;

/// How the role of one service looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// Which side it is.
    pub(crate) side: Side,
    /// The epoch that it holds, or the highest that it has heard of.
    pub(crate) epoch: Epoch,
    /// What it is doing, or why it is not what it should be.
    pub(crate) detail: String,
    /// Since when it is primary, as far as this agent has seen it.
    pub(crate) since: Option<Timestamp>,
    /// Why what only a primary has is down although it is primary.
    pub(crate) down: Option<String>,
    /// Is something of it being started or stopped?
    pub(crate) busy: bool,
    /// What only a primary has, as it is now.
    pub(crate) parts: Arc<[Part]>,
    /// Has something deleted what closes its addresses?
    pub(crate) torn: bool,
    /// The epoch that a coordinator last told of, and who holds it.
    pub(crate) heard: Option<(Epoch, Option<Holder>)>,
    /// The last epoch whose primary its data were seen to follow.
    pub(crate) follows: Epoch,
    /// Was it primary, with nothing to prove that its data follow a later one?
    pub(crate) marked: bool,
    /// The request by which writes may be acknowledged without waiting for anybody: it permits that once, to who made it.
    pub(crate) asynchronous: Option<u64>,
    /// May the record say that writes wait for somebody?
    pub(crate) promises: bool,
    /// What it has lost last by following another one.
    pub(crate) lost: Option<Loss>,
    /// Does an attempt wait for it to become primary?
    pub(crate) awaited: bool,
    /// Counts the changes.
    pub(crate) turn: u64,
}

impl View {
    /// Does it hold the lease, with all that belongs to it started?
    pub(crate) fn is_primary(&self) -> bool {
        self.side == Side::Primary
    }

    /// Does it hold nothing, and is that durable?
    pub(crate) fn is_standby(&self) -> bool {
        self.side == Side::Standby
    }

    /// As it is told to coordinators.
    pub(crate) fn observation(&self) -> RoleObservation {
        RoleObservation {
            side: self.side,
            epoch: self.epoch,
            detail: self.detail.clone(),
            lost: self.lost.clone(),
            fitness: Fitness::Unknown,
        }
    }
}
