//! What people did at agents' own doors: one event for each act, however often it is told (invariant I11).
//!
//! An act is known by an event that names it, and by a record of its node that outlives the event. Both are written by
//! the same call, the event first: where a crash parts them, the event alone is enough, for the events are looked through
//! at a start.

use std::collections::BTreeSet;

use interlock_model::attempt::AttemptState;
use interlock_model::names::NodeName;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::ToAgent;
use super::records::{self, Write};
use crate::by_hand::{Act, ActId};

/// How many acts of a node are known. An agent remembers half as many, so what it tells again is among them.
const KNOWN: usize = 2 * crate::agent::ledger::MAX_BY_HAND;

impl Coordinator {
    /// Tells an agent which acts need not be told, and so asks for the others.
    pub(super) fn ask_for_acts(&mut self, node: &NodeName) {
        let known = self.acts.get(node).cloned().unwrap_or_default();
        self.send(node.clone(), ToAgent::KnownActs(known));
    }

    /// An agent told what people did on its node.
    pub(super) fn by_hand(&mut self, node: &NodeName, acts: Vec<Act>, now: Now) {
        let known = self.acts.get(node).into_iter().flatten();
        let mut known: BTreeSet<ActId> = known.copied().collect();
        let mut any = false;
        for act in acts {
            if !known.insert(act.id) {
                continue;
            }
            any = true;
            let of_node = self.acts.entry(node.clone()).or_default();
            of_node.push(act.id);
            let excess = of_node.len().saturating_sub(KNOWN);
            of_node.drain(..excess);
            self.event("by-hand", now, |event| {
                event.node = node.to_string();
                event.service = act
                    .service
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                event.text = line(&act, node);
                event.who = act.who;
                event.act = Some(act.id);
            });
        }
        if any && let Some(known) = self.acts.get(node) {
            let record = Write::json(records::by_hand_key(node), known);
            self.output.writes.push(record);
        }
    }
}

/// An act in one line for people.
fn line(act: &Act, node: &NodeName) -> String {
    let outcome = match act.state {
        AttemptState::Done => "done",
        AttemptState::Failed => "failed",
        AttemptState::Refused => "refused",
        AttemptState::Unknown
        | AttemptState::NeverSeen
        | AttemptState::Accepted
        | AttemptState::GoingDown => "unknown whether it happened",
    };
    format!(
        "{} on {node} by hand: {outcome}: {} (reason: {})",
        act.what, act.evidence, act.why
    )
}
