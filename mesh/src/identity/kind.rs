//! The three kinds of certificate holders.

use std::fmt;

/// What a certificate's holder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The program on every node.
    Agent,
    /// The program that runs operations.
    Coordinator,
    /// A person, or a program that acts for one.
    Operator,
}

impl Kind {
    /// All kinds, in the order in which they are documented.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Coordinator, Self::Operator];

    /// The word in URIs and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
            Self::Operator => "operator",
        }
    }

    /// Whether programs of this kind accept connections, so that their certificates are for servers too.
    #[must_use]
    pub const fn serves(self) -> bool {
        match self {
            Self::Agent | Self::Coordinator => true,
            Self::Operator => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
