//! The clock against which certificates are valid.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// Tells the time of day to everything that looks at a certificate's dates.
pub type Clock = Arc<dyn TimeProvider>;

/// The clock of this machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(DefaultTimeProvider)
}

/// What the clock shows. A clock that shows nothing counts as 1970: every certificate is then not valid yet, which
/// is the safe side.
pub(super) fn now(clock: &Clock) -> SystemTime {
    let since_1970 = clock
        .current_time()
        .map_or(Duration::ZERO, |time| Duration::from_secs(time.as_secs()));
    SystemTime::UNIX_EPOCH + since_1970
}
