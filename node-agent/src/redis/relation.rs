//! What the data of a server are to those of another one, without any I/O.

use super::facts::{Data, Facts};

/// What the data of a server are to those of one that it is to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// It has none.
    Nothing,
    /// A beginning of them, or all: nothing is lost.
    Beginning,
    /// They part: it has so many bytes of its stream that the other one never got.
    Parted {
        /// Where.
        at: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// It has more of the same line: the other one may not be all that it was.
    Ahead {
        /// How many bytes.
        bytes: u64,
    },
    /// Of lines that do not know each other: nobody can tell.
    Unrelated,
}

impl Relation {
    /// Of a server's own facts to those of another one, which is primary.
    #[must_use]
    pub fn of(own: &Facts, other: &Facts) -> Self {
        let Some(data) = own.data() else {
            return match own.empty && !own.loading {
                true => Self::Nothing,
                false => Self::Unrelated,
            };
        };
        if data.line == other.line {
            return match other.data() {
                Some(theirs) if theirs.offset < data.offset => Self::Ahead {
                    bytes: data.offset - theirs.offset,
                },
                // One that counts nothing is where this one was filled, or beyond.
                Some(_) | None => Self::Beginning,
            };
        }
        let both = |line: &str, before: &Option<(String, u64)>| {
            let before = before.as_ref().filter(|(name, _)| name == line);
            before.map(|(_, shared)| *shared)
        };
        // The other one was promoted from this one's line, or this one from the other's.
        let shared = both(&data.line, &other.before).or_else(|| both(&other.line, &own.before));
        match shared {
            None if own.empty => Self::Nothing,
            None => Self::Unrelated,
            Some(shared) if data.offset <= shared => Self::Beginning,
            Some(shared) => Self::Parted {
                at: shared,
                bytes: data.offset - shared,
            },
        }
    }

    /// Would following lose nothing that anybody can miss?
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Nothing | Self::Beginning)
    }
}

impl Data {
    /// Is it of this line, or of the one that this goes on from, so that its offset says something?
    pub(crate) fn is_of(&self, line: &str) -> bool {
        self.line == line
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Primary, Replica, Role};
    use super::*;

    fn replica(line: &str, offset: Option<u64>, before: Option<(&str, u64)>) -> Facts {
        Facts {
            config_file: String::new(),
            run_id: String::new(),
            loading: false,
            empty: offset.is_none(),
            line: line.to_owned(),
            before: before.map(|(line, at)| (line.to_owned(), at)),
            role: Role::Replica(Replica {
                host: String::new(),
                port: 1,
                linked: false,
                copying: false,
                offset,
                unapplied: 0,
                read_only: true,
            }),
        }
    }

    fn primary(line: &str, offset: u64, before: Option<(&str, u64)>) -> Facts {
        Facts {
            role: Role::Primary(Primary {
                offset: Some(offset),
                replicas: Vec::new(),
            }),
            ..replica(line, None, before)
        }
    }

    #[test]
    fn a_former_primary_follows_only_what_goes_on_from_all_that_it_has() {
        let promoted = primary("b", 200, Some(("a", 100)));
        for (own, meant) in [
            (replica("b", Some(150), None), Relation::Beginning),
            (replica("b", Some(201), None), Relation::Ahead { bytes: 1 }),
            (replica("a", Some(100), None), Relation::Beginning),
            (
                replica("a", Some(130), None),
                Relation::Parted { at: 100, bytes: 30 },
            ),
            (replica("z", Some(10), None), Relation::Unrelated),
            (replica("z", None, None), Relation::Nothing),
        ] {
            assert_eq!(Relation::of(&own, &promoted), meant, "{own:?}");
        }
    }

    #[test]
    fn one_that_was_promoted_itself_parts_where_it_was() {
        let other = primary("a", 500, None);
        let own = replica("c", Some(120), Some(("a", 100)));
        let parted = Relation::Parted { at: 100, bytes: 20 };
        assert_eq!(Relation::of(&own, &other), parted);
        let silent = replica("c", Some(100), Some(("a", 100)));
        assert_eq!(Relation::of(&silent, &other), Relation::Beginning);
    }

    #[test]
    fn data_of_which_nobody_knows_how_far_they_go_are_not_taken_for_none() {
        let full = Facts {
            empty: false,
            ..replica("a", None, None)
        };
        let other = primary("a", 500, None);
        assert_eq!(Relation::of(&full, &other), Relation::Unrelated);
        assert!(!Relation::of(&full, &other).is_safe());
    }
}
