//! How long whoever needs answers of power sources waits for them.
//!
//! A device answers one question after the other, so many machines take long, and how long nobody knows before. As long as answers
//! come all of them are waited for; a source that is asked in vain says so within its own limit, and that is an answer too. What
//! bounds it is the time that all calls may take.

use std::time::Duration;

/// How long the next answer is waited for, at least: more than a call takes that is not the first of a fence agent.
const NEXT: Duration = Duration::from_secs(90);

/// How long all answers are waited for at most: a little less than the deadline of the contract (`plan.proto`, `cluster.proto`).
const ALL: Duration = Duration::from_secs(1700);

/// What a question takes beyond the device's `timeout`, at most.
const BEYOND: Duration = Duration::from_secs(5);

/// The patience of one who waits.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How many answers were awaited when this was asked last.
    open: usize,
    /// When an answer came last.
    answered: Duration,
}

impl Patience {
    /// Is it to be waited any longer? `passed` is the time since it was begun, `open` the number of answers that are awaited, and
    /// `calls` has the limit of each call that is needed for all of them, also of those that are through.
    pub(super) fn waits(
        &mut self,
        passed: Duration,
        open: usize,
        calls: impl Iterator<Item = Duration>,
    ) -> bool {
        let (mut all, mut next) = (Duration::ZERO, NEXT);
        for limit in calls {
            let call = limit.saturating_add(BEYOND);
            all = all.saturating_add(call);
            next = next.max(call);
        }
        if open < self.open {
            self.answered = passed;
        }
        self.open = open;
        let end = all.max(next).min(ALL);
        open > 0 && passed < end.min(self.answered.saturating_add(next))
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use super::*;

    /// When it is given up, if so many calls of so many seconds are needed and one is answered each time that so many seconds have
    /// passed; none if all are answered before.
    fn given_up(calls: usize, limit: u64, every: Option<u64>) -> Option<u64> {
        let mut patience = Patience::default();
        for second in 0..3000 {
            let answered = every.map_or(0, |every| usize::try_from(second / every).unwrap());
            let open = calls.saturating_sub(answered);
            let limits = repeat_n(Duration::from_secs(limit), calls);
            if !patience.waits(Duration::from_secs(second), open, limits) {
                return (open > 0).then_some(second);
            }
        }
        panic!("it waits for ever");
    }

    #[test]
    fn all_answers_are_waited_for_as_long_as_they_come() {
        let none = Patience::default().waits(Duration::ZERO, 0, std::iter::empty());
        assert!(!none, "nothing is asked");
        assert_eq!(given_up(40, 20, Some(3)), None);
        // Every plug hangs, and its fence agent says so.
        assert_eq!(given_up(40, 20, Some(20)), None);
        assert_eq!(given_up(40, 20, Some(25)), None);
    }

    #[test]
    fn the_next_answer_is_waited_for_90_seconds_or_as_long_as_a_call_may_take() {
        assert_eq!(given_up(40, 20, None), Some(90));
        assert_eq!(given_up(40, 20, Some(91)), Some(90));
        assert_eq!(given_up(40, 200, None), Some(205));
        let mut patience = Patience::default();
        let mut waits = |second, open| {
            let limits = repeat_n(Duration::from_secs(20), 40);
            patience.waits(Duration::from_secs(second), open, limits)
        };
        assert!(waits(0, 40) && waits(80, 39) && waits(169, 39));
        // Another node falls silent: that is no answer.
        assert!(waits(169, 40));
        assert!(!waits(170, 40));
    }

    #[test]
    fn it_never_takes_longer_than_all_calls_may_nor_than_the_contract_lets_it() {
        assert_eq!(given_up(40, 5, Some(15)), Some(400));
        assert_eq!(
            given_up(1, 20, None),
            Some(90),
            "and never less than for one"
        );
        assert_eq!(given_up(400, 20, Some(24)), Some(1700));
        assert_eq!(given_up(2, 4000, None), Some(1700));
        for contract in [
            include_str!("../../../proto/interlock/v1/plan.proto"),
            include_str!("../../../proto/interlock/v1/cluster.proto"),
        ] {
            let deadline = format!("Deadline: {} s", ALL.as_secs() + 100);
            assert!(contract.contains(&deadline), "{deadline}");
        }
    }
}
