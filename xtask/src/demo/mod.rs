//! `cargo xtask demo`: the main job, live, on this machine.
//!
//! A cluster of thirteen small machines is brought up and taken down in order by the real programs over real mutual
//! TLS. Nothing is installed, no root is needed. A machine is a group of processes that a fence agent
//! switches ([`interlock_e2e::local::vm`]); its service is a stand-in ([`stand_in`]) that really connects to what it depends on.
//!
//! Its last act is a small cluster of its own, [`failover`]: a primary is killed, and its standby takes over.
//!
//! `--system` shows a whole [`system`] instead: its shipped spec with real servers. Nothing is installed for that: what is
//! [`missing`] is named.

mod cluster;
mod end;
mod failover;
mod missing;
mod stand_in;
mod story;
mod system;

pub(crate) use missing::{CODE as MISSING_CODE, Missing};
pub(crate) use stand_in::StandIn;
pub(crate) use story::{Options, tell};
