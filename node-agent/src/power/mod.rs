//! Power of other machines, through fence agents.
//!
//! A **fence agent** is a program that switches one **plug** (outlet, VM, blade) of a power **device** on and off and
//! says whether it is on. Interlock runs unmodified agents of the fence-agents package and everything else that
//! follows the same contract.
//!
//! # The contract, as far as it is used
//! Options go to standard input as `key=value` lines, never into arguments, where every user of the machine could
//! read them. `action=`, `nodename=` and the plug (under the name that the agent's metadata offers) come from the
//! request. Exit code 0 is success, and for `on` and `off` it means *verified*; `status` says on with 0 and off with 2;
//! everything else is a failure. Source: `doc/FenceAgentAPI.md` and `lib/fencing.py.py` of fence-agents.
//!
//! # Rules
//! * **A time-out is never a success** and never proof of anything: the state of the plug is unknown (invariant I5).
//! * Every attempt has a limit of ours, and at its end the whole process group dies.
//! * One request at a time runs against a device; many of them accept a single session.
//! * Option names are checked against the agent's metadata before anything runs: agents ignore what they do not know,
//!   so that a typing error in an option would otherwise be found in an emergency.
//! * Secrets are written to the agent's standard input and nowhere else; reports are redacted and short (I12).

mod answer;
mod error;
mod fencer;
mod metadata;
mod process;
mod request;
mod retry;
mod secret;

pub use error::FenceError;
pub use fencer::{Fencer, Options};
pub use metadata::{ActionInfo, Metadata};
pub use request::{Action, FenceRequest, OptionValue, Plug, PowerState, Reply};
pub use retry::RetryRule;
pub use secret::Secret;
pub(crate) use secret::redact;
