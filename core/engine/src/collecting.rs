//! Which part of a log is new to who collects it.
//!
//! A log file is known again by what it is, not by what it is called: rotation renames it, or copies it and cuts the
//! original. What is remembered of a file that was taken ([`Taken`]) is compared with what is there now ([`Seen`]):
//!
//! | what happened | seen | is |
//! |---|---|---|
//! | nothing | same inode, same length | nothing new |
//! | lines were added | same inode, longer, same head | new from where it was left |
//! | renamed | same inode under another name | the same as before, whatever it is called |
//! | copied, and the original cut | the copy: same head; the original: shorter, or another head | the copy is the file that was taken; the original is new |
//! | replaced, and its inode used again | same inode, another head | new as a whole |
//!
//! The **head** is the digest of the first bytes, at most as many as fit. While a file is shorter than that its head changes
//! as it grows; then only who has the file can compare, with the head that was taken: [`Next::From`] says which, and a
//! reader that finds another head begins at the first byte.

pub mod daily;

use serde::{Deserialize, Serialize};

/// The first bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many.
    pub bytes: u32,
    /// Their SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// A file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its inode.
    pub inode: u64,
    /// Its length.
    pub bytes: u64,
    /// Its head.
    pub head: Head,
}

/// A file as it was when the last of it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its inode.
    pub inode: u64,
    /// Everything before this byte was taken.
    pub through: u64,
    /// Its head.
    pub head: Head,
}

/// What is new of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is this one of those that were taken.
    Nothing {
        /// Its place among them.
        of: usize,
    },
    /// What comes behind this one of those that were taken, if it still has its head.
    From {
        /// Its place among them.
        of: usize,
    },
    /// All of it.
    Whole,
}

/// What is new of a file, to who has taken these of the same log.
#[must_use]
pub fn next(taken: &[Taken], seen: &Seen) -> Next {
    let known = |is: &dyn Fn(&Taken) -> bool| {
        // The latest first: an inode may have been several files.
        taken
            .iter()
            .rposition(|taken| taken.through <= seen.bytes && is(taken))
    };
    let found = known(&|taken| taken.inode == seen.inode && taken.may_be(seen))
        .or_else(|| known(&|taken| taken.is_copied_to(seen)));
    match found {
        None => Next::Whole,
        Some(of) if taken[of].through == seen.bytes && taken[of].head == seen.head => {
            Next::Nothing { of }
        }
        Some(of) => Next::From { of },
    }
}

impl Taken {
    /// Does nothing speak against the head? Heads of different lengths cannot be compared here, and one that has become
    /// shorter is another.
    fn may_be(&self, seen: &Seen) -> bool {
        self.head == seen.head || self.head.bytes < seen.head.bytes
    }

    /// Is that this file in another inode? An empty file is like every other one, and says nothing.
    fn is_copied_to(&self, seen: &Seen) -> bool {
        self.head.bytes > 0 && self.head == seen.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of a head as these files have: eight bytes.
    fn head(text: &str) -> Head {
        let first: String = text.chars().take(8).collect();
        Head {
            bytes: first.len() as u32,
            sha256: first,
        }
    }

    fn seen(inode: u64, text: &str) -> Seen {
        Seen {
            inode,
            bytes: text.len() as u64,
            head: head(text),
        }
    }

    fn taken(inode: u64, text: &str) -> Taken {
        Taken {
            inode,
            through: text.len() as u64,
            head: head(text),
        }
    }

    #[test]
    fn what_was_taken_is_not_taken_again_whatever_it_is_called() {
        let before = [taken(1, "line one\n"), taken(2, "other one\n")];
        assert_eq!(
            next(&before, &seen(1, "line one\n")),
            Next::Nothing { of: 0 }
        );
        assert_eq!(
            next(&before, &seen(2, "other one\nand more\n")),
            Next::From { of: 1 }
        );
        assert_eq!(next(&before, &seen(3, "third one\n")), Next::Whole);
    }

    #[test]
    fn a_copy_is_the_file_that_was_taken_and_the_original_that_was_cut_is_another() {
        let before = [taken(1, "line one\n")];
        assert_eq!(
            next(&before, &seen(2, "line one\nline two\n")),
            Next::From { of: 0 }
        );
        assert_eq!(next(&before, &seen(1, "")), Next::Whole);
        assert_eq!(next(&before, &seen(1, "x\n")), Next::Whole);
        // Cut, and already longer than it was.
        assert_eq!(next(&before, &seen(1, "entirely new\n")), Next::Whole);
    }

    #[test]
    fn a_short_file_that_grew_is_left_to_who_can_compare() {
        let before = [taken(1, "a\n")];
        assert_eq!(
            next(&before, &seen(1, "a\nb\nc\nd\n")),
            Next::From { of: 0 }
        );
        assert_eq!(next(&before, &seen(2, "a\nb\nc\nd\n")), Next::Whole);
    }

    #[test]
    fn empty_files_are_not_taken_for_each_other() {
        let before = [taken(1, "")];
        assert_eq!(next(&before, &seen(1, "")), Next::Nothing { of: 0 });
        assert_eq!(next(&before, &seen(2, "")), Next::Whole);
    }

    #[test]
    fn of_an_inode_that_was_used_again_the_latest_file_counts() {
        let before = [taken(1, "old file\n"), taken(1, "new file\n")];
        assert_eq!(
            next(&before, &seen(1, "new file\nmore\n")),
            Next::From { of: 1 }
        );
    }
}
