//! What a store holds and what a read returns.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Key;

/// The store's one counter: every committed transaction that changes something is the next
/// revision. An empty store is at revision 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which store this is: made when the store is first created, never changed (safety rule E11).
///
/// A store that was made anew has another incarnation, so revisions and terms of the two are not
/// comparable. A store that was restored from a backup keeps its incarnation; that is recognised
/// by agents that are ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

impl std::str::FromStr for Incarnation {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One key with its value, as of some revision. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where the value is.
    pub key: Key,
    /// The bytes as they were put.
    pub value: Arc<[u8]>,
    /// The revision that made the key, counted anew after a delete.
    pub created: Revision,
    /// The revision that last put the key; equal values count too.
    pub modified: Revision,
}

impl fmt::Debug for Entry {
    /// Shows the value's length only: values may be large, and may say more than a log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (created {}, modified {}, {} bytes)",
            self.key,
            self.created,
            self.modified,
            self.value.len()
        )
    }
}

/// Which part of a prefix to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest<'a> {
    /// Begin behind this key, which need not exist any more; `None` begins at the first.
    pub after: Option<&'a Key>,
    /// At most this many entries; 0 is taken as 1, and more than [`PageRequest::MAX`] as that.
    pub limit: usize,
}

impl PageRequest<'_> {
    /// Most entries of one page.
    pub const MAX: usize = 1000;

    /// The first page, as large as pages get.
    #[must_use]
    pub fn first() -> Self {
        Self {
            after: None,
            limit: Self::MAX,
        }
    }

    /// The limit that counts.
    #[must_use]
    pub fn clamped(&self) -> usize {
        self.limit.clamp(1, Self::MAX)
    }
}

/// Some of the entries below a prefix, in key order, all as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The revision of the store that the entries show.
    pub revision: Revision,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are entries behind the last of these.
    pub more: bool,
}

/// Every entry below a prefix, in key order, all as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision that the entries show; a watch from the one after it misses nothing.
    pub revision: Revision,
    /// The entries.
    pub entries: Vec<Entry>,
}
