//! Counting repetitions.

use std::time::Duration;

use super::{Backoff, Random};

/// The waits of one thing that is tried again and again.
#[derive(Debug, Clone)]
pub struct Attempts {
    backoff: Backoff,
    failed: u32,
}

impl Attempts {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new(backoff: Backoff) -> Self {
        Self { backoff, failed: 0 }
    }

    /// How many failures in a row have been counted.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.failed
    }

    /// Counts a failure and says how long to wait before the next try.
    pub fn next_wait(&mut self, random: &mut impl Random) -> Duration {
        let wait = self.backoff.wait(self.failed, random.next_u64());
        self.failed = self.failed.saturating_add(1);
        wait
    }

    /// Says how long a success lasted, for example a connection. One that lasted at least the longest wait starts
    /// the sequence over; a shorter one does not, so that a peer that drops every connection is not hammered.
    pub fn lasted(&mut self, time: Duration) {
        if time >= self.backoff.longest() {
            self.reset();
        }
    }

    /// Starts the sequence over.
    pub fn reset(&mut self) {
        self.failed = 0;
    }
}
