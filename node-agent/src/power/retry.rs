//! When a failed attempt at a power device is repeated.

use std::time::Duration;

/// The rule, as data, so that the spec can set it and a person can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Attempts at most, the first one included.
    pub attempts: u32,
    /// Repeat only if at least this share of the total limit remains, in percent.
    pub min_remaining_percent: u32,
    /// The limit of one attempt, besides the total; none if only the total counts.
    pub per_attempt: Option<Duration>,
}

impl Default for RetryRule {
    /// What Pacemaker's fencer does (`lib/fencing/st_actions.c`): two attempts, the second only with 30 % of the time
    /// left. (It also never repeats after a time-out; that part is not optional here.)
    fn default() -> Self {
        Self {
            attempts: 2,
            min_remaining_percent: 30,
            per_attempt: None,
        }
    }
}

impl RetryRule {
    /// The limit of the attempt that would start now.
    #[must_use]
    pub fn attempt_limit(&self, remaining: Duration) -> Duration {
        self.per_attempt
            .map_or(remaining, |limit| limit.min(remaining))
    }

    /// Whether to try again after `done` attempts, of which the last failed by an answer.
    ///
    /// An attempt that timed out is never repeated: what it was doing may still take effect, and a second one would
    /// race it.
    #[must_use]
    pub fn allows_another(&self, done: u32, total: Duration, remaining: Duration) -> bool {
        let share = remaining.as_nanos().saturating_mul(100);
        let wanted = total
            .as_nanos()
            .saturating_mul(u128::from(self.min_remaining_percent));
        done < self.attempts && !remaining.is_zero() && share >= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Duration = Duration::from_secs(100);

    #[test]
    fn a_second_attempt_needs_thirty_percent_of_the_time() {
        let rule = RetryRule::default();
        assert!(rule.allows_another(1, TOTAL, Duration::from_secs(30)));
        assert!(!rule.allows_another(1, TOTAL, Duration::from_secs(29)));
        assert!(
            !rule.allows_another(2, TOTAL, TOTAL),
            "two attempts are all"
        );
        assert!(!rule.allows_another(1, Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn an_attempt_never_outlives_the_total() {
        let rule = RetryRule {
            per_attempt: Some(Duration::from_secs(20)),
            ..RetryRule::default()
        };
        assert_eq!(rule.attempt_limit(TOTAL), Duration::from_secs(20));
        assert_eq!(
            rule.attempt_limit(Duration::from_secs(5)),
            Duration::from_secs(5)
        );
        assert_eq!(RetryRule::default().attempt_limit(TOTAL), TOTAL);
    }
}
