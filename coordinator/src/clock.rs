//! The only place where this program reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use interlock_model::time::{Now, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Reads both clocks: `CLOCK_BOOTTIME`, which counts suspend too (clock_gettime(2)), and the wall clock.
#[must_use]
pub fn now() -> Now {
    let boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(boot.tv_nsec).unwrap_or(0);
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Now {
        mono: Duration::new(seconds, nanos),
        wall: Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)),
    }
}
