//! Where to connect to, and whom to find there.

use std::fmt;

use super::Expected;

/// An address, and who is expected there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    address: Box<str>,
    expected: Expected,
}

impl Target {
    /// `address` is `HOST:PORT`, with an IPv6 address in brackets. It is looked up at each connect, so that a name
    /// may move.
    #[must_use]
    pub fn new(address: impl Into<Box<str>>, expected: Expected) -> Self {
        Self {
            address: address.into(),
            expected,
        }
    }

    /// The address as it was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who is expected there.
    #[must_use]
    pub const fn expected(&self) -> &Expected {
        &self.expected
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.expected, self.address)
    }
}
