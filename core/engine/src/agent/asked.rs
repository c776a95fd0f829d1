//! Which question had reached the agent before a probe began?
//!
//! A gate waits for what is seen after it has asked. The age of a result does not tell: a result ages on its way, by as
//! much as the network likes, and a clock of another machine proves nothing either. So a coordinator numbers its questions,
//! and a result says the highest number that had arrived before its probe began. Both moments are of one clock, that of
//! the agent, so the answer holds whatever happens between the two machines.
//!
//! An older number than could be said is always honest: the coordinator asks again. So what is kept is bounded.

use std::collections::VecDeque;

/// The questions that are kept. Of more, every second one is let go of: a probe that began between two of them is said to
/// have followed the first.
const KEPT: usize = 256;

/// The questions of one session, and when they arrived. `T` is a clock that never goes back.
#[derive(Debug, Clone)]
pub struct Asked<T> {
    /// Ascending in both.
    arrived: VecDeque<(T, u64)>,
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self {
            arrived: VecDeque::new(),
        }
    }
}

impl<T: Copy + Ord> Asked<T> {
    /// A question has arrived. One that is not later than the last is of no interest.
    pub fn arrived(&mut self, ask: u64, at: T) {
        if ask <= self.arrived.back().map_or(0, |(_, last)| *last) {
            return;
        }
        self.arrived.push_back((at, ask));
        if self.arrived.len() > KEPT {
            let mut nth = 0;
            self.arrived.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
        }
    }

    /// The latest question that is known to have arrived by `began`; 0 for none.
    #[must_use]
    pub fn before(&self, began: T) -> u64 {
        let later = self.arrived.partition_point(|(at, _)| *at <= began);
        later
            .checked_sub(1)
            .and_then(|last| self.arrived.get(last))
            .map_or(0, |(_, ask)| *ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_answers_what_had_arrived_before_it_began() {
        let mut asked = Asked::default();
        assert_eq!(asked.before(9), 0);
        asked.arrived(70, 10);
        asked.arrived(80, 20);
        let answered = [9, 10, 19, 20, 99].map(|began| asked.before(began));
        assert_eq!(answered, [0, 70, 70, 80, 80]);
    }

    #[test]
    fn a_question_that_comes_again_is_as_old_as_it_was() {
        let mut asked = Asked::default();
        asked.arrived(70, 10);
        asked.arrived(70, 20);
        asked.arrived(60, 30);
        assert_eq!([asked.before(9), asked.before(30)], [0, 70]);
    }

    #[test]
    fn of_too_many_questions_none_is_said_to_have_come_earlier_than_it_did() {
        let mut asked = Asked::default();
        let asks = 1_u64..=5000;
        for ask in asks.clone() {
            asked.arrived(ask, ask);
            assert!(asked.arrived.len() <= KEPT);
            assert_eq!(asked.before(ask), ask, "the last one is known");
        }
        for began in asks {
            let ask = asked.before(began);
            assert!(ask >= 1 && ask <= began, "{ask} at {began}");
        }
    }
}
