//! How much of what was written a standby lacks that would take a role over.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What would be lost if a standby became primary now, and nobody brought it back: in the unit in which the manager of the
/// service counts (bytes of a log, transactions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortfall {
    /// So much: the last primary has said where it ended.
    Exactly(u64),
    /// So much of what the last primary has reported. What it wrote after that nobody knows.
    AtLeast(u64),
    /// Nobody knows how much.
    Unknown,
}

impl Shortfall {
    /// Has who accepts this loss accepted the other one as well? Nothing that is shown as a number stands for one that nobody knows.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Unknown, _) => true,
            (_, Self::Unknown) => false,
            (
                Self::Exactly(accepted) | Self::AtLeast(accepted),
                Self::Exactly(lost) | Self::AtLeast(lost),
            ) => lost <= accepted,
        }
    }

    /// For people; `unit` is that of the manager.
    #[must_use]
    pub fn told_in(self, unit: &str) -> impl fmt::Display {
        match self {
            Self::Exactly(lost) => format!("{lost} {unit}"),
            Self::AtLeast(lost) => format!(
                "at least {lost} {unit}, and what its last primary wrote after it last reported"
            ),
            Self::Unknown => "nobody knows how much".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Shortfall::{AtLeast, Exactly, Unknown};

    #[test]
    fn nobody_loses_more_than_was_accepted() {
        assert!(Exactly(7).covers(Exactly(7)));
        assert!(AtLeast(7).covers(AtLeast(6)));
        assert!(!AtLeast(7).covers(AtLeast(8)));
        assert!(!Exactly(u64::MAX).covers(Unknown));
        assert!(Unknown.covers(Exactly(u64::MAX)));
        assert!(Unknown.covers(Unknown));
    }
}
