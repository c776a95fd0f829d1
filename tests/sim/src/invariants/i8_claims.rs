//! I8: at most one operation changes a node or service, none beside it looks at it, and a second operator is told who does.

use interlock_engine::operation::What;
use interlock_model::action::Action;
use interlock_model::ids::OperationId;

use super::{Invariant, Number};
use crate::fact::{Fact, Sight};
use crate::store::{Store, operation_of};

#[derive(Debug)]
pub(crate) struct Claims;

impl Invariant for Claims {
    fn number(&self) -> Number {
        Number::I8
    }

    fn see(&mut self, fact: &Fact<'_>, sight: &mut Sight<'_>) -> Result<(), String> {
        match fact {
            Fact::Stored(writes) => {
                for write in *writes {
                    let Some(id) = operation_of(&write.key) else {
                        continue;
                    };
                    let begins = write.key.contains("/journal/")
                        && sight
                            .store
                            .journal(id)
                            .next_back()
                            .is_some_and(|entry| !matches!(entry.what, What::Turned { .. }));
                    if begins {
                        alone(id, sight.store)?;
                    }
                }
                Ok(())
            }
            Fact::Refused(holder) => {
                let holds = sight
                    .store
                    .heads()
                    .iter()
                    .any(|head| head.id == *holder && !head.state.is_over());
                // The end may be on its way to the store; the start was there before anybody was told of it.
                let known = sight.store.heads().iter().any(|head| head.id == *holder);
                if holds || known {
                    Ok(())
                } else {
                    Err(format!(
                        "a second operator was refused for {holder}, which nobody started"
                    ))
                }
            }
            _ => Ok(()),
        }
    }
}

/// Does no other operation that is not over change a node or service of this one? Of what a step only looks at, the service
/// counts: another one may run on its node.
fn alone(id: OperationId, store: &mut Store) -> Result<(), String> {
    let under_way: Vec<OperationId> = store
        .heads()
        .iter()
        .filter(|head| !head.state.is_over() && head.id != id)
        .map(|head| head.id)
        .collect();
    let Some(plan) = store.plan(id) else {
        return Ok(());
    };
    for other in under_way {
        let Some(theirs) = store.operation(other).filter(|it| !it.state().is_over()) else {
            continue;
        };
        let shared = plan.plan().steps.iter().find(|step| {
            let acts = step.action != Action::Check;
            acts && step.node.is_some() && theirs.claims().changes(step.node.as_ref(), None)
                || step.service.is_some() && theirs.claims().changes(None, step.service.as_ref())
        });
        if let Some(step) = shared {
            return Err(format!(
                "{id} goes on with {} while {other} holds it",
                step.id
            ));
        }
    }
    Ok(())
}
