//! Asking power sources.
//!
//! An agent on a `via` node runs the fence agent's `status`. While a node is silent its source is asked from time to
//! time, so that what a person sees, and what a plan is made from, is known and not merely remembered.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::action::{FenceAction, Power, PowerRef};
use interlock_model::names::NodeName;
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::ToAgent;
use super::records::{self, Verified, Write};
use crate::operation::fence_call;

/// How often the source of a silent node is asked.
const SILENT: Duration = Duration::from_secs(60);

/// How many questions one tick begins at most: a cluster that is down is many silent nodes, and each question is a
/// process on a `via` node.
const AT_ONCE: usize = 2;

/// How long an unanswered question keeps another one about the same node from being asked, beyond the device's limit.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question to a power source that has no answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its number; an answer to an earlier one is of no interest.
    number: u64,
    /// When it was asked.
    at: Duration,
    /// Somebody asked once more in the meantime, and must not be served with an answer that is older than that.
    again: bool,
}

/// How a node is switched, as plans name it.
#[must_use]
pub(crate) fn power_ref(spec: &Spec, node: &NodeName) -> Option<PowerRef> {
    let power = spec.nodes.get(node)?.power.as_ref()?;
    let device = spec.power.get(&power.by)?;
    Some(PowerRef {
        device: power.by.clone(),
        plug: power.plug.clone(),
        via: device.via.clone(),
        shutdown: power.shutdown,
    })
}

impl Coordinator {
    /// The nodes whose plug is verified, as the current spec names it.
    #[must_use]
    pub fn verified_nodes(&self) -> BTreeSet<NodeName> {
        let Some(applied) = &self.applied else {
            return BTreeSet::new();
        };
        applied
            .spec
            .nodes
            .values()
            .filter(|node| self.verification(&node.name).is_some())
            .map(|node| node.name.clone())
            .collect()
    }
    /// How a node's plug was verified, if it was and is still the same.
    #[must_use]
    pub fn verification(&self, node: &NodeName) -> Option<&Verified> {
        let power = self
            .applied
            .as_ref()?
            .spec
            .nodes
            .get(node)?
            .power
            .as_ref()?;
        self.verified
            .get(node)
            .filter(|seen| seen.device == power.by.as_str() && seen.plug == power.plug)
    }
    /// Asks the power source of a node, unless a question about it is still under way.
    pub fn ask_power(&mut self, node: &NodeName, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let Some(power) = power_ref(&spec, node) else {
            return;
        };
        let Some(call) = fence_call(&spec, node, &power, FenceAction::Status) else {
            return;
        };
        if let Some(asked) = self.asked.get_mut(node)
            && now.since(asked.at) < call.limit + PATIENCE
        {
            asked.again = true;
            return;
        }
        let Some(via) = power.via.iter().find(|via| self.view.alive(via)) else {
            let names: Vec<&str> = power.via.iter().map(NodeName::as_str).collect();
            let why = format!(
                "no agent that reaches {}: {}",
                power.device,
                names.join(" or ")
            );
            self.view.powered(node, Power::Unknown, &why, now);
            return;
        };
        self.next_ask += 1;
        self.asked.insert(
            node.clone(),
            Asked {
                number: self.next_ask,
                at: now.mono,
                again: false,
            },
        );
        self.send(
            via.clone(),
            ToAgent::AskPower {
                ask: self.next_ask,
                call,
            },
        );
    }

    /// A power source answered. The answer is as old as its question: a slow fence agent tells what was so when it
    /// was asked, and a machine may have been switched since.
    pub(super) fn power_answer(
        &mut self,
        number: u64,
        node: &NodeName,
        power: Power,
        detail: &str,
        now: Now,
    ) {
        let Some(asked) = self.asked.get(node).filter(|asked| asked.number == number) else {
            return;
        };
        let (at, again) = (asked.at, asked.again);
        self.asked.remove(node);
        let spoke_since = self
            .view
            .node(node)
            .and_then(|seen| seen.session)
            .is_some_and(|opened| opened >= at);
        if power != Power::Off || !spoke_since {
            self.view
                .powered(node, power, detail, Now { mono: at, ..now });
        }
        if again {
            self.ask_power(node, now);
        }
    }

    pub(super) fn ask_silent_nodes(&mut self, spec: &Spec, now: Now) {
        let silent: Vec<NodeName> = spec
            .nodes
            .values()
            .filter(|node| node.power.is_some() && !self.view.alive(&node.name))
            .filter(|node| {
                self.asked
                    .get(&node.name)
                    .is_none_or(|asked| now.since(asked.at) >= SILENT)
            })
            .filter(|node| {
                let said = self
                    .view
                    .node(&node.name)
                    .and_then(|seen| seen.power.as_ref());
                // Nothing said is asked for again soon: perhaps there was only nobody yet who could ask.
                said.is_none_or(|(said, at, _)| {
                    now.since(*at)
                        >= if *said == Power::Unknown {
                            PATIENCE
                        } else {
                            SILENT
                        }
                })
            })
            .map(|node| node.name.clone())
            .take(AT_ONCE)
            .collect();
        for node in silent {
            self.ask_power(&node, now);
        }
    }

    /// Records that a node's plug is its own.
    pub fn verify(&mut self, node: &NodeName, how: &str, by: &str, now: Now) {
        let Some(power) = self
            .applied
            .as_ref()
            .and_then(|applied| power_ref(&applied.spec, node))
        else {
            return;
        };
        let verified = Verified {
            device: power.device.to_string(),
            plug: power.plug,
            how: how.to_owned(),
        };
        self.output
            .writes
            .push(Write::json(records::verified_key(node), &verified));
        self.event("power-verified", now, |event| {
            event.node = node.to_string();
            event.who = by.to_owned();
            event.text = format!(
                "plug {} of {} is {node}: {how}",
                verified.plug, verified.device
            );
        });
        self.verified.insert(node.clone(), verified);
    }
}
