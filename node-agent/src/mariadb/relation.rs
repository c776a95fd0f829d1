//! What the data of a server are to those of another one, without any I/O.

use super::facts::Facts;
use super::gtid::Gtid;

/// What the data of a server are to those of one that it is to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// It has none.
    Nothing,
    /// A beginning of them, or all: nothing is lost.
    Beginning,
    /// They part: it has transactions that the other one never got.
    Parted {
        /// The number of the last one that both have.
        at: u64,
        /// How many it has beyond.
        transactions: u64,
    },
    /// They have nothing in common, or are of more than one domain: nobody can tell.
    Unrelated,
}

impl Relation {
    /// Of a server's own facts to those of another one.
    #[must_use]
    pub fn of(own: &Facts, other: &Facts) -> Self {
        let (mine, theirs) = (own.all(), other.all());
        if mine.is_empty() {
            return Self::Nothing;
        }
        let foreign = mine.iter().chain(theirs.iter());
        if own.domain != other.domain || foreign.into_iter().any(|it| it.domain != own.domain) {
            return Self::Unrelated;
        }
        // Numbers rise through the domain, whoever writes: of each server the other one has those up to its own last one. And
        // whoever has a transaction has all before it, also those of servers that its log has never had anything of.
        let known = |gtid: &Gtid| theirs.of(gtid.domain, gtid.server);
        let both = mine
            .iter()
            .filter_map(|gtid| Some(known(&gtid)?.min(gtid.number)));
        let shared = both.max();
        let lacks = mine.iter().any(|gtid| match known(&gtid) {
            Some(known) => known < gtid.number,
            None => shared.is_none_or(|shared| shared < gtid.number),
        });
        let last = mine.last_of(own.domain).map_or(0, |gtid| gtid.number);
        match shared {
            _ if !lacks => Self::Beginning,
            None => Self::Unrelated,
            Some(at) => Self::Parted {
                at,
                transactions: last.saturating_sub(at),
            },
        }
    }

    /// Would following lose nothing?
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Nothing | Self::Beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(history: &str, applied: &str) -> Facts {
        Facts {
            read_only: true,
            server_id: 1,
            domain: 0,
            written: history.parse().unwrap(),
            history: history.parse().unwrap(),
            applied: applied.parse().unwrap(),
            sources: Vec::new(),
        }
    }

    #[test]
    fn a_former_primary_follows_only_one_that_has_all_that_it_has() {
        let other = server("0-1-100,0-2-157", "0-1-100");
        for (own, relation) in [
            (server("", ""), Relation::Nothing),
            (server("0-1-100", ""), Relation::Beginning),
            (server("0-1-80", ""), Relation::Beginning),
            (server("0-1-100,0-2-157", "0-2-157"), Relation::Beginning),
            (
                server("0-1-103", ""),
                Relation::Parted {
                    at: 100,
                    transactions: 3,
                },
            ),
            // Somebody wrote to a replica, and its server is one that the primary has never heard of.
            (
                server("0-1-100,0-2-150,0-3-151", "0-2-150"),
                Relation::Parted {
                    at: 150,
                    transactions: 1,
                },
            ),
            (server("0-7-5", ""), Relation::Unrelated),
            (server("0-1-100,4-1-1", ""), Relation::Unrelated),
        ] {
            assert_eq!(Relation::of(&own, &other), relation, "{own:?}");
        }
    }

    #[test]
    fn a_longer_number_of_another_server_proves_nothing() {
        // The new primary is far ahead by its numbers, and never got the last one of the old one.
        let other = server("0-1-100,0-2-900", "0-1-100");
        let own = server("0-1-101", "");
        let parted = Relation::Parted {
            at: 100,
            transactions: 1,
        };
        assert_eq!(Relation::of(&own, &other), parted);
        assert!(!Relation::of(&own, &other).is_safe());
    }

    #[test]
    fn what_a_copy_was_filled_with_is_known_though_its_log_has_none_of_it() {
        let other = server("0-3-150", "0-1-100");
        for own in ["0-1-100", "0-2-57,0-1-100"] {
            assert_eq!(
                Relation::of(&server(own, ""), &other),
                Relation::Beginning,
                "{own}"
            );
        }
        let parted = Relation::of(&server("0-1-100,0-2-101", ""), &other);
        assert!(!parted.is_safe(), "{parted:?}");
    }
}
