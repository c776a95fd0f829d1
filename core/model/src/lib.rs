//! The vocabulary of Interlock.
//!
//! Everything else in the tree speaks in these types: names and ids, the cluster spec, checks, observations, actions
//! and plans. The crate decides nothing and touches nothing: no I/O, no clock, no randomness. A name is parsed once,
//! at the edge, and is a type from there on.
//!
//! | module | holds |
//! |---|---|
//! | [`names`], [`ids`] | names that people choose, numbers that the system counts |
//! | [`suggest`] | the name that was probably meant |
//! | [`time`] | points in time as values |
//! | [`spec`] | the cluster spec: what should exist, read from YAML with every problem reported at once |
//! | [`check`] | what is probed, from where, and what a verdict is |
//! | [`ocf`] | OCF resource agents: what they say of themselves, and what a spec makes of them |
//! | [`observation`] | what was last seen, by whom, and how long ago; *unknown* is a value |
//! | [`member`] | who is behind which load balancer, and how it is switched there |
//! | [`mod@file`] | files of services that plans write |
//! | [`permission`] | what an agent's own file has to permit for a plan |
//! | [`attempt`] | what an agent says of one dispatch of a step |
//! | [`lease`] | the right of one instance to be primary: epochs, timings, terms |
//! | [`address`] | addresses that move with a role |
//! | [`postgres`], [`redis`], [`mariadb`] | servers that are promoted with a role |
//! | [`action`], [`plan`] | what can be done, and the immutable graph of steps that does it |

pub mod action;
pub mod address;
pub mod attempt;
pub mod check;
pub mod file;
pub mod ids;
pub mod lease;
pub mod mariadb;
pub mod member;
pub mod names;
pub mod observation;
pub mod ocf;
pub mod permission;
pub mod plan;
pub mod postgres;
pub mod redis;
pub mod spec;
pub mod suggest;
pub mod time;
