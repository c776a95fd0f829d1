//! Sans-IO state machines of both sides of Interlock.
//!
//! Every machine has the same shape: `(state, event, now) -> effects`. It never reads a clock, never touches a disk or
//! a socket, and knows no other machine. [`coordinator`] and [`agent`] route events in and effects out; the programs
//! around them carry the effects out. The simulator runs exactly this code.
//!
//! | module | decides |
//! |---|---|
//! | [`agent`] | what an agent does with an attempt, a term, a restart, a death: ledger, guard |
//! | [`coordinator`] | who is told what, what is written down, who holds what, which cause is behind what |
//! | [`lease`] | who may be primary of an exclusive service |
//! | [`operation`] | when a step begins, when it is proven, when a person must look |
//! | [`collecting`] | which part of a log is new to who collects it |
//! | [`by_hand`] | what both sides say of what people did at an agent's door |
//! | [`view`] | what is known of the nodes, and how old it is |

pub mod agent;
pub mod by_hand;
pub mod collecting;
pub mod coordinator;
pub mod lease;
pub mod operation;
pub mod view;
