//! Conditional transactions: conditions, writes, outcome, and the limits that every store enforces.

use std::fmt;
use std::sync::Arc;

use super::{Entry, Key, Prefix, Revision};

/// The limits of one transaction. They are etcd's defaults less what the etcd store adds to each
/// transaction; the embedded store enforces them too, so that nothing is written that would be
/// refused after a move to etcd.
pub mod limits {
    /// Most conditions, and most writes, of one transaction. etcd takes 128 of each
    /// (`--max-txn-ops`; it counts the two lists apart); the rest is for the store's own.
    pub const MAX_OPS: usize = 120;

    /// Most bytes of one transaction. etcd takes 1.5 MiB (`--max-request-bytes`); 64 KiB of it are
    /// for the prefix that the etcd store puts before each key, and for its own conditions.
    pub const MAX_BYTES: usize = 3 * 512 * 1024 - 64 * 1024;

    /// What each operation is taken to cost on the wire beside keys and value: message tags,
    /// lengths and numbers of a compare and of its read for the conflict report. Rounded up.
    pub const BYTES_PER_OP: usize = 64;
}

/// Something that must be true for a transaction to be committed.
#[derive(Clone, PartialEq, Eq)]
pub enum Condition {
    /// The key has a value.
    Exists(Key),
    /// The key has none.
    Absent(Key),
    /// The key was last put at exactly this revision.
    ModifiedAt(Key, Revision),
    /// The key has exactly this value.
    ValueIs(Key, Arc<[u8]>),
}

impl Condition {
    /// The key that the condition is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Exists(key)
            | Self::Absent(key)
            | Self::ModifiedAt(key, _)
            | Self::ValueIs(key, _) => key,
        }
    }

    /// Whether the condition is true of the key's present state.
    #[must_use]
    pub fn holds(&self, current: Option<&Entry>) -> bool {
        match self {
            Self::Exists(_) => current.is_some(),
            Self::Absent(_) => current.is_none(),
            Self::ModifiedAt(_, revision) => current.is_some_and(|e| e.modified == *revision),
            Self::ValueIs(_, value) => current.is_some_and(|e| e.value == *value),
        }
    }

    fn bytes(&self) -> usize {
        let value = match self {
            Self::ValueIs(_, value) => value.len(),
            Self::Exists(_) | Self::Absent(_) | Self::ModifiedAt(_, _) => 0,
        };
        // The key counts twice: etcd gets it in the compare and in the read for the conflict.
        2 * self.key().as_str().len() + value + limits::BYTES_PER_OP
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(key) => write!(f, "{key} exists"),
            Self::Absent(key) => write!(f, "{key} is absent"),
            Self::ModifiedAt(key, revision) => write!(f, "{key} is as of revision {revision}"),
            Self::ValueIs(key, value) => write!(f, "{key} has given {} bytes", value.len()),
        }
    }
}

impl fmt::Debug for Condition {
    /// As [`Display`](fmt::Display): values are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A change that a transaction makes.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets the key's value.
    Put(Key, Arc<[u8]>),
    /// Removes the key; nothing happens if it is not there.
    Delete(Key),
    /// Removes everything below the prefix.
    DeleteBelow(Prefix),
}

impl Write {
    fn bytes(&self) -> usize {
        let content = match self {
            Self::Put(key, value) => key.as_str().len() + value.len(),
            Self::Delete(key) => key.as_str().len(),
            Self::DeleteBelow(prefix) => 2 * prefix.as_str().len(),
        };
        content + limits::BYTES_PER_OP
    }
}

impl fmt::Debug for Write {
    /// Shows a value's length only: values are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, value) => write!(f, "put {key} ({} bytes)", value.len()),
            Self::Delete(key) => write!(f, "delete {key}"),
            Self::DeleteBelow(prefix) => write!(f, "delete below {prefix}"),
        }
    }
}

/// Writes that happen together, if all conditions hold at that moment, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Checked in this order; the first that fails is the one reported.
    pub conditions: Vec<Condition>,
    /// No key may be written twice, by name or through its prefix: etcd refuses that.
    pub writes: Vec<Write>,
}

impl Transaction {
    /// A transaction without conditions and writes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: &Key, value: impl Into<Arc<[u8]>>) -> Self {
        self.writes.push(Write::Put(key.clone(), value.into()));
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: &Key) -> Self {
        self.writes.push(Write::Delete(key.clone()));
        self
    }

    /// Adds a delete of everything below `prefix`.
    #[must_use]
    pub fn delete_below(mut self, prefix: &Prefix) -> Self {
        self.writes.push(Write::DeleteBelow(prefix.clone()));
        self
    }

    /// The size that counts against [`limits::MAX_BYTES`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let conditions: usize = self.conditions.iter().map(Condition::bytes).sum();
        conditions + self.writes.iter().map(Write::bytes).sum::<usize>()
    }

    /// Checks what every store must refuse. Stores call this first.
    ///
    /// # Errors
    /// When the transaction is over a limit or writes a key twice.
    pub fn check(&self) -> Result<(), InvalidTransaction> {
        let ops = self.conditions.len().max(self.writes.len());
        if ops > limits::MAX_OPS {
            return Err(InvalidTransaction::TooManyOps { ops });
        }
        let bytes = self.bytes();
        if bytes > limits::MAX_BYTES {
            return Err(InvalidTransaction::TooLarge { bytes });
        }
        self.check_overlap()
    }

    fn check_overlap(&self) -> Result<(), InvalidTransaction> {
        let mut written: Vec<&Key> = Vec::new();
        let mut cleared: Vec<&Prefix> = Vec::new();
        for write in &self.writes {
            match write {
                Write::Put(key, _) | Write::Delete(key) => written.push(key),
                Write::DeleteBelow(prefix) => cleared.push(prefix),
            }
        }
        written.sort_unstable();
        let twice = written.windows(2).find(|pair| pair[0] == pair[1]);
        let under_cleared = || {
            let covers = |key: &&&Key| cleared.iter().any(|prefix| prefix.contains(key));
            written.iter().find(covers)
        };
        match twice.map(|pair| &pair[0]).or_else(under_cleared) {
            Some(&key) => Err(InvalidTransaction::WrittenTwice { key: key.clone() }),
            None => Ok(()),
        }
    }
}

/// A transaction that no store accepts, whatever it holds. The caller's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// More than [`limits::MAX_OPS`] conditions or writes.
    #[error(
        "{ops} operations in one transaction, at most {} are allowed: split it",
        limits::MAX_OPS
    )]
    TooManyOps {
        /// The length of the longer list.
        ops: usize,
    },
    /// More than [`limits::MAX_BYTES`].
    #[error(
        "a transaction of {bytes} bytes, at most {} are allowed: split it",
        limits::MAX_BYTES
    )]
    TooLarge {
        /// What [`Transaction::bytes`] says.
        bytes: usize,
    },
    /// Two writes touch one key.
    #[error("{key} is written twice in one transaction: write each key once")]
    WrittenTwice {
        /// The key.
        key: Key,
    },
}

/// How a transaction ended that the store could decide.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a conflict means that nothing was written"]
pub enum Outcome {
    /// All conditions held; every write is durable.
    Committed {
        /// The revision of the writes, or, if nothing changed, the store's present one.
        revision: Revision,
    },
    /// A condition did not hold; nothing was written.
    Conflict(Conflict),
}

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing was written, condition {index} does not hold: {condition}; found {}", found(.current.as_ref()))]
pub struct Conflict {
    /// The position of the first condition that failed.
    pub index: usize,
    /// That condition.
    pub condition: Condition,
    /// What the key holds instead.
    pub current: Option<Entry>,
}

impl Outcome {
    /// The revision if committed, else the conflict as an error.
    ///
    /// # Errors
    /// The conflict.
    pub fn committed(self) -> Result<Revision, Conflict> {
        match self {
            Self::Committed { revision } => Ok(revision),
            Self::Conflict(conflict) => Err(conflict),
        }
    }
}

fn found(current: Option<&Entry>) -> String {
    current.map_or_else(|| "nothing".to_owned(), |entry| format!("{entry:?}"))
}
