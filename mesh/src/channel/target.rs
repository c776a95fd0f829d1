//! Where to connect to, and whom to find there.

use std::fmt;

use super::{Address, Expected};

/// An address, and who is expected there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where to connect to.
    pub address: Address,
    /// Who must answer there.
    pub expected: Expected,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.expected, self.address)
    }
}
