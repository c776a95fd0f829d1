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
    #[error("{place} is damaged: stop the coordinator and restore it from a backup")]
    Damaged {
        /// The store.
        place: String,
        /// What was found.
        #[source]
        source: Cause,
    },

    /// No server of the store answers, or not in time, or those that do have no majority.
    #[error(
        "{place} does not answer: look whether a majority of its members is up, can be reached from \
         here, and takes this coordinator's certificate (their logs say if not); this coordinator \
         goes on by itself when they do"
    )]
    Unavailable {
        /// The store.
        place: String,
        /// What the last server that was tried said.
        #[source]
        source: Cause,
    },

    /// The store's servers have used up their quota. Reads go on.
    #[error(
        "{place} has no space left below its quota: compact and defragment it or raise \
         --quota-backend-bytes, then `etcdctl alarm disarm`; writing resumes by itself"
    )]
    Quota {
        /// The store.
        place: String,
        /// What the server said.
        #[source]
        source: Cause,
    },

    /// The store's servers do not let this coordinator in, or it does not trust them.
    #[error(
        "{place} and this coordinator do not accept each other: compare certificates, user, \
         password and the role's permissions; replaced files are read by themselves"
    )]
    Refused {
        /// The store.
        place: String,
        /// What was refused.
        #[source]
        source: Cause,
    },

    /// A server does not take what this program sends.
    #[error(
        "{place} does not take this program's requests: is it an etcd of version 3.4 or later, \
         with limits (--max-txn-ops, --max-request-bytes) not below their defaults?"
    )]
    Rejected {
        /// The store.
        place: String,
        /// What the server said.
        #[source]
        source: Cause,
    },

    /// This process no longer holds the store: another coordinator does, or its lease ended.
    #[error(
        "{place} is no longer held by this coordinator: its lease ended, or another coordinator \
         took over; nothing more is written by this process"
    )]
    Superseded {
        /// The store.
        place: String,
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
            // Refused too: passwords, certificates and permissions are changed while this runs.
            Self::NoSpace { .. }
            | Self::Io { .. }
            | Self::Unavailable { .. }
            | Self::Quota { .. }
            | Self::Refused { .. } => Class::Retryable,
            Self::Invalid(_)
            | Self::Damaged { .. }
            | Self::Rejected { .. }
            | Self::Superseded { .. }
            | Self::Closed { .. } => Class::Terminal,
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
