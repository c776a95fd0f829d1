//! A Redis server (7) of this machine, as an instance of an exclusive service: observed, promoted, turned into a replica,
//! pointed at another one. It knows nothing of leases: who may be primary is decided elsewhere, and this is how.
//!
//! # What holds
//! * **Every start is that of a replica of nobody** (safety rule D2). The server's configuration includes a small file of the
//!   agent's own ([`include`]) that says so, and that never changes: not with a promotion, and not with a `CONFIG REWRITE` by
//!   whoever else, which does not touch what is included. Whoever starts the server, a restart by systemd as well, has a
//!   server that refuses writes.
//! * **What data a server has is a line and an offset**: the replication id and how far. An offset says something of its own
//!   line only, and nothing while it is not counted: a primary without a backlog, a replica that is being filled, a server
//!   that has lost its memory.
//! * **A replica follows one whose stream goes on where its data end.** For any other one it would throw its own data away
//!   without a word, so [`Relation`] is asked first.
//! * **Unknown is an error.** What is returned was seen.
//! * No password is in an argument: the agent's is a secret of its own, and that of replicas is `masterauth` of the server.
//!
//! # Files
//! | file | |
//! |---|---|
//! | `server` | what is asked of a server |
//! | `talk` | sessions, with this one and with others |
//! | `facts` | what a server says of itself |
//! | `relation` | what a server's data are to another one's |
//! | `include` | the file that makes every start that of a replica |
//! | `aside` | data that a rejoin loses is kept |

mod aside;
mod error;
mod facts;
mod include;
mod relation;
mod server;
mod talk;

pub use aside::Saved;
pub use error::{Error, Trouble};
pub use facts::{Attached, Data, Facts, Primary, Replica, Role};
pub use relation::Relation;
pub use server::{Demoted, Observed, Server, Upstream};
