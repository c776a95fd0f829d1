//! The ledger on disk.
//!
//! What an agent remembers is decided in [`interlock_engine::agent::ledger`]; this module makes it durable and
//! decides nothing. One [redb] file holds one table of slots and, beside it, the last assignment. A thread of its own
//! writes, because a commit waits for the disk and the agent's runtime must not.
//!
//! * **A batch is durable or absent**: one write transaction, flushed before it is reported.
//! * **Batches that wait together are one flush.** Under load the disk sets the pace, not the number of attempts.
//! * **A disk that refuses is waited for.** Nothing that depends on the batch is released meanwhile, so the agent
//!   accepts nothing and reports nothing that a crash could take back; the log says why. It goes on when there is room.
//! * Values are JSON, so that a person with `strings` can read them when everything else is broken.
//!
//! [redb]: https://docs.rs/redb

mod disk;
mod error;
mod recorder;

#[cfg(test)]
mod tests;

pub use error::OpenError;
pub use recorder::{Kept, Recorder};
