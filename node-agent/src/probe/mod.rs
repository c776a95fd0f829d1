//! Checks: what this node can see, again and again, cheaply, and never mistaking silence for health.
//!
//! # Terms
//! A **run** is one execution of a check; its result is *ok*, *bad* or *unknown* with one line of evidence. The
//! **verdict** is what a series of runs amounts to ([`History`]).
//!
//! # Rules
//! * **Unknown is never ok** (invariant I5). A run that reaches its limit, or that could not be made at all, is unknown;
//!   *bad* takes an answer that is definitely not the wanted one.
//! * **Every run can be ended.** Nothing that may block for ever happens on a thread of this program: connections are
//!   asynchronous, names are looked up on two threads at most ([`Names`]), commands run in process groups, files are read by a helper process ([`FileProbes`]). A hung disk
//!   stops no heartbeat.
//! * **A check never runs twice at a time.** A run that is still going on when its next one is due replaces it.
//! * **A result does not look fresher than it is.** A verdict that recent runs no longer support keeps the time of the
//!   last run that did.

mod address;
mod clock;
mod command;
mod files;
mod haproxy;
mod helper;
mod history;
mod http;
mod kinds;
pub(crate) mod mariadb;
mod mount;
mod names;
mod outcome;
mod passwords;
mod postgres;
mod prober;
mod reader;
mod redis;
mod resp;
mod talk;
mod tcp;
mod tls;
mod unit;
mod url;
mod websocket;

pub use command::{CommandOutput, CommandRunner, Running};
pub use files::FileProbes;
pub use haproxy::{NobodyPutOut, PutOut};
pub use helper::{WORD as HELPER_WORD, helper};
pub use history::History;
pub use kinds::Tools;
pub(crate) use mount::probe as is_mounted;
pub use names::Names;
pub use passwords::Passwords;
pub(crate) use postgres::{End, Rows, Session, Trouble, Visitor};
pub use prober::{Prober, Report};
pub(crate) use redis::safe_refusal;
pub(crate) use resp::{Reply, Resp};
pub(crate) use talk::broke;
pub use tls::Trust;
