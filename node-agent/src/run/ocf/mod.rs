//! Resources under a lease that their own agents promote: they run on every instance, and are primary where the role is.
//!
//! Like a database server ([`super::redis`]), but nobody here knows what it is. So everything is its agent's word:
//!
//! | what is to be known | comes from |
//! |---|---|
//! | does it accept writes | `monitor`: 8 and 191 are promoted, 0 and 190 are not, 9 may be |
//! | could it be promoted | its score, which its agent sets by the tools of [`crate::ocf`]: none, or one below zero, is no |
//! | how far its data go | nobody: no position is told, and nothing is promised of it |
//! | is it no primary any more | `demote`, and a `monitor` that says so; else `demote` and `stop`, and one that says *not running* |
//!
//! Its agent may keep what it has in memory alone, so one that died as a primary is not started again in its place (safety rule
//! D2): its role is given back, and it is started as what it is on every other instance.
//!
//! | file | holds |
//! |---|---|
//! | `follower` | one task per instance: starts what is down, and tells agents where the role is |
//! | `promotion` | promotes, demotes, and looks |

mod follower;
mod promotion;

pub(super) use follower::Follower;
