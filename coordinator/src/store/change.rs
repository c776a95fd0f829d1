//! What a watch delivers.

use futures_util::stream::BoxStream;

use super::{Entry, Key, Revision};

/// The changes of one prefix, in order. Ends when the store is closed, and after
/// [`WatchEvent::Compacted`].
pub type Watch = BoxStream<'static, WatchEvent>;

/// One thing that a watch has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// One committed transaction changed keys below the prefix. Each revision comes once, in
    /// order, and whole: never split over two events.
    Changed {
        /// The revision of the transaction.
        revision: Revision,
        /// Its changes below the prefix, at least one, in key order.
        changes: Vec<Change>,
    },
    /// Changes that the watch had still to deliver are forgotten, because the store keeps a
    /// bounded backlog or was restarted. The last event: read the prefix again and watch anew
    /// from the revision after that read.
    Compacted {
        /// The first revision that the store could still deliver.
        oldest: Revision,
    },
}

/// One key that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put(Entry),
    /// The key is gone.
    Deleted(Key),
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }
}
