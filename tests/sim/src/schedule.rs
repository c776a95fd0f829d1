//! What happens when, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

/// Events in the order of their times; of one time, in the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    now: Duration,
    planned: u64,
    events: BTreeMap<(Duration, u64), T>,
}

impl<T> Schedule<T> {
    pub(crate) fn new() -> Self {
        Self {
            now: Duration::ZERO,
            planned: 0,
            events: BTreeMap::new(),
        }
    }

    /// The time of the event taken last.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn after(&mut self, delay: Duration, event: T) {
        self.at(self.now + delay, event);
    }

    /// What is planned for the past happens now.
    pub(crate) fn at(&mut self, at: Duration, event: T) {
        self.planned += 1;
        self.events.insert((at.max(self.now), self.planned), event);
    }

    /// The next event; time moves on to it.
    pub(crate) fn take(&mut self) -> Option<T> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }
}
