//! Two clocks, of which neither is trusted alone (safety rule E13).

use std::time::Duration;

use interlock_model::time::human;
use serde::{Deserialize, Serialize};

/// A reading of two clocks of one boot at one moment.
///
/// `CLOCK_BOOTTIME` counts while the machine is suspended, but NTP slews it; `CLOCK_MONOTONIC_RAW` is never slewed, but
/// stands still in a suspension (clock_gettime(2)). Who must not be late takes the larger of what they say has passed, who
/// must not be early the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Clock {
    /// `CLOCK_BOOTTIME`.
    #[serde(with = "human")]
    pub boottime: Duration,
    /// `CLOCK_MONOTONIC_RAW`.
    #[serde(with = "human")]
    pub raw: Duration,
}

impl Clock {
    /// The most that may have passed since `earlier`: for the holder.
    #[must_use]
    pub fn longest_since(self, earlier: Self) -> Duration {
        let (boottime, raw) = self.since(earlier);
        boottime.max(raw)
    }

    /// The least that may have passed since `earlier`: for the leader, and for who has promised to wait.
    #[must_use]
    pub fn shortest_since(self, earlier: Self) -> Duration {
        let (boottime, raw) = self.since(earlier);
        boottime.min(raw)
    }

    fn since(self, earlier: Self) -> (Duration, Duration) {
        (
            self.boottime.saturating_sub(earlier.boottime),
            self.raw.saturating_sub(earlier.raw),
        )
    }
}
