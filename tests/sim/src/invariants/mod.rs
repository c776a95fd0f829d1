//! The invariants, one file each: what must be true whatever happens.
//!
//! Each watches facts of the simulated world, never what the engine says of itself. I1 (never two primaries) comes
//! with leases and failover; I11 and I12 are about programs, not about the core, and are tested there. The rules of the
//! safety argument that an invariant does not say in its own words have files of their own.
//!
//! | file | invariant |
//! |---|---|
//! | `i2_order` | no step starts before the wait condition of each of its edges is met |
//! | `i3_durable_first` | intent is durable before dispatch, outcome before the next dispatch |
//! | `i4_once` | no completed step runs again, no unknown outcome of what must not be repeated is repeated |
//! | `i5_unknown` | down is what the power source or the manager says, and nothing else |
//! | `i6_silence` | silence stops nothing: an attempt that was meant, a person or a death is behind all that goes down |
//! | `i7_terms` | an older term commands nothing |
//! | `i8_claims` | one operation holds a node or service |
//! | `i9_plan` | the plan that runs is the plan that was shown, or it halts |
//! | `i10_memory` | what was active before a full stop is remembered |
//! | `e11_line` | a term belongs to one process, and what was done in another line of the store is not done in this one |
//! | `x1_closed` | who asks for an attempt closes it, and so does a later attempt |
//! | `x2_one_hand` | an attempt or the guard has an instance in hand, never both |
//! | `x3_over` | what is over is forgotten for good, and nothing else is |
//! | `x4_whole` | what belongs together is in the store together |
//! | `guard` | a guard brings up only what is wanted, and within its budget |
//! | `files` | a file changes only while its instance is down, to what the plan says or what it said before |
//! | `members` | a member is out of its load balancers before it is stopped, and in them when it is said to be back |
//! | `under` | nothing goes down with its machine that should have been stopped before |

mod decided;
mod e11_line;
mod files;
mod guard;
mod i10_memory;
mod i2_order;
mod i3_durable_first;
mod i4_once;
mod i5_unknown;
mod i6_silence;
mod i7_terms;
mod i8_claims;
mod i9_plan;
mod members;
mod under;
mod x1_closed;
mod x2_one_hand;
mod x3_over;
mod x4_whole;

use std::fmt;
use std::time::Duration;

use crate::fact::{Fact, Sight};

pub(crate) use i10_memory::forgotten;

/// How long it may take until the core hears of what has changed by itself, beyond the time between two looks. Of what it
/// has asked for it hears in its own time, and no rule makes an allowance for that.
pub(crate) const ON_THE_WAY: Duration = Duration::from_millis(1500);

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant.
    pub invariant: Number,
    /// When, in virtual time.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} at {:.3}s: {}",
            self.invariant,
            self.at.as_secs_f64(),
            self.what
        )
    }
}

/// The numbers of the invariants and rules that the simulator watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Number {
    /// Order.
    I2,
    /// Durable first.
    I3,
    /// Once.
    I4,
    /// Unknown is not OK.
    I5,
    /// Silence is no instruction.
    I6,
    /// Terms.
    I7,
    /// Claims.
    I8,
    /// The plan that was shown.
    I9,
    /// Remembered activity.
    I10,
    /// Lines of a store, and whose a term is.
    E11,
    /// What a question closes.
    X1,
    /// One hand.
    X2,
    /// What is over.
    X3,
    /// Whole transactions.
    X4,
    /// What a guard may do.
    Guard,
    /// What goes down with its machine.
    Under,
    /// Members of load balancers.
    Members,
    /// Files of services.
    Files,
}

impl Number {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::E11,
        Self::X1,
        Self::X2,
        Self::X3,
        Self::X4,
        Self::Guard,
        Self::Under,
        Self::Members,
        Self::Files,
    ];
}

/// One rule, watching.
pub(crate) trait Invariant: fmt::Debug {
    fn number(&self) -> Number;
    /// Takes notice of a fact.
    ///
    /// # Errors
    /// With what is wrong, if the rule is broken by it.
    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String>;
}

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(i2_order::Order::default()),
        Box::new(i3_durable_first::DurableFirst::default()),
        Box::new(i4_once::Once::default()),
        Box::new(i5_unknown::Unknown),
        Box::new(i6_silence::Silence::default()),
        Box::new(i7_terms::Terms::default()),
        Box::new(i8_claims::Claims),
        Box::new(i9_plan::ShownPlan::default()),
        Box::new(i10_memory::Memory::default()),
        Box::new(e11_line::Line::default()),
        Box::new(x1_closed::Closed::default()),
        Box::new(x2_one_hand::OneHand::default()),
        Box::new(x3_over::Over::default()),
        Box::new(x4_whole::Whole),
        Box::new(guard::Guarding::default()),
        Box::new(under::Under::default()),
        Box::new(members::Members::default()),
        Box::new(files::Files::default()),
    ]
}
