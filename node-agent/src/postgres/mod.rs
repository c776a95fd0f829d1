//! A PostgreSQL server of this machine, as an instance of an exclusive service: observed, promoted, pointed at another one, brought
//! back after it has diverged. It knows nothing of leases: who may be primary is decided elsewhere, and this is how.
//!
//! # What holds
//! * **Every start is the start of a standby.** The signal file is written before each start ([`Cluster::prepare_start`]) and again
//!   right after each promotion, so that whoever starts the server has no second primary (safety rule D2). The server removes it
//!   when it is promoted, a moment before anybody can write it again: whoever dies in that moment leaves it to
//!   [`Cluster::keep_standby`], and a machine that dies in it must not start the server by itself.
//! * **A data directory is in its place if and only if it may be started.** What a rewind or a clone works on stands beside it until
//!   it is complete; names of directories are the durable memory of what was interrupted (`layout`).
//! * **A directory is stopped when no process of a server is in it**, not when its postmaster is gone (`holders`).
//! * **Unknown is an error.** What is returned was seen; what took too long or was hidden is a [`Trouble`].
//! * Nothing is lost without a word: what a rejoin loses is measured ([`Cluster::divergence`]) and saved
//!   ([`Cluster::save_aside`]) before it is taken away (D3).
//! * The server's programs run as the server's user, without a shell; files of that user are never followed through links. No password
//!   is in an argument, an environment or a setting: everything names the password file.
//!
//! # What the owner of the server has to know
//! * Since each start is that of a standby, settings that a standby may not have lower than its primary had (`max_connections`,
//!   `max_worker_processes`, `max_wal_senders`, `max_prepared_transactions`, `max_locks_per_transaction`) cannot simply be lowered
//!   by a restart: the server refuses to start. Lower them on a primary that runs, promote, and restart the others.
//! * Whoever takes a server out of these hands for good removes `standby.signal` before starting it.
//!
//! # The way back of an old primary
//! ```text
//!  stopped ──► divergence ─┬─ None ──────────────────────────────────► follow ──► start
//!                          ├─ Diverged ──► save_aside ──► rewind ─┬──────────────► start
//!                          │                        cannot ───────┴──► clone_from ─┘
//!                          ├─ Ahead ──► the other is not promoted yet, or has lost something: a person decides
//!                          └─ AnotherSystem ──► a person decides
//! ```
//!
//! # Files
//! | file | |
//! |---|---|
//! | `cluster` | the operations, one at a time, and what each of them begins with |
//! | `observe`, `observed` | the look at the server |
//! | `follow`, `promote`, `synchronous`, `slots` | what is asked of a server that runs |
//! | `compare`, `aside`, `rewind`, `clone` | the way back |
//! | `layout`, `files`, `holders` | directories, files in them, processes in them |
//! | `local`, `tool`, `deadline` | sessions, programs, time |
//! | `control`, `waldump`, `timeline`, `divergence`, `lsn`, `settings`, `conninfo`, `passfile`, `slot` | texts and their meaning, without any I/O |

mod aside;
mod clone;
mod cluster;
mod compare;
mod conninfo;
mod control;
mod deadline;
mod divergence;
mod error;
mod files;
mod follow;
mod holders;
mod layout;
#[cfg(test)]
mod layout_tests;
mod local;
mod lsn;
mod observe;
mod observed;
mod passfile;
mod promote;
mod rewind;
mod settings;
mod slot;
mod slots;
mod synchronous;
mod timeline;
mod tool;
mod upstream;
mod waldump;

pub use aside::Saved;
pub use cluster::Cluster;
pub use control::{BadControl, Control, ControlState};
pub use divergence::{Comparison, Divergence, Fork, Standing, SystemId};
pub use error::{Error, Operation, Trouble};
pub use follow::Followed;
pub use lsn::{BadLsn, Lsn};
pub use observed::{Facts, Observed, Primary, Receiver, Role, Source, Standby, Sync};
pub use promote::Promoted;
pub use slot::SlotName;
pub use slots::Slots;
pub use synchronous::{Synchronous, Waits};
pub use timeline::{Ancestor, BadHistory, History, Timeline};
pub use upstream::Upstream;
