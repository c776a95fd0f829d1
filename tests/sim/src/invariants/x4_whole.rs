//! X4: what belongs together is in the store together: an operation has its head, its plan and its journal, and they
//! agree, whenever a coordinator reads them.

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

#[derive(Debug)]
pub(crate) struct Whole;

impl Invariant for Whole {
    fn number(&self) -> Number {
        Number::X4
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Opened => sight.store.torn().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }
}
