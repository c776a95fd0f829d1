//! What a call wants done: collected while it runs, taken by the caller when it has ended.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::check::CheckId;
use interlock_model::names::NodeName;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::{Send, ToAgent};
use super::question;
use super::records::{self, Event, KEPT_EVENTS, Write};
use crate::operation::Effect;

/// The longest text of an event, in bytes: a page for people, and far below what a store takes.
const MAX_TEXT: usize = 16 * 1024;

/// What a call wants done: the writes, and once they are durable the sends.
#[derive(Debug, Default)]
pub struct Output {
    /// Changes of the store that belong together.
    pub writes: Vec<Write>,
    /// Messages to agents.
    pub sends: Vec<Send>,
}

impl Output {
    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.sends.is_empty()
    }
}

impl Coordinator {
    /// Takes what is to be done since this was last called.
    pub fn take_output(&mut self) -> Output {
        self.write_journals();
        self.let_go();
        std::mem::take(&mut self.output)
    }

    /// Records something for people.
    pub fn event(&mut self, kind: &str, now: Now, fill: impl FnOnce(&mut Event)) {
        let mut event = Event {
            sequence: self.next_event,
            at: now.wall,
            kind: kind.to_owned(),
            node: String::new(),
            service: String::new(),
            operation: String::new(),
            who: String::new(),
            act: None,
            text: String::new(),
        };
        fill(&mut event);
        if event.text.len() > MAX_TEXT {
            let end = event.text.floor_char_boundary(MAX_TEXT);
            event.text.truncate(end);
            event.text.push('…');
        }
        self.output
            .writes
            .push(Write::json(records::event_key(self.next_event), &event));
        if let Some(old) = self.next_event.checked_sub(KEPT_EVENTS) {
            self.output
                .writes
                .push(Write::delete(records::event_key(old)));
        }
        self.next_event += 1;
    }

    pub(super) fn send(&mut self, to: NodeName, message: ToAgent) {
        self.tell_claims_to(&to);
        self.output.sends.push(Send { to, message });
    }

    /// Asks a node to run checks at once.
    fn probe(&mut self, on: NodeName, checks: Vec<CheckId>, now: Now) {
        let ask = question::number(now);
        self.send(on, ToAgent::Probe { ask, checks });
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>, now: Now) {
        let mut polled = BTreeSet::new();
        let mut probed: BTreeMap<NodeName, Vec<CheckId>> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::Dispatch {
                    to,
                    id,
                    limit,
                    command,
                } => self.send(to, ToAgent::Dispatch { id, limit, command }),
                Effect::Query { to, id } => self.send(to, ToAgent::Query(id)),
                Effect::Cancel { to, id } => self.send(to, ToAgent::Cancel(id)),
                Effect::Probe { on, checks } => probed.entry(on).or_default().extend(checks),
                Effect::AskPower(node) => {
                    polled.insert(node);
                }
                Effect::TryAddress {
                    on,
                    service,
                    node,
                    address,
                } => self.try_address(on, service, node, address, now),
            }
        }
        for (on, checks) in probed {
            self.probe(on, checks, now);
        }
        if !polled.is_empty() {
            self.poll_power(polled, now);
        }
    }
}
