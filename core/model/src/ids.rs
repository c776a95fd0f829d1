//! Numbers that the system counts, each a type of its own so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

counters! {
    /// The fencing number of coordinator leadership. Belongs to one coordinator process (safety rule E11).
    Term,
    /// The number of an applied cluster spec. The first applied spec is generation 1; 0 is a spec never applied.
    Generation,
    /// One dispatch of a step; attempt *n* closes all lower ones of its step (safety rule X1).
    AttemptNo,
    /// The position of an entry in an operation's journal, from 1.
    JournalSeq,
}

/// One durable execution of a plan.
///
/// A number, counted by the store and never reused, because operators type it and because agents refuse attempts of
/// operations below a mark (safety rule X3), which needs an order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OperationId(pub u64);

impl OperationId {
    /// The id after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op-{}", self.0)
    }
}

/// A text is not an operation id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an operation: write it as op-17 or 17; `interlockctl operation list` shows them"
)]
pub struct BadOperationId(String);

impl FromStr for OperationId {
    type Err = BadOperationId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("op-").unwrap_or(text);
        number
            .parse()
            .map(Self)
            .map_err(|_| BadOperationId(text.chars().take(40).collect()))
    }
}

/// The identity of one boot of a machine; another value means that the machine was off in between.
///
/// Linux: `/proc/sys/kernel/random/boot_id` (random(4)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of one attempt, as the ledger of an agent knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The operation that dispatched it.
    pub operation: OperationId,
    /// The step of the operation's plan.
    pub step: crate::plan::StepId,
    /// The dispatch number, from 1.
    pub attempt: AttemptNo,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.operation, self.step, self.attempt)
    }
}
