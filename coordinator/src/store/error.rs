//! Why a store could not do what it was asked, and what helps.
//!
//! Two questions are answered by type, because callers decide by them: does trying again help
//! ([`Class`]), and may a transaction have been committed although it failed ([`CommitError`]).

use std::sync::Arc;

use super::InvalidTransaction;

/// The cause of an error; shared, because one failed disk write fails a whole group of commits.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Whether an error can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The same call may succeed later, without anybody touching this process.
    Retryable,
    /// It will not, until a person or the program changes something.
    Terminal,
}

/// A failed call to a store. `place` is the file or the endpoints, as an operator knows them.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller made a transaction that no store takes.
    #[error("the transaction is refused")]
    Invalid(#[source] InvalidTransaction),

    /// No space, or a quota or file size limit was met. Reads go on.
    #[error(
        "{place} cannot grow: free space on its file system, or raise the quota or file size \
         limit of this process; writing resumes by itself"
    )]
    NoSpace {
        /// The store.
        place: String,
        /// What the system said.
        #[source]
        source: Cause,
    },

    /// The device or file system failed. Reads go on.
    #[error(
        "{place} cannot be written: look at the system log for errors of its disk; writing \
         resumes by itself when the disk works again"
    )]
    Io {
        /// The store.
        place: String,
        /// What the system said.
        #[source]
        source: Cause,
    },

    /// The store's content contradicts itself. Nothing is written any more; reads show the last
    /// good state.
    #[error("{place} is damaged: stop the coordinator and restore the file from a backup")]
    Damaged {
        /// The store.
        place: String,
        /// What was found.
        #[source]
        source: Cause,
    },

    /// The store was closed, or its thread ended.
    #[error("{place} is closed: restart the coordinator if it was not told to stop")]
    Closed {
        /// The store.
        place: String,
    },
}

impl Error {
    /// Whether trying again can help.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoSpace { .. } | Self::Io { .. } => Class::Retryable,
            Self::Invalid(_) | Self::Damaged { .. } | Self::Closed { .. } => Class::Terminal,
        }
    }
}

/// A commit that ended without an [`Outcome`](super::Outcome).
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written, and nothing of it will appear later.
    #[error("the transaction was not committed")]
    NotCommitted(#[source] Error),

    /// The writes may have happened or may yet appear. Read before deciding anything: a condition
    /// on the keys' revisions makes a repeated transaction safe.
    #[error("it is unknown whether the transaction was committed")]
    Unknown(#[source] Error),
}

impl CommitError {
    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &Error {
        match self {
            Self::NotCommitted(error) | Self::Unknown(error) => error,
        }
    }

    /// Whether trying again can help. After [`CommitError::Unknown`] that means: read, then decide.
    #[must_use]
    pub fn class(&self) -> Class {
        self.reason().class()
    }
}
