//! What this machine lacks.

use std::fmt;

/// The exit code: `EX_UNAVAILABLE` of sysexits(3).
pub(crate) const CODE: u8 = 69;

/// This machine lacks what a system needs. Nothing was begun.
#[derive(Debug)]
pub(crate) struct Missing(pub(super) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}
