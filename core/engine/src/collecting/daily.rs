//! When a node brings its logs to a share: what is to be done now.
//!
//! Two things, apart from each other. What is new is **taken** into a spool once a day, whether the share is there or not:
//! rotation does not wait for a share. What lies in the spool is **delivered** as soon as the share is there.

use std::time::Duration;

use interlock_model::time::Timestamp;

/// A day of UTC, which knows no longer and shorter ones.
const DAY: u64 = 86_400_000;

/// How long after a delivery that did not succeed the next is tried. Whether a share is there is quickly seen.
pub const AGAIN: Duration = Duration::from_secs(10);

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Daily {
    /// When what was new was taken last.
    pub taken: Option<Timestamp>,
    /// Does something lie in the spool?
    pub spooled: bool,
    /// When a delivery did not succeed, if the last one did not.
    pub missed: Option<Timestamp>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Take what is new.
    Take,
    /// Deliver what lies in the spool.
    Deliver,
    /// Nothing before this.
    Nothing {
        /// When to look again.
        until: Timestamp,
    },
}

impl Daily {
    /// What is to be done now, if each day's logs are taken so long after midnight (UTC). What a node has missed because it
    /// was down is made up for once.
    #[must_use]
    pub fn due(&self, at: Duration, now: Timestamp) -> Due {
        let at = u64::try_from(at.as_millis()).unwrap_or(0) % DAY;
        let today = now.0 - now.0 % DAY + at;
        let (last, next) = if today <= now.0 {
            (Some(today), today + DAY)
        } else {
            (today.checked_sub(DAY), today)
        };
        // Later than now: a clock was wrong, and what it said does not keep a node from bringing its logs.
        let is_taken = |taken: Timestamp| last.is_none_or(|last| taken.0 >= last) && taken <= now;
        if !self.taken.is_some_and(is_taken) {
            return Due::Take;
        }
        if !self.spooled {
            return Due::Nothing {
                until: Timestamp(next),
            };
        }
        let again = u64::try_from(AGAIN.as_millis()).unwrap_or(0);
        match self.missed.filter(|missed| *missed <= now) {
            Some(missed) if missed.0 + again > now.0 => Due::Nothing {
                until: Timestamp(next.min(missed.0 + again)),
            },
            Some(_) | None => Due::Deliver,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const AT: Duration = Duration::from_secs(2 * 3600);

    /// So many hours after the midnight of some day.
    fn hour(hours: u64) -> Timestamp {
        Timestamp(20_000 * DAY + hours * HOUR)
    }

    #[test]
    fn logs_are_taken_once_a_day_at_their_time() {
        let taken = |hours| Daily {
            taken: Some(hour(hours)),
            ..Daily::default()
        };
        assert_eq!(taken(2).due(AT, hour(3)), Due::Nothing { until: hour(26) });
        assert_eq!(taken(2).due(AT, hour(25)), Due::Nothing { until: hour(26) });
        assert_eq!(taken(2).due(AT, hour(26)), Due::Take);
        // Before the time of day, what was taken the day before counts.
        assert_eq!(taken(2).due(AT, hour(24)), Due::Nothing { until: hour(26) });
    }

    #[test]
    fn what_was_missed_is_made_up_for_once() {
        assert_eq!(Daily::default().due(AT, hour(1)), Due::Take);
        let long_ago = Daily {
            taken: Some(hour(0)),
            ..Daily::default()
        };
        assert_eq!(long_ago.due(AT, hour(24 * 9)), Due::Take);
        let now = Daily {
            taken: Some(hour(24 * 9)),
            ..Daily::default()
        };
        assert!(matches!(now.due(AT, hour(24 * 9)), Due::Nothing { .. }));
    }

    #[test]
    fn what_lies_in_the_spool_is_tried_again_and_does_not_keep_the_next_day_from_being_taken() {
        let mut daily = Daily {
            taken: Some(hour(2)),
            spooled: true,
            missed: None,
        };
        assert_eq!(daily.due(AT, hour(3)), Due::Deliver);
        daily.missed = Some(hour(3));
        let soon = Timestamp(hour(3).0 + 10_000);
        assert_eq!(daily.due(AT, hour(3)), Due::Nothing { until: soon });
        assert_eq!(daily.due(AT, soon), Due::Deliver);
        daily.missed = Some(hour(26));
        assert_eq!(daily.due(AT, hour(26)), Due::Take);
    }

    #[test]
    fn a_time_from_a_wrong_clock_keeps_nothing_from_being_brought() {
        let daily = Daily {
            taken: Some(hour(24 * 900)),
            ..Daily::default()
        };
        assert_eq!(daily.due(AT, hour(3)), Due::Take);
        let daily = Daily {
            taken: Some(hour(2)),
            spooled: true,
            missed: Some(hour(24 * 900)),
        };
        assert_eq!(daily.due(AT, hour(3)), Due::Deliver);
    }
}
