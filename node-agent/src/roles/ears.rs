//! Whether somebody else is on the networks of a role's addresses: each of their interfaces has received something lately.
//!
//! A carrier says that a cable is plugged in at both ends, and nothing of what is behind the other one.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_engine::lease::Clock;

/// What was received so long ago says nothing any more.
const LATELY: Duration = Duration::from_secs(10);

/// What each interface had received at the last look; none if the kernel did not tell.
pub(crate) type Received = BTreeMap<String, Option<u64>>;

/// What was heard by interfaces.
#[derive(Debug, Default)]
pub(super) struct Ears {
    received: Received,
    /// When each was last seen to have received more than before.
    heard: BTreeMap<String, Clock>,
}

impl Ears {
    /// Interfaces were looked at.
    pub(super) fn look(&mut self, received: Received, now: Clock) {
        self.heard.retain(|name, _| received.contains_key(name));
        for (name, count) in &received {
            let before = self.received.get(name).copied().flatten();
            if before.zip(*count).is_some_and(|(before, now)| now > before) {
                self.heard.insert(name.clone(), now);
            }
        }
        self.received = received;
    }

    /// Has each of them received something lately?
    pub(super) fn hear(&self, now: Clock) -> bool {
        let lately = |at: &Clock| now.longest_since(*at) < LATELY;
        let mut names = self.received.keys();
        names.all(|name| self.heard.get(name).is_some_and(lately))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Clock {
        let both = Duration::from_secs(seconds);
        Clock {
            boottime: both,
            raw: both,
        }
    }

    fn received(counts: &[(&str, Option<u64>)]) -> Received {
        let counts = counts.iter();
        counts.map(|(name, it)| ((*name).to_owned(), *it)).collect()
    }

    #[test]
    fn what_rose_lately_on_each_interface_is_heard_and_what_nobody_tells_is_not() {
        let mut ears = Ears::default();
        assert!(
            ears.hear(at(0)),
            "it has no address that clients could come by"
        );
        ears.look(received(&[("eth0", Some(7)), ("eth1", Some(7))]), at(1));
        assert!(!ears.hear(at(1)), "that may be of any time");
        ears.look(received(&[("eth0", Some(8)), ("eth1", Some(7))]), at(2));
        assert!(!ears.hear(at(2)), "eth1 hears nobody");
        ears.look(received(&[("eth0", Some(8)), ("eth1", Some(9))]), at(3));
        assert!(ears.hear(at(3)));
        assert!(ears.hear(at(11)));
        assert!(!ears.hear(at(12)), "eth0 was heard ten seconds ago");
        ears.look(received(&[("eth0", None), ("eth1", Some(10))]), at(13));
        ears.look(received(&[("eth0", Some(99)), ("eth1", Some(11))]), at(14));
        assert!(!ears.hear(at(14)), "how many it was before, nobody knows");
    }
}
