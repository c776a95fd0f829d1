//! What guards have to remember, on its way to the ledger.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use interlock_engine::agent::guard::Memory;
use interlock_model::names::ServiceName;

use super::bell::Bell;

/// The newest memory of each guard that the desk has not taken yet. A later one takes the place of an earlier one, so it
/// holds at most one per service, however long the desk waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Guards {
    newest: Mutex<BTreeMap<ServiceName, Memory>>,
    news: Bell,
}

impl Guards {
    /// Leaves a memory for the desk.
    pub(super) fn put(&self, service: ServiceName, memory: Memory) {
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(service, memory);
        self.news.ring();
    }

    /// Waits until there is something, and takes all of it.
    pub(super) async fn take(&self) -> BTreeMap<ServiceName, Memory> {
        self.news.rung().await;
        std::mem::take(&mut *self.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
