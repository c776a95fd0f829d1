//! I6: silence from above is not an instruction.
//!
//! Whatever goes down was taken down by an attempt or by a person; never because nobody spoke.

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};
use crate::world::Cause;

#[derive(Debug)]
pub(crate) struct Silence;

impl Invariant for Silence {
    fn number(&self) -> Number {
        Number::I6
    }

    fn see(&mut self, fact: &Fact<'_>, _: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Down {
                node,
                service,
                cause: Cause::Silence,
            } => Err(format!(
                "{service} on {node} was stopped because nobody spoke"
            )),
            _ => Ok(()),
        }
    }
}
