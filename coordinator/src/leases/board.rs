//! How it stands with leases, for who asks for the status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
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

/// How it stands with every leased service. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<ServiceName, Shown>>>);

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
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Shown>> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
