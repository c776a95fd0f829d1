//! How services are told to be, and what is behind it: what is not known is unknown, and what was ordered is no fault.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod bench;
mod causes;
mod health;
mod leased;
mod paused;
mod told;
