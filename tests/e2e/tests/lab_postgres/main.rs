//! PostgreSQL under a lease on real hosts: Debian's server in its own unit, a standby that follows, an address that goes with
//! the role, and writers on three machines that note each row that was acknowledged.
//!
//! Whatever is done to the machines, two sides are never writable at once (invariant I1): the writers on the members ask their
//! own server by its loopback, where nothing but the server itself keeps them out. And no acknowledged row is lost where that
//! is promised: on a planned move, and with synchronous writes.

mod clocks;
mod control;
mod faults;
mod hosts;
mod kills;
mod moves;
mod returns;
mod three;

use interlock_e2e::pair::postgres as site;
