//! How far a primary had written some seconds ago: who has as much as that follows it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::lease::Clock;

/// How long ago. Longer than the second in which a standby says how far it has got, and than that takes to be heard.
const AGO: Duration = Duration::from_secs(3);

/// How often it is noted.
const EVERY: Duration = Duration::from_millis(500);

/// Positions of the last seconds, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Written(VecDeque<(Clock, u64)>);

impl Written {
    /// Notes how far it has written now, if that is known.
    pub(super) fn note(&mut self, position: Option<u64>, now: Clock) {
        let Some(position) = position else {
            self.0.clear();
            return;
        };
        let rested = |(at, _): &(Clock, u64)| now.shortest_since(*at) >= EVERY;
        if self.0.back().is_none_or(rested) {
            self.0.push_back((now, position));
        }
        // The youngest of those that are old enough stays.
        while self.0.get(1).is_some_and(|it| is_old(it, now)) {
            self.0.pop_front();
        }
    }

    /// How far it had some seconds ago; none if nobody noted it.
    pub(super) fn some_time_ago(&self, now: Clock) -> Option<u64> {
        let mut old = self.0.iter().filter(|it| is_old(it, now));
        old.next_back().map(|(_, position)| *position)
    }
}

fn is_old((at, _): &(Clock, u64), now: Clock) -> bool {
    now.shortest_since(*at) >= AGO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Clock {
        let both = Duration::from_millis(millis);
        Clock {
            boottime: both,
            raw: both,
        }
    }

    #[test]
    fn what_was_written_some_seconds_ago_is_known_once_so_long_was_looked() {
        let mut written = Written::default();
        let mut ago = |position: Option<u64>, millis: u64| {
            written.note(position, at(millis));
            written.some_time_ago(at(millis))
        };
        for (millis, position) in [(0, 10), (100, 11), (1000, 20), (2000, 30)] {
            assert_eq!(ago(Some(position), millis), None);
        }
        assert_eq!(ago(Some(40), 3000), Some(10));
        assert_eq!(ago(Some(41), 4100), Some(20));
        assert_eq!(ago(None, 4200), None);
        assert_eq!(ago(Some(50), 4300), None, "it begins anew");
    }
}
