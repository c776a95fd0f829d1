//! The table.

use std::collections::BTreeMap;

use super::{Access, interlock_v1};
use crate::identity::{Caller, Identity};

/// Methods, by path (`/package.Service/Method`), with the callers that each admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    rows: BTreeMap<&'static str, Access>,
}

/// A method stands in a table twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the method {0} is in the table twice")]
pub struct DuplicateMethod(pub &'static str);

/// Why a call is denied.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Denied<'a> {
    /// Somebody else may.
    #[error("{caller} may not call {method}: it needs {needs}")]
    Caller {
        /// Who called.
        caller: Caller<'a>,
        /// What was called.
        method: &'a str,
        /// Who may.
        needs: Access,
    },
    /// Nobody may.
    #[error(
        "{caller} may not call {method}: this program does not know it; is it of another version?"
    )]
    Unknown {
        /// Who called.
        caller: Caller<'a>,
        /// What was called.
        method: &'a str,
    },
}

impl Table {
    /// A table of these rows.
    ///
    /// # Errors
    /// [`DuplicateMethod`] if a method stands in it twice, even with the same access: the second row would be the one
    /// that somebody forgets to change.
    pub fn new(
        rows: impl IntoIterator<Item = (&'static str, Access)>,
    ) -> Result<Self, DuplicateMethod> {
        let mut table = BTreeMap::new();
        for (method, access) in rows {
            if table.insert(method, access).is_some() {
                return Err(DuplicateMethod(method));
            }
        }
        Ok(Self { rows: table })
    }

    /// The methods of `interlock.v1`, health and reflection.
    #[must_use]
    pub fn interlock_v1() -> Self {
        // Not `new`: that no method is there twice is a property of a constant, and a test's business.
        Self {
            rows: interlock_v1::ROWS.iter().copied().collect(),
        }
    }

    /// Whether `caller` may call `method`.
    ///
    /// # Errors
    /// [`Denied`] says what is missing.
    pub fn check<'a>(&self, caller: &'a Identity, method: &'a str) -> Result<(), Denied<'a>> {
        match self.rows.get(method) {
            Some(access) if access.admits(caller) => Ok(()),
            Some(access) => Err(Denied::Caller {
                caller: caller.caller(),
                method,
                needs: *access,
            }),
            None => Err(Denied::Unknown {
                caller: caller.caller(),
                method,
            }),
        }
    }

    /// All rows, by path.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, Access)> + '_ {
        self.rows.iter().map(|(method, access)| (*method, *access))
    }
}
