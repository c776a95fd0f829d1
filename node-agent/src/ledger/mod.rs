//! The ledger on disk.
//!
//! What an agent remembers is decided in [`interlock_engine::agent::ledger`]; this module makes it durable and
//! decides nothing. One [redb] file holds one table of slots and, beside it, what a coordinator said last: the assignment, and the claims. A thread of its own
//! writes, because a commit waits for the disk and the agent's runtime must not.
//!
//! * **A batch is durable or absent**: one write transaction, flushed before it is reported.
//! * **Batches that wait together are one flush.** Under load the disk sets the pace, not the number of attempts.
//! * **A disk that refuses is told to the ledger**, which takes back what it had only promised and says anew what remains
//!   ([`Ledger::refused_by_disk`]). Until that is durable every attempt is refused, with the reason, and nothing is told
//!   that a crash could take back; the rest of the agent goes on. The disk is tried again and again, on a file that is
//!   opened anew each time.
//! * **A ledger is one agent's.** It names its owner, and another agent does not take it: what a copied state directory
//!   remembers has been done elsewhere.
//! * **What is in its place is looked at before each write.** A file that was emptied, taken away, or replaced by another
//!   one or an older copy under a running agent is refused like a disk: what this agent remembers would be lost with its end.
//! * Values are JSON, so that a person with `strings` can read them when everything else is broken.
//!
//! [redb]: https://docs.rs/redb
//! [`Ledger::refused_by_disk`]: interlock_engine::agent::ledger::Ledger::refused_by_disk

mod disk;
mod error;
mod file;
mod recorder;

#[cfg(test)]
mod tests;

pub use disk::Kind;
pub use error::OpenError;
pub use recorder::{Kept, Recorder, Report};
