//! How one server's log stands to another's.

use std::fmt;

use super::{History, Lsn, Timeline};

/// Which database cluster a server holds: the number that initdb(1) gave it and all its copies have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a server stands: all that has to be known of it for a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The database cluster.
    pub system: SystemId,
    /// Its timeline, and where that comes from.
    pub history: History,
    /// The end of its log.
    pub end: Lsn,
}

/// What a comparison of two servers has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// How this one's log stands to the other's.
    pub found: Divergence,
    /// Is the other one a primary? What a standby has is not yet what all will have: it may never be promoted.
    pub leads: bool,
}

impl Standing {
    /// Do the numbers of timelines alone tell where this one's log leaves the other's?
    pub(super) fn is_told_apart_by_number(&self, theirs: &Self) -> bool {
        let by_mark = self.history.common(self.end, &theirs.history, theirs.end);
        let by_number = self
            .history
            .common_by_number(self.end, &theirs.history, theirs.end);
        by_mark == by_number
    }
}

/// How a server's log stands to that of the server that it is to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divergence {
    /// It has nothing that the other has not: it can follow.
    None,
    /// It has what the other will never have.
    Diverged(Fork),
    /// Both are on one timeline, and the other has less. Nobody can tell what the other will write there: it must not be
    /// followed before it was promoted or has caught up. Seen when the other is a standby that nobody has promoted yet,
    /// or has lost its newest writes (`fsync = off`, a disk that was put back).
    Ahead {
        /// The end of the other's log.
        at: Lsn,
        /// What the other lacks.
        bytes: u64,
    },
    /// The other is a copy of something else.
    AnotherSystem {
        /// This one.
        own: SystemId,
        /// The other.
        theirs: SystemId,
    },
}

/// What a server has that another will never have: its log from `at` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The timeline that the server is on.
    pub timeline: Timeline,
    /// Up to where both have the same.
    pub at: Lsn,
    /// The end of the server's own log.
    pub end: Lsn,
}

impl Fork {
    /// What is lost if the server follows the other.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.end.bytes_after(self.at)
    }
}

impl Divergence {
    /// Can it not follow as it is?
    #[must_use]
    pub fn is_of_another_line(&self) -> bool {
        match self {
            Self::Diverged(_) | Self::AnotherSystem { .. } => true,
            Self::None | Self::Ahead { .. } => false,
        }
    }

    /// Compares. `own` must have been looked at before `theirs`, or a server that follows well seems to be ahead.
    #[must_use]
    pub fn between(own: &Standing, theirs: &Standing) -> Self {
        if own.system != theirs.system {
            return Self::AnotherSystem {
                own: own.system,
                theirs: theirs.system,
            };
        }
        let common = own.history.common(own.end, &theirs.history, theirs.end);
        // Without a common timeline nothing is shared but the beginning.
        let common = common.unwrap_or_default();
        if own.end <= common {
            Self::None
        } else if own.history == theirs.history {
            Self::Ahead {
                at: theirs.end,
                bytes: own.end.bytes_after(common),
            }
        } else {
            Self::Diverged(Fork {
                timeline: own.history.timeline(),
                at: common,
                end: own.end,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(timeline: u32, history: &str, end: u64) -> Standing {
        Standing {
            system: SystemId(7),
            history: History::parse(Timeline(timeline), history).unwrap(),
            end: Lsn(end),
        }
    }

    #[test]
    fn a_crashed_primary_has_diverged_by_what_its_successor_never_got() {
        let successor = standing(2, "1\t0/100\tx", 0x500);
        let old = |end| Divergence::between(&standing(1, "", end), &successor);
        assert_eq!(old(0x80), Divergence::None);
        assert_eq!(old(0x100), Divergence::None);
        let Divergence::Diverged(fork) = old(0x160) else {
            panic!("{:?}", old(0x160))
        };
        assert_eq!(
            (fork.at, fork.bytes(), fork.timeline),
            (Lsn(0x100), 0x60, Timeline(1))
        );
    }

    #[test]
    fn on_one_timeline_a_server_can_be_ahead_but_has_not_diverged() {
        let standby = standing(1, "", 0x100);
        let found = Divergence::between(&standing(1, "", 0x130), &standby);
        let ahead = Divergence::Ahead {
            at: Lsn(0x100),
            bytes: 0x30,
        };
        assert_eq!(found, ahead);
    }

    #[test]
    fn two_promotions_of_one_standby_have_diverged_although_their_timelines_have_one_number() {
        let found = Divergence::between(
            &standing(2, "1\t0/100\tx", 0x300),
            &standing(2, "1\t0/200\tx", 0x900),
        );
        assert!(
            matches!(found, Divergence::Diverged(fork) if fork.at == Lsn(0x100)),
            "{found:?}"
        );
    }

    #[test]
    fn another_system_is_another_system_whatever_its_positions() {
        let mut other = standing(1, "", 0x100);
        other.system = SystemId(8);
        let found = Divergence::between(&standing(1, "", 0x10), &other);
        assert!(
            matches!(found, Divergence::AnotherSystem { .. }),
            "{found:?}"
        );
    }
}
