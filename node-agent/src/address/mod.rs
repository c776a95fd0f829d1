//! Addresses that move with a role: on this node's interfaces, and the path of the clients to them.
//!
//! | module | is |
//! |---|---|
//! | [`Addresses`] | putting an address on an interface and taking it off, looking for conflicts, announcing |
//! | [`ClientPath`] | who may reach an address, kept and closed by the kernel |
//! | `netlink`, `route` | talking with the kernel; interfaces and addresses in its words |
//! | `port`, `arp`, `neighbour` | talking with the link below IP; the two protocols by which neighbours find each other |
//!
//! # Terms
//! A *floating address* is on the node of the primary and nowhere else. Its *link* is the Ethernet that it is on; who else is
//! on that are its *neighbours*, which remember the [`Mac`] of an address until they hear of another. A *conflict* is a
//! neighbour that has the address, too.
//!
//! # Moving an address
//! ```text
//! old node   remove ─────────────┐
//! new node                 conflict? ── add ── open the path ── announce ── refresh, refresh ...
//! ```
//! A path that is prepared is closed, so an address may be there before anybody may reach it.
//!
//! # Invariants
//! - Every call is synchronous and is made of system calls alone: no child process, no file, no other thread. The one exception
//!   is [`ClientPath::prepare`]. So a thread that protects can take an address away while the rest of the agent hangs.
//! - The sockets for taking away and closing are opened with the values, early: that never fails for want of a descriptor.
//! - [`Addresses::remove`] and [`ClientPath::close`] have seen their effect when they return.

mod addresses;
mod arp;
mod error;
mod mac;
mod neighbour;
mod netlink;
pub mod path;
mod port;
mod route;

pub use addresses::{Addresses, Seen};
pub use error::{Doing, Error};
pub use mac::Mac;
pub use path::ClientPath;
