//! From the tree of the file to a spec.
//!
//! | file | reads |
//! |---|---|
//! | `root` | the whole file, `control`, `hosts` |
//! | `nodes`, `power`, `services`, `checks`, `gates` | the section of that name |
//! | `dependencies` | `requires` and `after` of a service |
//! | `parts` | `manager` and `parts` of a service |
//! | `ocf` | `ocf` of a part |
//! | `members` | `balancer` and `member_of` of a service |
//! | `files` | `files` of a service |
//! | `section`, `field` | a map with known keys, and one value in it |
//!
//! A reader always returns a value. What it could not read it has reported, and put something harmless in its place,
//! so that the rest is read as well and no problem is reported twice. The value of a file with an error is thrown away.

mod checks;
mod dependencies;
mod failover;
mod field;
mod files;
mod gates;
mod members;
mod nodes;
mod ocf;
mod parts;
mod power;
mod root;
mod section;
mod services;

use std::cell::Cell;

pub(super) use checks::{ends_in_a_number, is_host};
pub(super) use field::{DURATION_PATTERN, THRESHOLD_PATTERN};
pub(super) use root::{ROOT, spec};

use super::problem::{Problem, Report};
use super::range::Range;
use super::yaml::Place;
use field::Field;
use section::Section;

/// The most names that all ranges of a file may stand for together: 200 services on 1,000 nodes are two fifths
/// of it.
pub const MAX_NAMES: usize = 500_000;

/// The most nodes of a cluster.
pub const MAX_NODES: usize = 10_000;

/// The most bytes that ranges of nodes may unfold to: each node of a range has what is written below it for its own.
/// 1,000 nodes with 30 KB each, where a kilobyte is much.
const MAX_UNFOLDED: usize = 32 << 20;

/// What every reader needs.
#[derive(Debug)]
pub(super) struct Reader<'r> {
    report: &'r Report,
    /// How many names ranges may still stand for; none once that was exceeded.
    names_left: Cell<Option<usize>>,
    /// How many bytes ranges of nodes may still unfold to.
    bytes_left: Cell<usize>,
}

impl<'r> Reader<'r> {
    /// A reader that reports there.
    pub(super) fn new(report: &'r Report) -> Self {
        Self {
            report,
            names_left: Cell::new(Some(MAX_NAMES)),
            bytes_left: Cell::new(MAX_UNFOLDED),
        }
    }

    /// Takes so many copies of so many bytes from what ranges of nodes may unfold to, if that much is left.
    fn may_unfold(&self, bytes: usize, copies: usize) -> bool {
        let left = bytes
            .checked_mul(copies)
            .and_then(|taken| self.bytes_left.get().checked_sub(taken));
        self.bytes_left.set(left.unwrap_or_default());
        left.is_some()
    }

    /// The texts that a text with or without a range stands for; none, with a problem, if it is a bad range.
    fn expand(&self, text: &str, at: Place, path: &str) -> Vec<String> {
        let range = match Range::parse(text) {
            Ok(None) => return vec![text.to_owned()],
            Ok(Some(range)) => range,
            Err(error) => {
                let what = format!("{} is not a range: {error}", super::problem::quoted(text));
                let problem = Problem::error(what).at(at).path(path);
                self.report
                    .add(problem.suggest("write ranges as jb[1-6], jb[01-12] or jb[1-3,7]"));
                return Vec::new();
            }
        };
        // Once it is spent, that is said once: whatever comes next would be too much as well.
        let Some(left) = self.names_left.get() else {
            return Vec::new();
        };
        let left = left.checked_sub(range.len());
        self.names_left.set(left);
        if left.is_some() {
            return range.texts().collect();
        }
        let what = format!("the ranges up to here stand for more than {MAX_NAMES} names");
        let problem = Problem::error(what).at(at).path(path);
        self.report
            .add(problem.suggest("name each node once per service"));
        Vec::new()
    }
}
