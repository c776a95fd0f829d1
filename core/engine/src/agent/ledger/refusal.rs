//! What was refused, for people.

use std::collections::VecDeque;

use interlock_model::ids::{AttemptId, Term};
use interlock_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The most refusals that are remembered: enough to explain yesterday, too few to fill a disk.
pub const MAX_REFUSALS: usize = 256;

/// Something was asked for and not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Counts up from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// In which term it was asked for.
    pub term: Term,
    /// Which attempt.
    pub id: AttemptId,
    /// What was asked for, in one line.
    pub what: String,
    /// Why not.
    pub reason: String,
}

/// The newest refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Ascending by number.
    newest: VecDeque<Refusal>,
}

/// A refusal is new, and perhaps the oldest one is dropped.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) new: Refusal,
    pub(super) dropped: Option<u64>,
}

impl Refusals {
    /// Takes one from a record, in any order.
    pub(super) fn restore(&mut self, refusal: Refusal) {
        let place = self
            .newest
            .partition_point(|known| known.number < refusal.number);
        self.newest.insert(place, refusal);
    }

    pub(super) fn push(
        &mut self,
        at: Timestamp,
        term: Term,
        id: AttemptId,
        what: &str,
        reason: &str,
    ) -> Change {
        let number = self.newest.back().map_or(1, |last| last.number + 1);
        let dropped = if self.newest.len() >= MAX_REFUSALS {
            self.newest.pop_front()
        } else {
            None
        };
        let new = Refusal {
            number,
            at,
            term,
            id,
            what: what.to_owned(),
            reason: reason.to_owned(),
        };
        self.newest.push_back(new.clone());
        Change {
            new,
            dropped: dropped.map(|refusal| refusal.number),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Refusal> {
        self.newest.iter()
    }
}
