//! What people did at this agent's door, for the wire.

use std::collections::BTreeSet;

use interlock_engine::agent::ledger::Ledger;
use interlock_engine::by_hand::{Act, ActId};
use interlock_model::time::Timestamp;
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message;

use super::evidence::line;

/// Tells of acts that are over.
pub(super) fn message(acts: impl IntoIterator<Item = Act>) -> Message {
    Message::ByHand(v1::ActsByHand {
        acts: acts.into_iter().map(to_wire).collect(),
    })
}

/// Tells of the acts in the ledger, but of those that a coordinator knows; none if it knows all.
pub(super) fn but(known: &BTreeSet<ActId>, ledger: &Ledger) -> Option<Message> {
    let acts = ledger.acts_by_hand();
    let mut unknown = acts.filter(|act| !known.contains(&act.id)).peekable();
    unknown.peek().is_some().then(|| message(unknown))
}

/// Which act a coordinator knows.
pub(super) fn from_wire(id: v1::ActId) -> ActId {
    ActId {
        number: id.number,
        begun: Timestamp(id.begun_ms),
    }
}

fn to_wire(act: Act) -> v1::ActByHand {
    v1::ActByHand {
        id: Some(v1::ActId {
            number: act.id.number,
            begun_ms: act.id.begun.0,
        }),
        who: act.who,
        reason: line(&act.why),
        what: act.what,
        service: act
            .service
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        state: v1::AttemptState::from(act.state).into(),
        evidence: line(&act.evidence),
    }
}
