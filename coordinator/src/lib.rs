//! The coordinator: plans and runs ordered operations over the agents of one cluster.
//!
//! ```text
//!   services ──calls──►  driver ──events──► engine (pure)
//!   (gRPC)               │    ▲                │ writes, sends
//!   sessions ──events────┘    └──committed── store
//!      ▲ one per agent          sends are released only when the writes before them are durable
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the coordinator's own file |
//! | [`store`], [`leadership`] | what must not be forgotten, and who may decide |
//! | [`driver`] | the one task that owns the engine: events in, commits, sends out |
//! | [`leases`] | who may be primary: writes renewals down, and begins epochs |
//! | [`sessions`] | one stream per agent, turned into the core's words |
//! | [`services`] | the API for operators |
//! | [`run`] | puts them together |

pub mod clock;
pub mod config;
pub mod driver;
pub mod leadership;
pub mod leases;
pub mod run;
pub mod services;
pub mod sessions;
pub mod store;
