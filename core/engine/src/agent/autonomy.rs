//! What an agent goes on doing when nobody above speaks.
//!
//! **Silence from above is not an instruction** (invariant I6). An agent that hears no coordinator goes on observing and
//! guarding by the last assignment that it took, which it keeps on disk; it starts and stops nothing for the silence's
//! sake. That is why nothing that this machine returns can name an instance: it tells whether to take an assignment,
//! and since when the agent has been alone, and that is all there is to decide.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::ids::{Generation, Term};
use serde::{Deserialize, Serialize};

use super::Peer;

/// The age of an assignment: a newer term wins, within a term the newer generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Mark {
    /// The term in which it was made.
    pub term: Term,
    /// The spec that it was made from.
    pub generation: Generation,
}

/// A change that people and logs are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The last coordinator went silent.
    Alone,
    /// A coordinator is heard again, after this long.
    Heard(Duration),
}

/// Who is heard, and by what the agent works.
#[derive(Debug)]
pub struct Autonomy {
    assignment: Option<Mark>,
    heard: BTreeSet<Peer>,
    alone_since: Duration,
}

impl Autonomy {
    /// An agent that has just started, with the assignment that it kept. `now` is monotonic.
    #[must_use]
    pub fn new(assignment: Option<Mark>, now: Duration) -> Self {
        Self {
            assignment,
            heard: BTreeSet::new(),
            alone_since: now,
        }
    }

    /// An assignment arrived: is it to be taken? The same mark again is: a coordinator repeats it to be sure.
    /// `highest` is the highest term that the ledger has obeyed.
    pub fn take(&mut self, offered: Mark, highest: Term) -> bool {
        let newest = offered.term >= highest && self.assignment.is_none_or(|held| offered >= held);
        if newest {
            self.assignment = Some(offered);
        }
        newest
    }

    /// A coordinator's session stands.
    pub fn heard(&mut self, peer: Peer, now: Duration) -> Option<Change> {
        let was_alone = self.heard.is_empty();
        self.heard.insert(peer);
        was_alone.then(|| Change::Heard(now.saturating_sub(self.alone_since)))
    }

    /// A coordinator's session ended.
    pub fn lost(&mut self, peer: Peer, now: Duration) -> Option<Change> {
        let last = self.heard.remove(&peer) && self.heard.is_empty();
        last.then(|| {
            self.alone_since = now;
            Change::Alone
        })
    }

    /// Since when no coordinator is heard; none while one is.
    #[must_use]
    pub fn alone_since(&self) -> Option<Duration> {
        self.heard.is_empty().then_some(self.alone_since)
    }

    /// By what the agent works; none before its first assignment.
    #[must_use]
    pub fn assignment(&self) -> Option<Mark> {
        self.assignment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(term: u64, generation: u64) -> Mark {
        Mark {
            term: Term(term),
            generation: Generation(generation),
        }
    }

    #[test]
    fn silence_changes_nothing_but_what_is_said_about_it() {
        let mut autonomy = Autonomy::new(Some(mark(3, 7)), Duration::ZERO);
        let (one, two) = (Peer(1), Peer(2));
        assert_eq!(
            autonomy.heard(one, Duration::from_secs(2)),
            Some(Change::Heard(Duration::from_secs(2)))
        );
        assert_eq!(autonomy.heard(two, Duration::from_secs(3)), None);
        assert_eq!(autonomy.lost(one, Duration::from_secs(4)), None);
        assert_eq!(autonomy.alone_since(), None);
        assert_eq!(
            autonomy.lost(two, Duration::from_secs(5)),
            Some(Change::Alone)
        );
        assert_eq!(
            autonomy.lost(two, Duration::from_secs(6)),
            None,
            "said once"
        );
        assert_eq!(autonomy.alone_since(), Some(Duration::from_secs(5)));
        assert_eq!(autonomy.assignment(), Some(mark(3, 7)));
    }

    #[test]
    fn the_newest_term_then_the_newest_generation_is_taken_and_nothing_older() {
        let mut autonomy = Autonomy::new(None, Duration::ZERO);
        assert!(autonomy.take(mark(3, 7), Term(3)));
        assert!(autonomy.take(mark(3, 7), Term(3)), "repeated");
        assert!(!autonomy.take(mark(3, 6), Term(3)));
        assert!(!autonomy.take(mark(2, 9), Term(3)));
        assert!(
            autonomy.take(mark(4, 1), Term(4)),
            "a new leader may have gone back"
        );
        assert!(
            !autonomy.take(mark(4, 2), Term(5)),
            "the ledger has obeyed a newer term"
        );
        assert_eq!(autonomy.assignment(), Some(mark(4, 1)));
    }
}
