//! OCF resource agents: programs of others that start, stop and monitor one kind of thing.
//!
//! # The contract, as far as it is used
//! `DIRECTORY/PROVIDER/TYPE ACTION`, one argument, everything else in the environment (`environment`): parameters as
//! `OCF_RESKEY_NAME`, what the cluster manager has to say as `OCF_RESKEY_CRM_meta_NAME`, times in milliseconds. The answer
//! is the exit code ([`Code`]); the reason for a failure is the last line of standard error that begins with
//! `ocf-exit-reason:`. `start` and `stop` of what already is so succeed. `monitor` is safe at any time; one with an
//! interval of 0 is a **probe**, to which missing software means *stopped*. Source: OCF Resource Agent API 1.0 and 1.1,
//! and what Pacemaker's executor makes of it.
//!
//! A resource that is promotable is promoted and demoted as well, and its agent is notified of that if it has `notify`. It finds
//! the tools of a Pacemaker cluster that set scores and attributes ([`tool`]), and no others. Nothing is migrated.
//!
//! # Rules
//! * **One action at a time** runs of a resource. A `start` or `stop` ends a `monitor` that is running, and who looks
//!   meanwhile is told that the resource is starting or stopping ([`Look`]).
//! * At its time limit an action is killed with all that it started. That is no answer, and no answer is *unknown*
//!   (invariant I5).
//! * A `stop` that failed leaves its resource in doubt until a `start` or `stop` succeeds: that `monitor` says *stopped*
//!   does not count until then.
//! * **That, and that a resource was seen running, outlives this program** (`notebook`), until the next boot: an agent that
//!   starts anew looks by a `monitor`, and what is gone by then has died.
//! * Secrets go through a pipe into the environment of the agent, never into arguments or onto the disk, and are taken
//!   out of what it says (invariant I12).

mod agents;
mod attributes;
mod catalogue;
mod circle;
mod code;
mod environment;
mod error;
mod metadata;
mod notebook;
mod report;
mod slot;
mod tools;

pub use agents::{Look, Options, ResourceAgents, Verb};
pub use catalogue::{Catalogue, Unusable};
pub(crate) use circle::{Circle, Told};
pub use code::Code;
pub use environment::{WORD as ENVIRONMENT_WORD, enter};
pub use error::Error;
pub use report::Report;
pub use tools::{call, tool};
