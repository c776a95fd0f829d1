//! The store: what every implementation must do, and what the embedded one must survive.
//!
//! [`conformance`] holds for any store: a new implementation writes a fixture and one line. The
//! rest is about one file on one disk, and about leadership over it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conformance;
mod embedded;
mod leadership;

conformance::suite!(crate::embedded::Fixture);
