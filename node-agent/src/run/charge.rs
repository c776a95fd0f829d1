//! What whoever looks after an instance works with.

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::agent::ledger::Trust;
use interlock_model::action::Part;
use interlock_model::lease::Epoch;
use interlock_model::names::ServiceName;
use interlock_model::observation::Wanted;
use tokio::sync::watch;
use tokio::time::Instant;

use super::errand::{Errand, Trouble};
use super::keeper::Instance;
use super::managers::Managers;
use crate::config::Refusal;
use crate::roles::{Roles, View};
use crate::session::{AssignedInstance, Clock, Handle};

/// One instance in the charge of its tasks: the keeper, and a follower for each kind of server that can be a standby.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    pub(super) service: ServiceName,
    pub(super) instance: Arc<Instance>,
    /// As it is assigned now; its end is that of the tasks.
    pub(super) assigned: watch::Receiver<AssignedInstance>,
    pub(super) managers: Managers,
    pub(super) session: Handle,
    pub(super) roles: Roles,
    pub(super) clock: Clock,
}

impl Charge {
    /// Its role, if it is under a lease.
    pub(super) fn view(&self) -> Option<View> {
        self.roles.view(&self.service)
    }

    /// Does the allow-list permit all of these parts?
    pub(super) fn permit(&self, parts: &[Part]) -> Result<(), Refusal> {
        self.managers.permit(&self.service, parts)
    }

    /// Does an attempt act on it, or is one about to?
    pub(super) fn is_acted_on(&self) -> bool {
        // Accepted is enough: what is wanted has changed with it, and it is about to be carried out.
        self.instance.is_taken() || self.session.is_open(&self.service)
    }

    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.session.wanted(&self.service)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted() == Some(Wanted::Running)
    }

    /// A piece of work in nobody's name that begins now and takes no longer than this.
    pub(super) fn errand(&self, limit: Duration) -> Errand<'_> {
        let deadline = Instant::now() + limit;
        Errand::guard(&self.service, self.clock.wall(), &self.instance, deadline)
    }

    pub(super) fn trust(&self) -> Option<Trust> {
        self.session.trust(&self.service)
    }

    /// Notes that its data are of this epoch's line.
    pub(super) fn follows(&self, epoch: Epoch) {
        self.roles.follows(&self.service, epoch);
    }

    pub(super) async fn end_guard_runs(&self) -> Result<(), Trouble> {
        self.managers.end_guard_runs(&self.service).await
    }

    pub(super) fn forget_guard_runs(&self) {
        self.managers.forget_guard_runs(&self.service);
    }
}
