//! Agents that say hello and are not let in.
//!
//! An agent that works for another store, or whose numbers cannot be, has no session, and nothing is known of its node. It
//! is not silent: it knocks again every few seconds. People are told why, as a cause and once by an event, for they would
//! look for a dead machine otherwise. One reason is one cause, of however many agents: a store that was lost turns all of
//! them away.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::names::NodeName;
use interlock_model::time::Now;

use super::Coordinator;
use super::status::{Cause, named};

/// For how long it is told of one that knocks no more: three times the longest time after which an agent tries anew.
const KNOCKS: Duration = Duration::from_secs(15);

/// An agent that was not let in when it last knocked.
#[derive(Debug)]
pub(super) struct TurnedAway {
    why: String,
    /// When that was.
    last: Duration,
}

impl Coordinator {
    /// The agent of a node said hello and is not let in. Returns whether that is news: people are told once until it is let
    /// in again, whatever other reasons it gives meanwhile.
    pub fn turn_away(&mut self, node: &NodeName, why: &str, now: Now) -> bool {
        let turned_away = TurnedAway {
            why: why.to_owned(),
            last: now.mono,
        };
        let is_news = self.turned_away.insert(node.clone(), turned_away).is_none();
        if is_news {
            self.event("node-refused", now, |event| {
                event.node = node.to_string();
                event.text = format!("the agent of {node} is not let in: {why}");
            });
        }
        is_news
    }

    /// Why the agent of a node is not let in, if it knocks.
    #[must_use]
    pub fn turned_away(&self, node: &NodeName, now: Now) -> Option<&str> {
        let last = self.turned_away.get(node)?;
        (!self.view.connected(node) && now.since(last.last) < KNOCKS).then_some(last.why.as_str())
    }

    /// A cause for each reason, of all whom it keeps out.
    pub(super) fn refusals(&self, now: Now) -> Vec<Cause> {
        let mut kept_out: BTreeMap<&str, Vec<&NodeName>> = BTreeMap::new();
        for node in self.turned_away.keys() {
            if let Some(why) = self.turned_away(node, now) {
                kept_out.entry(why).or_default().push(node);
            }
        }
        let causes = kept_out.into_iter().map(|(why, nodes)| {
            let mut dependants: Vec<String> = nodes
                .iter()
                .flat_map(|node| self.services_on(node))
                .collect();
            dependants.sort_unstable();
            dependants.dedup();
            Cause {
                subject: named(&nodes),
                what: format!("refused: {why}"),
                dependants,
            }
        });
        causes.collect()
    }
}
