//! The time that one operation has.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::Trouble;

/// The time that one operation has, for all of its steps together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    /// From now on.
    pub(super) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        // A time that no clock can hold is as good as none.
        let at = now.checked_add(limit);
        Self {
            limit,
            at: at.unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600)),
        }
    }

    /// What is left of it.
    pub(super) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// It is over.
    pub(super) fn over(self) -> Trouble {
        Trouble::Limit(self.limit)
    }

    /// A step, which is given up when the time is over.
    pub(super) async fn within<T>(
        self,
        step: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        tokio::time::timeout_at(self.at, step)
            .await
            .unwrap_or_else(|_| Err(self.over()))
    }
}
