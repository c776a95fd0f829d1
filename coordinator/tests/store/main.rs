//! The store: what every implementation must do, and what each must survive.
//!
//! [`conformance`] holds for any store: a new implementation writes a fixture and one line. The
//! rest is about one file on one disk, about servers that stop, die and run out of space, and about
//! leadership over a store.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conformance;
mod embedded;
mod etcd;
mod leadership;

conformance::suite!(crate::embedded::Fixture);
