//! A promotion that failed is not tried again at once.
//!
//! A role is given back when its promotion fails, and a leader that hears of nothing in the way would choose the same node for it
//! again, without end. So the node says for a while that it is not ready, and why: another one is chosen if there is one.

use std::time::Duration;

use interlock_engine::lease::Clock;

/// For how long after the first failure, and at most; each time twice as long as before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What is remembered of failed promotions since the last one that was done.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    failures: u32,
    last: Option<(String, Clock)>,
}

impl Refusal {
    /// A promotion failed.
    pub(super) fn failed(&mut self, why: &str, now: Clock) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some((format!("its last promotion failed: {why}"), now));
    }

    /// One was done.
    pub(super) fn done(&mut self) {
        *self = Self::default();
    }

    /// Why it is not promoted now; none if it may be tried.
    pub(super) fn stands(&self, now: Clock) -> Option<&str> {
        let (why, since) = self.last.as_ref()?;
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1).min(8));
        let pause = (PAUSES.0 * doubled).min(PAUSES.1);
        (now.shortest_since(*since) < pause).then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Clock {
        let time = Duration::from_secs(seconds);
        Clock {
            boottime: time,
            raw: time,
        }
    }

    #[test]
    fn a_promotion_that_fails_again_and_again_is_tried_less_and_less_often() {
        let mut refusal = Refusal::default();
        assert_eq!(refusal.stands(at(100)), None);
        refusal.failed("no room", at(100));
        let why = Some("its last promotion failed: no room");
        assert_eq!(
            (refusal.stands(at(104)), refusal.stands(at(105))),
            (why, None)
        );
        refusal.failed("no room", at(105));
        assert_eq!(
            (refusal.stands(at(114)), refusal.stands(at(115))),
            (why, None)
        );
        for _ in 0..100 {
            refusal.failed("no room", at(200));
        }
        assert_eq!(
            (refusal.stands(at(259)), refusal.stands(at(260))),
            (why, None)
        );
        refusal.done();
        refusal.failed("no room", at(300));
        assert_eq!(refusal.stands(at(305)), None, "a first one again");
    }
}
