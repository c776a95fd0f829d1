//! A MariaDB server (10.11 and later) of this machine, as an instance of an exclusive service: observed, promoted, turned into a
//! replica, pointed at another one. It knows nothing of leases: who may be primary is decided elsewhere, and this is how.
//!
//! # What holds
//! * **Every start is that of a read-only server that follows nobody** (safety rule D2). A runtime `read_only` is forgotten with
//!   the process, so the last file that is read of the server's configuration is the agent's own ([`include`]), and never changes
//!   with a promotion. What the server would be started with is asked of its own program, not guessed.
//! * **What data a server has is a GTID position of one domain**, and a history: the last transaction of each server that its log
//!   knows. A position says something of its own history only, so [`Relation`] is asked before anything is followed.
//! * **Nothing is reset or skipped.** Replication that stopped with an error stays stopped, and says so. A replica that has what
//!   the other one never got does not follow it.
//! * **Unknown is an error**, and a lag of NULL is unknown. What is returned was seen.
//! * No password is in an argument or a file: the client reads its options, and what it is to say, from its standard input.
//!
//! # Traps
//! * Users with `READ_ONLY ADMIN` write to a read-only server; there is no `super_read_only`. [`Server::objection`] finds those
//!   who may come from other machines. Those of this machine remain.
//! * `SET GLOBAL read_only` waits for statements that run, and holds all others up meanwhile.
//! * `gtid_slave_pos` of a former primary is that of its time as a replica: `MASTER_DEMOTE_TO_SLAVE` takes over what its log has.
//! * Received and not applied is not data: it is thrown away when both threads are stopped. So a position is what was applied,
//!   and a promotion waits for the rest.
//!
//! # Files
//! | file | |
//! |---|---|
//! | `server` | what is asked of a server |
//! | `turn` | a replica becomes the primary, and the primary a replica |
//! | `talk` | one run of the client |
//! | `facts` | what a server says of itself |
//! | `gtid` | positions and histories |
//! | `relation` | what a server's data are to another one's |
//! | `settings` | how a server has to be set |
//! | `include` | the file that makes every start that of a read-only server |

mod error;
mod facts;
mod gtid;
mod include;
mod relation;
mod server;
mod settings;
mod talk;
mod turn;

pub use error::{Error, Trouble};
pub use facts::{Facts, Link, Source};
pub use gtid::{Gtid, Gtids};
pub use relation::Relation;
pub use server::{Observed, Server, Upstream};
pub use turn::Demoted;
