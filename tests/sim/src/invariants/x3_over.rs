//! X3: an agent forgets attempts only below a mark that is durable, what is below it never begins, and the mark goes only
//! over operations that are over.

use std::collections::BTreeMap;

use interlock_engine::agent::ledger::{Record, Slot};
use interlock_engine::coordinator::ToAgent;
use interlock_model::ids::OperationId;
use interlock_model::names::NodeName;

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};

/// Acts by hand belong to no operation, and are forgotten by their number.
const BY_HAND: OperationId = OperationId(0);

/// The mark that each agent has made durable, as we saw it ourselves.
#[derive(Debug, Default)]
pub(crate) struct Over(BTreeMap<NodeName, OperationId>);

impl Invariant for Over {
    fn number(&self) -> Number {
        Number::X3
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Recorded {
                node,
                records,
                removed,
            } => {
                let mark = self.0.entry((*node).clone()).or_default();
                for record in *records {
                    if let Record::ClosedBelow(below) = record {
                        if below < mark {
                            return Err(format!("{node} went back from {mark} to {below}"));
                        }
                        *mark = *below;
                    }
                }
                let lost = removed.iter().find_map(|slot| match slot {
                    Slot::Entry(id) if id.operation != BY_HAND && id.operation >= *mark => Some(id),
                    _ => None,
                });
                match lost {
                    Some(id) => Err(format!("{node} forgot {id}, and {mark} is its mark")),
                    None => Ok(()),
                }
            }
            Fact::Began { node, id, .. } => match self.0.get(*node) {
                Some(mark) if id.operation < *mark => Err(format!(
                    "{node} began {id}, and everything below {mark} was over there"
                )),
                _ => Ok(()),
            },
            Fact::Sent { send } => match &send.message {
                ToAgent::Close(below) => {
                    match sight.store.heads_under_way().find(|id| id < below) {
                        Some(id) => Err(format!("{} was told that {id} is over", send.to)),
                        None => Ok(()),
                    }
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
