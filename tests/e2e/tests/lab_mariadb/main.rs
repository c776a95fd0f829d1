//! MariaDB under a lease on real hosts: Debian's server in its own unit, a replica that follows, an address that goes with the
//! role, and writers on three machines that note each row that was acknowledged.
//!
//! Whatever is done to the machines, two sides are never writable at once (invariant I1): the writers on the members ask their
//! own server by its loopback, where nothing but the server itself keeps them out. A planned move loses no acknowledged row; what
//! a failover loses is measured at the former primary, and stays there.

mod moves;
mod returns;
mod site;
