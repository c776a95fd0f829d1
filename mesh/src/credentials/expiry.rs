//! Saying in time that a certificate ends.

use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before the end the warnings begin: a week has a working day in it.
const EARLY: Duration = DAY.saturating_mul(7);

/// Decides when to warn that the certificate in use ends: from a week before, once a day.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    warned: Option<SystemTime>,
}

impl Expiry {
    /// Whether to warn now about a certificate that ends at `not_after`.
    pub(super) fn is_due(&mut self, now: SystemTime, not_after: SystemTime) -> bool {
        let far = now.checked_add(EARLY).is_some_and(|soon| soon < not_after);
        let recent = self
            .warned
            .and_then(|last| last.checked_add(DAY))
            .is_some_and(|next| now < next);
        if far || recent {
            return false;
        }
        self.warned = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_announced_daily_from_a_week_before() {
        let end = SystemTime::UNIX_EPOCH + 100 * DAY;
        let mut expiry = Expiry::default();
        let mut warned = Vec::new();
        for half_day in 0..206 {
            if expiry.is_due(SystemTime::UNIX_EPOCH + DAY / 2 * half_day, end) {
                warned.push(half_day / 2);
            }
        }
        assert_eq!(
            warned,
            (93..103).collect::<Vec<_>>(),
            "and goes on after the end"
        );
    }
}
