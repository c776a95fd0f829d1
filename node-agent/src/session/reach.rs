//! Whether a coordinator is reached, for people.

use std::sync::{Mutex, PoisonError};

/// The state of the link to one coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// The address as it is configured.
    pub endpoint: String,
    /// Does a session stand?
    pub connected: bool,
    /// Who answered, or what stands in the way and what to do.
    pub detail: String,
}

/// The state of a link, written by the link and read by anybody.
#[derive(Debug)]
pub(super) struct Reach(Mutex<LinkState>);

impl Reach {
    pub(super) fn new(endpoint: String) -> Self {
        Self(Mutex::new(LinkState {
            endpoint,
            connected: false,
            detail: "not tried yet".to_owned(),
        }))
    }

    pub(super) fn get(&self) -> LinkState {
        self.lock().clone()
    }

    /// Returns whether this is news.
    pub(super) fn set(&self, connected: bool, detail: String) -> bool {
        let mut state = self.lock();
        let news = state.connected != connected || state.detail != detail;
        state.connected = connected;
        state.detail = detail;
        news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LinkState> {
        // Every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
