//! A deterministic simulator that runs the shipping core.
//!
//! One thread, virtual time, one seed: the engine's coordinator and the engine's agent ledgers, word for word the code
//! that ships, between a simulated store, a simulated network and simulated machines. What a run does depends on its
//! [`Setup`] alone, so a seed that found something finds it again.
//!
//! ```text
//!   operator ─► process ─► Coordinator (shipped) ─► writes ─► store     a crash loses what is not durable
//!                  ▲                              └ sends ─► network    delayed, lost, late, twice
//!                  │                                            │
//!                  └────────────── network ◄── agents: Ledger (shipped) ─► machines, plugs, checks
//!                                                                             ▲
//!                              invariants: compare what was done with ────────┘ what was so
//! ```
//!
//! # Terms
//! * **Shell**: what stands here for the programs around the core. It carries out effects and nothing else.
//! * **World**: what is really so. **Fact**: something that really happened.
//! * **Trouble**: the time in which things go wrong by chance; afterwards nothing does, and everything must come to its
//!   end (*safety* first, then *liveness*).
//! * **Mutant**: a shell that does not keep one rule.
//!
//! # What it does not know
//! Leases and failover (invariant I1) are to come with them. What only programs decide is tested there: the claims of a
//! person at an agent (safety rule E16), roles, secrets.

mod agent;
pub mod clusters;
mod fact;
mod invariants;
mod keeper;
pub mod lease;
mod mutant;
mod random;
mod run;
mod schedule;
mod setup;
mod store;
mod world;

pub use invariants::{Number, Violation};
pub use mutant::Mutant;
pub use random::Random;
pub use run::Simulation;
pub use setup::{Crash, Report, Setup, StepMoment, Task, WriteMoment};
