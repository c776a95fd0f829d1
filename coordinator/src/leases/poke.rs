//! Who is told that a role was given back: its keeper, which reads it at once.
//!
//! A leader reads twice in R by itself. In a planned move nobody takes writes while it waits for that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use interlock_model::names::ServiceName;
use tokio::sync::Notify;

/// One for each service that was asked for. What is told says *when* to read, never *what* is so (safety rule E3).
#[derive(Debug, Default)]
pub(super) struct Pokes(Mutex<BTreeMap<ServiceName, Arc<Notify>>>);

impl Pokes {
    /// That of this service.
    pub(super) fn of(&self, service: &ServiceName) -> Arc<Notify> {
        // Nothing in here panics halfway through a change.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(service.clone()).or_default())
    }
}
