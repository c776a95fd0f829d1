//! The store: what every implementation must do, and what each must survive.
//!
//! [`conformance`] and [`leadership`] hold for any store: a new implementation writes a fixture and two lines. The
//! rest is about one file on one disk, and about servers that stop, die and run out of space.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conformance;
mod embedded;
mod etcd;
mod leadership;
mod silence;
#[path = "../../../tests/skip.rs"]
mod skip;

conformance::suite!(crate::embedded::Fixture);
leadership::suite!(crate::embedded::Fixture);
