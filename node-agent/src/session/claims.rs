//! What operations hold of this node, as coordinators said last (invariant I8).
//!
//! Kept like the assignment: with every coordinator dead, what was held is still held. An operation that the ledger knows
//! to be over holds nothing, whatever was said of it. Whoever has to act all the same names the operation.

use std::collections::BTreeSet;

use interlock_engine::agent::ledger::{ByHand, Permit, Target};
use interlock_model::ids::{OperationId, Term};
use interlock_model::names::ServiceName;
use interlock_proto::convert::{self, Invalid};
use interlock_proto::v1;
use serde::{Deserialize, Serialize};

/// What one operation holds of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The operation.
    pub operation: OperationId,
    /// What it is for and who started it, for people.
    pub what: String,
    /// The instances that it holds.
    pub services: BTreeSet<ServiceName>,
}

/// Everything that is held of this node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// Reads a message: the claims, and the term in which they were said.
    pub(super) fn from_wire(wire: &v1::Claims) -> Result<(Term, Self), Invalid> {
        let claim = |wire: &v1::Claim| {
            let name = |text: &String| convert::name("claims.services", text);
            Ok(Claim {
                operation: OperationId(wire.operation),
                what: super::line(&wire.what),
                services: wire.services.iter().map(name).collect::<Result<_, _>>()?,
            })
        };
        let claims = wire.claims.iter().map(claim).collect::<Result<_, _>>()?;
        Ok((Term(wire.term), Self(claims)))
    }

    /// Weighs an act by hand against what is held: denies it, or notes in its reason whose hold it goes over. What is denied
    /// already stays denied for its own reason.
    pub(super) fn weigh(&self, act: &mut ByHand, over: &[OperationId], closed_below: OperationId) {
        let Target::Instance(service) = Target::of(&act.command) else {
            return;
        };
        let held = self.open(closed_below);
        let held = held.filter(|claim| claim.services.contains(&service));
        let (named, unnamed): (Vec<_>, Vec<_>) =
            held.partition(|claim| over.contains(&claim.operation));
        if let (Some(claim), Permit::Granted) = (unnamed.first(), &act.permit) {
            let operation = claim.operation;
            act.permit = Permit::Denied(format!(
                "{service} is held by {operation} ({}): wait for it, or end it with `interlockctl operation abort \
                 {operation}`. If no coordinator can be asked and this cannot wait, override it with \
                 --override-operation {operation}",
                claim.what
            ));
        }
        for claim in named {
            act.why = format!("{}, overriding {}", act.why, claim.operation);
        }
    }

    /// Those of operations that are not over: these are the ones from the closed mark on.
    pub(super) fn open(&self, closed_below: OperationId) -> impl Iterator<Item = &Claim> {
        self.0
            .iter()
            .filter(move |claim| claim.operation >= closed_below)
    }
}
