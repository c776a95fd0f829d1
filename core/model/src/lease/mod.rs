//! The vocabulary of leases: the right of one instance to be primary, and what bounds it in time.
//!
//! # Terms
//! * **Epoch**: the fencing number of a service's lease, [`Epoch`]; one more at every change of holder.
//! * **Holder**: a node in one boot of it, [`Holder`]. The boot belongs to it, because what a machine believed before it
//!   was switched off must not count afterwards.
//! * **Terms**: what the holder and the leader have agreed on, [`Terms`]: timings, what happens when nobody above can be
//!   reached, who the members are. They live in the lease record and change only with a renewal (safety rule E8).
//! * **Exclusion**: what is written down of why an earlier holder cannot be active any more, [`Exclusion`]. It is a note,
//!   not a right: the value without which no epoch can begin is made in the engine, by the machine that establishes it.
//!
//! | file | holds |
//! |---|---|
//! | `epoch` | epochs and holders |
//! | `timings` | the six durations and the rate error, and the two profiles |
//! | `arithmetic` | why a set of timings is refused, in words (safety rules E13, E15) |
//! | `recovery` | how long a recovery takes that follows from them |
//! | `terms` | policy, members, what is accepted |
//! | `exclusion` | the note of why an epoch is over |
//! | `shortfall` | what a standby lacks |

mod arithmetic;
mod epoch;
mod exclusion;
mod recovery;
mod shortfall;
mod terms;
mod timings;

pub use arithmetic::{BadTimings, Inequality};
pub use epoch::{Epoch, Holder};
pub use exclusion::Exclusion;
pub use recovery::{Costs, Recovery, Way};
pub use shortfall::Shortfall;
pub use terms::{ControlLoss, Synchrony, Terms, VmPause};
pub use timings::{Durations, Election, MARGIN, Profile, RateError, Timings};
