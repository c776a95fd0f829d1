//! The simulation of leases: the shipped machines of both sides between a store, a network and machines that fail.
//!
//! One thread, virtual time, one seed. Three nodes carry a two-sided service (a database that takes a row every 20 ms
//! wherever it takes any), three coordinators share a linearizable store. What a run does depends on its [`Setup`] alone.
//!
//! ```text
//!   database, path, watchdog ◄─ agent shell ─► Holder (shipped)          oracle: looks at the world after each event,
//!          │  really so               │ renewals, releases, standings     shares no code with the machines
//!          ▼                          ▼
//!     writable? ──► oracle      coordinator shell ─► Leader, renew, release (shipped) ─► store
//! ```
//!
//! # Terms
//! * **Writable**: an instance that would take a row at this moment, through whatever clients come by.
//! * **Kind**: which faults a seed may have; some rules show only where others cannot stand in for them.
//! * **Mutant**: a shell that does not keep one rule. Nothing that ships knows of it.
//!
//! | file | holds |
//! |---|---|
//! | `setup` | what a seed stands for |
//! | `machine` | nodes: clocks, power, database, path, watchdog, disk |
//! | `rows` | what was written, and what is promised of it |
//! | `store` | the linearizable store, its watches and its leader's key |
//! | `run` | one run: events in the order of their time |
//! | `agents`, `managers` | the shell around holders, and what it makes databases do |
//! | `event` | what happens, and what travels |
//! | `coordinators`, `writing` | the shell around leaders, and what they write |
//! | `people` | operators, writers, observers |
//! | `trouble` | what goes wrong |
//! | `oracle` | what must be true whatever happens |
//! | `mutant` | rules, taken away one at a time |

mod agents;
mod coordinators;
mod event;
mod machine;
mod managers;
mod mutant;
mod oracle;
mod people;
mod rows;
mod run;
mod setup;
mod store;
mod trouble;
mod writing;

pub use mutant::Mutant;
pub use oracle::{Rule, Violation};
pub use run::{Report, run, tell};
pub use setup::{Kind, Setup};
