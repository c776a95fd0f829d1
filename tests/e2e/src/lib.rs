//! The lab: real hosts on one Linux machine, for tests that trust nothing less.
//!
//! A [`Lab`] is a network namespace with a bridge, and [`Host`]s on it. What runs on a host is the
//! real thing: the shipped programs, real databases, real systemd, real fence agents. Only the
//! machine under it is small.
//!
//! ```text
//!  network namespace of the lab              10.77.x.0/24, reachable from nowhere else
//!  ┌───────────────────────────────────────────────────────────────────────────┐
//!  │  br0  .254  ◄── Lab::command: grpcurl, fence_ipmilan, interlockctl         │
//!  │   │   .101 .. .190  BMCs of the hosts .1 .. .90 (UDP 623)                  │
//!  │   ├── vb-h1 ─── host0 .1  [h1: systemd-nspawn, or plain namespaces]        │
//!  │   ├── vb-h2 ─── host0 .2  [h2]          cut, loss and cable: nft on br0    │
//!  │   └── ...                 .200 .. .250 are free for service addresses      │
//!  └───────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Two kinds of host share one control, [`Machine`]: [`Lab::nspawn`] boots systemd as PID 1 and
//! shuts down as a VM does; [`Lab::plain`] is up in milliseconds and has no service manager.
//! Both write on a disk of their own, an overlay on one read-only [`rootfs`], which outlives their
//! power.
//!
//! What a lab cannot show: the hosts share one kernel, so there is no kernel crash, no watchdog
//! reset and no DRBD, and data that was written but not yet flushed survives a plug pull.
//!
//! # Nothing stays behind
//!
//! Every process of a lab is in one control group, and a helper in a session of its own holds the
//! read end of a pipe from the test. However the test ends, the pipe closes, and the helper takes
//! everything down (`lab/teardown.sh`). Should both be killed, the next lab sweeps up.
//! The logs of a run that did not end well are kept; the lab prints where.
//!
//! # Skipping
//!
//! A lab needs root, a kernel that lets it make namespaces, and some packages
//! ([`tools::APT_PACKAGES`]); `cargo xtask test` installs them. Where something is missing,
//! [`Lab::open`] reports it through [`skip()`] and returns `None`; a skip is always listed at the
//! end of the run, never silent.

pub mod bmc;
pub mod cluster;
mod eventually;
mod host;
mod lab;
pub mod local;
pub mod machine;
pub mod pair;
pub mod printed;
pub mod programs;
pub mod rootfs;
pub mod rows;
mod run;
mod skip;
pub mod systems;
pub mod tools;

pub use eventually::{eventually, patience};
pub use host::{Host, Process};
pub use lab::Lab;
pub use machine::Machine;
pub use run::run;
pub use skip::{HOSTED_TESTS_VARIABLE, SKIPS_VARIABLE, has, missing, skip};
