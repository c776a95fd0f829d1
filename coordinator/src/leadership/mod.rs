//! Leadership: which coordinator decides, and under which term.
//!
//! # Terms
//! * **candidate**: a coordinator process that wants to lead.
//! * **leader**: the one that does. Its record is one key of the store, [`leader_key`].
//! * **term**: the fencing number of one leadership. It belongs to one coordinator process (safety
//!   rule E11), only grows, and is durable before anybody hears of it; agents refuse commands with
//!   a lower one than they have seen (I7).
//! * **guard**: the condition that the leader key is still as this leader wrote it. Every
//!   transaction that decides something includes it ([`Leading::guard`]), so a leader that was
//!   replaced without noticing decides nothing (X4).
//!
//! # Invariants
//! 1. No two leaderships have the same term, over all processes that ever used the store.
//! 2. At any revision of the store the guard of at most one leadership holds.
//! 3. [`Leading::lost`] may come late. It saves work; only the guard is proof.

mod leading;
mod observe;
mod sole;

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use interlock_model::ids::Term;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{self, Class, CommitError, Key};

pub use leading::Leading;
pub use sole::Sole;

/// Who wants to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The coordinator's name, as in its certificate.
    pub coordinator: String,
    /// This run of it: made anew at each start of the process, never stored by the candidate.
    pub process: Uuid,
}

/// Who leads: the content of the leader key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The coordinator's name.
    pub coordinator: String,
    /// The run of it that leads.
    pub process: Uuid,
    /// The term of this leadership.
    pub term: Term,
}

/// The present leader and each later one; `None` while there is none. Ends with the store.
pub type Leaders = BoxStream<'static, Option<Leader>>;

/// How a coordinator comes to lead. Object-safe for the reason that [`store::Store`] is.
pub trait Leadership: Debug + Send + Sync + 'static {
    /// Waits until `candidate` leads. Each success is a new term, also for the same process.
    fn campaign(&self, candidate: Candidate) -> BoxFuture<'_, Result<Leading, Error>>;

    /// Follows who leads.
    fn observe(&self) -> BoxFuture<'_, Result<Leaders, Error>>;

    /// Raises the term of `leading` above `seen`, if it is not. For a store that was restored from
    /// a backup while agents remember later terms (E11).
    ///
    /// A raised term is a new leadership: the guard of the old one no longer holds, and the old
    /// [`Leading`] is lost.
    fn raise_term_above<'a>(
        &'a self,
        leading: &'a Leading,
        seen: Term,
    ) -> BoxFuture<'a, Result<Leading, Error>>;

    /// Gives leadership up, so that another need not wait. The term stays used.
    fn resign<'a>(&'a self, leading: &'a Leading) -> BoxFuture<'a, Result<(), Error>>;
}

/// Why leadership could not be had or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another leader, or none, is in the store.
    #[error("this coordinator no longer leads: another one took over, or it resigned")]
    Lost,

    /// The store could not be read or watched.
    #[error("the store could not say who leads")]
    Read(#[source] store::Error),

    /// The store could not be written.
    #[error("the change of leadership could not be stored")]
    Write(#[source] CommitError),

    /// A key of this module holds what this module never writes.
    #[error("{key} in the store is not what a coordinator writes: restore the store from a backup")]
    Malformed {
        /// The key.
        key: Key,
        /// What is wrong with it.
        #[source]
        source: store::Cause,
    },

    /// There is no term above the one that was seen.
    #[error(
        "no term is left above {seen}: no coordinator gets there by counting, so an agent's ledger \
         is damaged; find the agent that reports it"
    )]
    NoTermLeft {
        /// The term that was reported or stored.
        seen: Term,
    },
}

impl Error {
    /// Whether trying again can help.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Read(error) => error.class(),
            Self::Write(error) => error.class(),
            Self::Lost | Self::Malformed { .. } | Self::NoTermLeft { .. } => Class::Terminal,
        }
    }
}

/// The key of the leader's record.
#[must_use]
pub fn leader_key() -> Key {
    fixed("/control/leader")
}

/// The key of the highest term ever given out, in decimal digits. Apart from the leader's record,
/// because that one goes when a leader resigns.
#[must_use]
pub fn term_key() -> Key {
    fixed("/control/term")
}

fn fixed(path: &'static str) -> Key {
    Key::new(path).expect("a well-formed literal of this module")
}
