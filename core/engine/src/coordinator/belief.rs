//! What an agent says of this store's own numbers, and how much of it is believed.
//!
//! An agent that remembers a later term or operation than the store knew this store before it was restored from a
//! backup, and the store's numbers go above it (safety rule E11); what the store remembers of activity is as old as its
//! numbers, and is given up (`forgotten`). But numbers are used up for good, and they end: one
//! agent with a damaged ledger, or in the wrong hands, must not be able to use them up for everybody. So what cannot
//! have been counted is not believed, and it is that agent alone that is not listened to.

use interlock_model::ids::OperationId;
use interlock_model::names::NodeName;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::Hello;
use crate::operation::Operation;

/// How far an agent may be ahead of the store. Terms grow by one with each takeover and operations by one with each
/// start: no backup is a million of either behind.
const FURTHEST: u64 = 1_000_000;

/// An agent names a number that this store cannot have given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this agent remembers {what} {said}, and this store is at {own}: nobody counts that far ahead, so its ledger \
     is damaged or not its own; stop the agent and look at its state directory"
)]
pub struct Absurd {
    /// The node.
    pub node: NodeName,
    /// What the number counts.
    pub what: &'static str,
    /// What the agent said.
    pub said: u64,
    /// Where this store is.
    pub own: u64,
}

impl Coordinator {
    /// Can what an agent remembers come from an earlier life of this store? To be asked before the hello is taken, and
    /// before anything is raised because of it. If not, people are told that it is turned away.
    ///
    /// # Errors
    /// The number that cannot be.
    pub fn believe(&mut self, node: &NodeName, hello: &Hello, now: Now) -> Result<(), Absurd> {
        let numbers = [
            ("the term", hello.highest_term.0, self.term.0),
            (
                "the operation",
                hello.highest_operation.0,
                self.last_operation().0,
            ),
            (
                "the end of all operations below",
                hello.closed_below.0,
                self.last_operation().0,
            ),
        ];
        let absurd = numbers
            .into_iter()
            .find(|(_, said, own)| *said > own.saturating_add(FURTHEST));
        let Some((what, said, own)) = absurd else {
            self.turned_away.remove(node);
            return Ok(());
        };
        let absurd = Absurd {
            node: node.clone(),
            what,
            said,
            own,
        };
        self.turn_away(node, &absurd.to_string(), now);
        Err(absurd)
    }

    /// Goes above what an agent remembers of operations. One that has begun by then and has a number which the agent
    /// knows from another life of this store is halted: the agent would answer from its memory of the other one, or
    /// refuse because that one is over.
    pub(super) fn remembered(&mut self, node: &NodeName, hello: &Hello, now: Now) {
        self.operations_fell_behind(node, hello, now);
        let namesakes: Vec<OperationId> = self
            .operations
            .values()
            .filter(|operation| operation.has_namesake(node, hello.closed_below, &hello.attempts))
            .map(Operation::id)
            .collect();
        if let Some(id) = namesakes.first() {
            self.fell_behind(node, &format!("another {id}"), now);
        }
        for id in namesakes {
            self.with_operation(id, now, |operation, ctx| operation.distrust(node, ctx));
        }
    }
}
