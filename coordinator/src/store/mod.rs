//! The store: what the coordinator must not forget.
//!
//! # Purpose
//! Specs, operations and their journals, claims, leases, remembered activity and audit live behind
//! one small trait, [`Store`]. Liveness does not: it is in memory only. Two kinds of store exist,
//! a single file in this process ([`embedded`]) and [`etcd`]; one conformance suite
//! (`tests/conformance`) says what both must do.
//!
//! # Terms
//! * **key**: an absolute path, [`Key`]; a **prefix** is everything below one, [`Prefix`].
//! * **revision**: the store's only counter. Each committed transaction that changes something is
//!   one revision; all its changes carry it. A commit that changes nothing (only conditions, or a
//!   delete of what is not there) has no revision of its own. Every entry knows the revision that
//!   created and that last modified it.
//! * **transaction**: conditions and writes, [`Transaction`]. All or nothing, under limits that are
//!   part of the contract ([`limits`]).
//! * **incarnation**: which store this is, [`Incarnation`].
//!
//! # What every store promises
//! 1. A [`Outcome::Committed`] is durable when it is returned: no crash of the process or the
//!    machine takes it back.
//! 2. Transactions are serial, in revision order. A transaction sees all of every earlier one and
//!    nothing of a later one.
//! 3. A read shows everything that was committed before the read began.
//! 4. A watch delivers each revision once, in order and whole, or says
//!    [`WatchEvent::Compacted`]; it never skips in silence.
//! 5. A commit that ends without outcome says whether it is certainly not committed
//!    ([`CommitError`]).
//! 6. Dropping the future of a commit does not take the transaction back.

pub mod embedded;
pub mod etcd;

pub(crate) mod chosen;

mod change;
mod entry;
mod error;
mod key;
mod transaction;

use std::fmt::Debug;

use futures_util::future::BoxFuture;

pub use change::{Change, Watch, WatchEvent};
pub use entry::{Entry, Incarnation, Page, PageRequest, Revision, Snapshot};
pub use error::{Cause, Class, CommitError, Error};
pub use key::{InvalidKey, Key, MAX_KEY_BYTES, Prefix};
pub use transaction::{
    Condition, Conflict, InvalidTransaction, Outcome, Transaction, Write, limits,
};

/// A durable ordered map with conditional transactions and watches. The module says what all
/// implementations promise.
///
/// Object-safe, because which store a coordinator uses is a line in its configuration; the boxed
/// futures cost nothing beside an fsync or a network round trip.
pub trait Store: Debug + Send + Sync + 'static {
    /// Which store this is. Known from opening on, and constant.
    fn incarnation(&self) -> Incarnation;

    /// The revision of the last committed change.
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>>;

    /// The entry at `key`, if there is one.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>>;

    /// One page of the entries below `prefix`. Two pages may show different revisions; who needs
    /// all at one revision takes a [`snapshot`](Self::snapshot).
    fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        page: PageRequest<'a>,
    ) -> BoxFuture<'a, Result<Page, Error>>;

    /// Every entry below `prefix` at one revision. For loading at a start and for what is known to
    /// be small: it is as large as the prefix.
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, Error>>;

    /// Commits `transaction` if its conditions hold.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, CommitError>>;

    /// Every change below `prefix` from revision `from` on, past ones first. `from` may be in the
    /// future; then the watch begins there.
    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        from: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>>;
}
