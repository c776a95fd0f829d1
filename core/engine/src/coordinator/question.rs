//! When was it asked what a result answers?
//!
//! A result proves something to a gate only if its probe began after the gate had asked. The agent says which question
//! its probe followed ([`Asked`](crate::agent::asked::Asked)); here the number of a question is the time when it was
//! asked, so nothing has to be remembered until the answer comes, and an answer is understood whenever it does.

use std::time::Duration;

use interlock_model::time::Now;

/// The number of a question that is asked now: this process's monotonic clock, in nanoseconds. Every gate that asks in
/// one pass asks in one question.
pub(super) fn number(now: Now) -> u64 {
    u64::try_from(now.mono.as_nanos()).unwrap_or(u64::MAX)
}

/// When a question was asked: never later than now, whatever an agent says.
pub(super) fn asked(number: u64, now: Now) -> Duration {
    Duration::from_nanos(number).min(now.mono)
}
