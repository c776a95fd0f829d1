//! The agent half: what an agent decides.
//!
//! | module | decides |
//! |---|---|
//! | [`ledger`] | whether an attempt may begin, what is remembered of it, and what is said about it |
//! | [`guard`] | whether a dead instance is started again, when, and when to give up |
//! | [`autonomy`] | what an agent goes on doing, and by which assignment, when nobody above speaks |
//! | [`asked`] | which question of a coordinator a probe has followed |
//!
//! None of them knows the others. The program around them passes each what happened, and carries out what they return
//! in the order in which they return it.

pub mod asked;
pub mod autonomy;
pub mod guard;
pub mod ledger;

/// One coordinator, as the program numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u32);
