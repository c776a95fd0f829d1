//! I7: agents refuse commands of an older term, and remember the highest across restarts.

use std::collections::BTreeMap;

use interlock_engine::agent::ledger::Record;
use interlock_model::ids::Term;
use interlock_model::names::NodeName;

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

/// The highest term that each agent has made durable, as we saw it ourselves.
#[derive(Debug, Default)]
pub(crate) struct Terms(BTreeMap<NodeName, Term>);

impl Invariant for Terms {
    fn number(&self) -> Number {
        Number::I7
    }

    fn see(&mut self, fact: &Fact<'_>, _: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Recorded { node, records, .. } => {
                let seen = self.0.entry((*node).clone()).or_default();
                for record in *records {
                    if let Record::Term(term) = record {
                        if *term < *seen {
                            return Err(format!(
                                "{node} went back from term {seen} to term {term}"
                            ));
                        }
                        *seen = *term;
                    }
                }
                Ok(())
            }
            Fact::Began { node, id, term, .. } => match self.0.get(*node) {
                Some(seen) if term < seen => Err(format!(
                    "{node} began {id} of term {term} after it had obeyed term {seen}"
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
