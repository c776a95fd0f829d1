//! Leases: who may be primary, on both sides, and nobody else.
//!
//! # Purpose
//! An exclusive service has one instance that may accept writes. The right to do so is the **lease** of the service's
//! current **epoch**. This module holds the machines that give it, keep it, lose it and take it away; it carries nothing
//! out.
//!
//! ```text
//!   leader                       store                      holder (agent)
//!     │ bump: proofs of all        │                          │
//!     │ earlier epochs ───────────►│ record of epoch e+1      │
//!     │ promote ──────────────────────────────────────────── ►│ no right yet
//!     │                            │◄── renewal of e+1 ───────│ through any coordinator
//!     │                            │─── acknowledged ────────►│ mark durable, then promote
//!     │ reads the record, counts   │◄── renewal, every R ─────│ counts from sending: at S stops by force
//!     │ L from its own reading     │                          │
//! ```
//!
//! # Terms
//! * **Record**: one value per service in the store, [`LeaseRecord`]. Every renewal rewrites it, so its revision moves.
//! * **Bump**: the transaction by which the leader begins the next epoch. Conditional on the leader's key and on the
//!   record's revision (safety rules E3, E9), and it takes the claim of the service (E18).
//! * **Hand-over**: the holder is asked to give its role back, and the record says so before it is: [`HandOver`].
//! * **Proof**: [`ExclusionProof`], why an epoch is over. Only the code that establishes it makes one, and [`Excluded`],
//!   without which no bump can be written, is made of one for *every* earlier epoch.
//! * **Right**: [`Right`], what a promotion is carried out with. Only an own acknowledged renewal makes one (E5).
//! * **Safeguard**: what acts on the node when its agent cannot: an armed watchdog, or a path of the clients that the
//!   kernel closes by itself (E4).
//! * **Doubt**: the store may have gone back, so nothing is decided until all members have spoken (E11).
//!
//! # Where a rule is kept
//! | rule | file |
//! |---|---|
//! | E1, E4, E6 expiry as a proof | `leader/expiry` |
//! | E2 promises of peers | `holder/failsafe` |
//! | E3, E9, E18 the bump | `leader/bump`, `proof`, `transaction` |
//! | E5, E17 promotion | `holder/promotion` |
//! | E7, E8 watchdog, terms, renewals in order | `holder/tenure`, `holder/renewing`, `renewal` |
//! | E10 release | `holder/ending`, `renewal` |
//! | E11 a store that went back | `leader/doubt` |
//! | E12 an agent that starts or ends | `holder/start`, `holder/ending` |
//! | E13, E15 timings | `interlock_model::lease` |
//! | E14 forced stop, reset | `holder/ending` (its system calls are the program's) |
//! | E16 by hand | `holder` |
//! | D1 synchrony, fitness | `holder/renewing`, `leader/fitness` |

mod clock;
mod hand_over;
pub mod holder;
pub mod leader;
mod proof;
mod record;
mod renewal;
mod transaction;

pub use clock::Clock;
pub use hand_over::{HandOver, Reason};
pub use proof::{Excluded, ExclusionProof, NotExcluded};
pub use record::{LeaseRecord, Safeguards};
pub use renewal::{NotRenewed, ReleaseReport, RenewRequest, Written, release, renew};
pub use transaction::{Change, Condition, Stored, Transaction};

/// The right to be primary in an epoch: an own renewal of it was acknowledged (safety rule E5).
///
/// A promotion is carried out with one, so that none can be expressed without; only the holder's machine makes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Right(interlock_model::lease::Epoch);

impl Right {
    /// In which epoch.
    #[must_use]
    pub fn epoch(&self) -> interlock_model::lease::Epoch {
        self.0
    }
}
