//! Both clocks of this boot.

use std::time::Duration;

use interlock_engine::lease::Clock;
use rustix::time::{ClockId, clock_gettime};

/// Reads both, right before each call of a machine (safety rule E13).
pub(crate) fn read() -> Clock {
    Clock {
        boottime: reading(ClockId::Boottime),
        raw: reading(ClockId::MonotonicRaw),
    }
}

fn reading(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
