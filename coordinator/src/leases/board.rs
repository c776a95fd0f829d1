//! How it stands with leases, for who asks for the status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Fitness;
use interlock_model::time::Timestamp;

/// How it stands with one lease, as of the last own reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// The current epoch.
    pub epoch: Epoch,
    /// Who holds it; none if nobody does.
    pub holder: Option<NodeName>,
    /// Has the holder ever renewed it? Nobody is primary in an epoch before.
    pub is_held: bool,
    /// When the epoch began, if that is known.
    pub since: Option<Timestamp>,
    /// Does the role move by itself now?
    pub automatic: bool,
    /// Why nobody is made primary; empty while somebody is.
    pub reason: String,
}

/// Who could take a role, by node, and when what that was judged by was seen, on this process's monotonic clock.
pub(crate) type Judged = BTreeMap<NodeName, (Duration, Fitness)>;

/// How it stands with every leased service. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct Board {
    shown: Arc<Mutex<BTreeMap<ServiceName, Shown>>>,
    judged: Arc<Mutex<BTreeMap<ServiceName, Judged>>>,
}

impl Board {
    /// How it stands with this one; none if it is not leased, or nothing of it was read yet.
    #[must_use]
    pub fn of(&self, service: &ServiceName) -> Option<Shown> {
        self.lock().get(service).cloned()
    }

    pub(super) fn show(&self, service: &ServiceName, shown: Shown) {
        self.lock().insert(service.clone(), shown);
    }

    pub(super) fn remove(&self, service: &ServiceName) {
        self.lock().remove(service);
        self.judgements().remove(service);
    }

    /// The leader of a lease has judged who could take the role.
    pub(super) fn judge(&self, service: &ServiceName, judged: Judged) {
        self.judgements().insert(service.clone(), judged);
    }

    /// What the leaders of all leases have judged last.
    pub(crate) fn judged(&self) -> BTreeMap<ServiceName, Judged> {
        self.judgements().clone()
    }

    fn judgements(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Judged>> {
        // Nothing in here panics halfway through a change.
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Shown>> {
        // Nothing in here panics halfway through a change.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
