//! The clocks that the core is told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use interlock_model::time::{Now, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Reads the clocks of this machine.
///
/// Monotonic readings are `CLOCK_BOOTTIME` (clock_gettime(2)): they count from boot and through suspend, so readings of
/// two processes in one boot can be compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// Both clocks.
    #[must_use]
    pub fn now(self) -> Now {
        Now {
            mono: self.mono(),
            wall: self.wall(),
        }
    }

    /// Time since boot.
    #[must_use]
    pub fn mono(self) -> Duration {
        reading(ClockId::Boottime)
    }

    /// The wall clock, for records and people.
    #[must_use]
    pub fn wall(self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// A reading of `CLOCK_MONOTONIC`, such as systemd gives, on this clock. The two differ by the time that the machine
    /// was suspended; what it slept after `reading` cannot be told and is taken for none.
    #[must_use]
    pub fn from_monotonic(self, moment: Duration) -> Duration {
        let age = reading(ClockId::Monotonic).saturating_sub(moment);
        self.mono().saturating_sub(age)
    }

    /// When a point of this clock will be, for timers.
    #[must_use]
    pub fn instant(self, moment: Duration) -> Instant {
        Instant::now() + moment.saturating_sub(self.mono())
    }
}

fn reading(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
