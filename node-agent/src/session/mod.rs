//! The agent's sessions with its coordinators, and the seam behind which it acts.
//!
//! # Parts
//! ```text
//!   coordinator 1 ◄──► Link ──orders──►┌──────┐──► Recorder (durable) ─┐
//!   coordinator 2 ◄──► Link ──orders──►│ Desk │◄────── committed ──────┘
//!        ▲               ▲             └──────┘──► Executor: one task per open attempt
//!        └── Outbox ─────┘◄──reports──────┘ ▲                 │
//!        └── Board ◄── what the machine looks like ───────────┘
//! ```
//! * The **desk** is the one task that feeds the [ledger](interlock_engine::agent::ledger) and carries its effects out,
//!   in order.
//! * A **link** keeps one stream to one coordinator: hello, the full board, then what changes, and heartbeats.
//! * The **board** holds what was last seen of instances and checks. Links read it each at their own pace; a link that
//!   was slow sends the newest state, not the history.
//! * The [`Executor`] is the rest of the agent: what may be done, how it is done, what becomes of it. The program has one
//!   that works on the machine; a benchmark has one that does nothing.
//!
//! # Rules
//! * **Bounded.** A coordinator that sends faster than the disk can remember is not read from; one that does not read
//!   gets the newest report per attempt, no queue.
//! * **A session's end ends nothing** (invariant I6). Open attempts go on, the board goes on; the next hello tells all.
//! * **Leases wait for nobody.** Renewals and the words of their coordinators go round the desk (module `lease`).
//! * **Silence at the end of the process is no order either**: [`Agent::stop`] says goodbye and leaves what runs running.
//!
//! # A light agent
//! ```no_run
//! # use std::sync::Arc;
//! # use interlock_agent::session::{Agent, Attempt, Executor, Options, Outcome};
//! struct NoOp;
//! impl Executor for NoOp {
//!     async fn execute(&self, _: Attempt) -> Outcome {
//!         Outcome::done("nothing to do")
//!     }
//! }
//! # async fn example(options: Options, recorder: interlock_agent::ledger::Recorder) {
//! let agent = Agent::start(options, recorder, Default::default(), |_board| Arc::new(NoOp));
//! # agent.stop("done").await;
//! # }
//! ```

mod acts;
mod agent;
mod alarm;
mod assignment;
mod bell;
mod board;
mod claims;
mod clock;
mod desk;
mod ended;
mod evidence;
mod executor;
mod greeting;
mod guards;
mod judge;
mod lease;
mod link;
mod open;
mod order;
mod outbox;
mod questions;
mod reach;

pub use agent::{Agent, Handle, Options};
pub use assignment::{AssignedInstance, Assignment};
pub use board::Board;
pub use claims::{Claim, Claims};
pub use clock::Clock;
pub use desk::NotTaken;
pub(crate) use evidence::line;
pub use executor::{Attempt, Executor, Halt};
pub use interlock_engine::agent::ledger::{ByHand, Entry, Outcome, Permit};
pub use lease::{LeaseMail, LeaseSay, LeaseWord};
pub use reach::LinkState;
