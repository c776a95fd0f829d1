//! The only place where this program reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use interlock_engine::lease::Clock;
use interlock_model::time::{Now, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Reads both clocks: `CLOCK_BOOTTIME`, which counts suspend too (clock_gettime(2)), and the wall clock.
#[must_use]
pub fn now() -> Now {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Now {
        mono: read(ClockId::Boottime),
        wall: Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// Reads the two clocks that leases are counted by (safety rule E13): `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC_RAW`.
#[must_use]
pub fn of_leases() -> Clock {
    Clock {
        boottime: read(ClockId::Boottime),
        raw: read(ClockId::MonotonicRaw),
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
