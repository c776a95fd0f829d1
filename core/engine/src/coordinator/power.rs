//! Asking power sources.
//!
//! An agent on a `via` node runs the fence agent's `status` for a plug, or its `list` for all plugs of a device. While
//! a node is silent its source is asked from time to time, so that what a person sees, and what a plan is made from, is
//! known and not merely remembered.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::action::{FenceAction, FenceCall, Power, PowerRef};
use interlock_model::names::NodeName;
use interlock_model::observation::Liveness;
use interlock_model::spec::Spec;
use interlock_model::time::Now;

use super::Coordinator;
use super::identity::PlugList;
use super::message::ToAgent;
use crate::operation::fence_call;

/// How often the source of a silent node is asked.
const SILENT: Duration = Duration::from_secs(60);

/// How many questions one tick begins at most: a cluster that is down is many silent nodes, and each question is a
/// process on a `via` node.
const AT_ONCE: usize = 2;

/// How long an unanswered question keeps another one about the same node from being asked, beyond the device's limit.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many questions that are asked again every second may be under way at one agent. It takes 32 at a time and refuses the
/// rest; what is left is for those that people and verifications ask.
const AT_A_VIA: usize = 24;

/// A question to a power source that has no answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its number; an answer to an earlier one is of no interest.
    number: u64,
    /// When it was asked.
    at: Duration,
    /// Whose agent was asked.
    via: NodeName,
    /// For how long it is waited for.
    limit: Duration,
    /// What for.
    why: Why,
    /// Somebody asked once more in the meantime, and must not be served with an answer that is older than that.
    again: Option<Why>,
}

impl Asked {
    /// Is the answer still awaited?
    fn is_under_way(&self, now: Now) -> bool {
        now.since(self.at) < self.limit
    }
}

/// What a power source is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// To find out whether the plug is the node's: what it says about a node whose agent is heard is not believed yet.
    ToVerify,
    /// To know whether the node has power.
    ToKnow,
}

/// A power source said *off* about a node whose agent was heard. Either the machine is gone, or it is another one's plug.
#[derive(Debug)]
pub(super) struct Doubt {
    /// When the question was asked.
    pub(super) asked: Duration,
    /// When the answer came. A machine that is off says nothing after that.
    pub(super) answered: Duration,
    /// The answer in the source's own words.
    pub(super) detail: String,
}

/// The question to a device for its plugs, and its answer.
#[derive(Debug)]
pub(super) struct Listing {
    number: u64,
    /// When it was asked.
    pub(super) at: Duration,
    /// By whom; none if nobody could.
    via: Option<NodeName>,
    /// What it said, if it has.
    pub(super) answer: Option<PlugList>,
}

/// How it stands with an answer of a power source that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// It is there, or will never be.
    Nothing,
    /// It was asked.
    Answer,
    /// No agent that reaches it is heard; one may come.
    Agent,
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
    /// Asks the power source of a node, unless a question about it is still under way.
    pub fn ask_power(&mut self, node: &NodeName, now: Now) {
        self.ask_for(node, Why::ToKnow, now);
    }

    /// Asks the power sources of nodes that are asked about every second, for as long as a step waits for their word. A question
    /// that is under way is left alone, for the next one comes by itself; and where an agent has as many as it takes, those are
    /// asked first that were asked, or told, the longest time ago.
    pub(super) fn poll_power(&mut self, nodes: BTreeSet<NodeName>, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let last = |node: &NodeName| {
            let seen = self.view.node(node);
            let told = seen.and_then(|seen| seen.power.as_ref()).map(|it| it.1);
            told.max(self.asked.get(node).map(|asked| asked.at))
        };
        let mut nodes: Vec<(Option<Duration>, NodeName)> =
            nodes.into_iter().map(|node| (last(&node), node)).collect();
        nodes.sort();
        for (_, node) in nodes {
            let Some(power) = power_ref(&spec, &node) else {
                continue;
            };
            let is_asked = |asked: &Asked| asked.is_under_way(now);
            if self.asked.get(&node).is_some_and(is_asked) {
                continue;
            }
            let via = self.via(&power);
            let asked = self.asked.values();
            let there = asked.filter(|it| it.is_under_way(now) && Some(&it.via) == via.as_ref());
            if there.count() < AT_A_VIA {
                self.ask_for(&node, Why::ToKnow, now);
            }
        }
    }

    /// Sees to it that the power source of a node is asked at `since` or later, and says what of that is still awaited.
    pub fn want_power(&mut self, node: &NodeName, since: Duration, now: Now) -> Awaited {
        let Some(spec) = self.spec() else {
            return Awaited::Nothing;
        };
        let Some(power) = power_ref(&spec, node) else {
            return Awaited::Nothing;
        };
        let unasked = unreachable(&power);
        let said = self.view.power_since(node, since);
        if said.is_some_and(|(said, detail)| said != Power::Unknown || detail != unasked) {
            return Awaited::Nothing;
        }
        if self.via(&power).is_none() {
            // For people: why it is not known.
            self.view.powered(node, Power::Unknown, &unasked, now);
            // Where one was heard and is gone, its node is a case for the plan's own report.
            let may_come = power.via.iter().any(|via| {
                let liveness = self.view.node(via).map(|seen| seen.liveness);
                !matches!(liveness, Some(Liveness::Lost | Liveness::Left))
            });
            return if may_come {
                Awaited::Agent
            } else {
                Awaited::Nothing
            };
        }
        let is_asked = |asked: &Asked| asked.at >= since && asked.is_under_way(now);
        if !self.asked.get(node).is_some_and(is_asked) {
            self.ask_power(node, now);
        }
        Awaited::Answer
    }

    /// Asks power sources about nodes, and the devices for their plugs, in order to verify these.
    pub(super) fn ask_to_verify(&mut self, nodes: &[NodeName], now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let mut devices = BTreeSet::new();
        for node in nodes {
            if let Some(power) = power_ref(&spec, node)
                && devices.insert(power.device.clone())
                && let Some(call) = fence_call(&spec, node, &power, FenceAction::List)
            {
                self.ask_for_plugs(&power, call, now);
            }
        }
        for node in nodes {
            self.doubts.remove(node);
            self.ask_for(node, Why::ToVerify, now);
        }
    }

    fn ask_for(&mut self, node: &NodeName, why: Why, now: Now) {
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
            && asked.is_under_way(now)
        {
            asked.again = asked.again.max(Some(why));
            return;
        }
        let Some(via) = self.via(&power) else {
            self.view
                .powered(node, Power::Unknown, &unreachable(&power), now);
            return;
        };
        let ask = self.new_ask();
        self.asked.insert(
            node.clone(),
            Asked {
                number: ask,
                at: now.mono,
                via: via.clone(),
                limit: call.limit + PATIENCE,
                why,
                again: None,
            },
        );
        self.send(via, ToAgent::AskPower { ask, call });
    }

    fn ask_for_plugs(&mut self, power: &PowerRef, call: FenceCall, now: Now) {
        let ask = self.new_ask();
        let via = self.via(power);
        let listing = Listing {
            number: ask,
            at: now.mono,
            via: via.clone(),
            answer: match via {
                Some(_) => None,
                None => Some(PlugList::Failed(unreachable(power))),
            },
        };
        self.lists.insert(power.device.clone(), listing);
        if let Some(via) = via {
            self.send(via, ToAgent::AskPower { ask, call });
        }
    }

    fn via(&self, power: &PowerRef) -> Option<NodeName> {
        let spec = self.spec()?;
        let device = spec.power.get(&power.device)?;
        self.view.fencer(&power.via, &device.fence).cloned()
    }

    /// The number of a new question to an agent. No coordinator before or after this one gives it to a question of its own: an
    /// answer that comes too late for that one is none to this.
    pub(super) fn new_ask(&mut self) -> u64 {
        self.last_ask += 1;
        self.last_ask
    }

    /// A device said which plugs it has, by the word of this agent.
    pub(super) fn plugs_answer(&mut self, from: &NodeName, number: u64, list: PlugList) {
        let mut lists = self.lists.values_mut();
        let is_asked = |it: &&mut Listing| it.number == number && it.via.as_ref() == Some(from);
        if let Some(listing) = lists.find(is_asked) {
            listing.answer = Some(list);
        }
    }

    /// A power source answered. The answer is as old as its question: a slow fence agent tells what was so when it
    /// was asked, and a machine may have been switched since. *Off* of a machine whose agent speaks is no proof of
    /// anything but a wrong plug, or a device that answers from a cache. And nobody answers for another one who was asked.
    pub(super) fn power_answer(
        &mut self,
        from: &NodeName,
        number: u64,
        node: &NodeName,
        power: Power,
        detail: &str,
        now: Now,
    ) {
        if self.fence_answer(from, number, node, power, detail, now) {
            return;
        }
        // An agent that is older than `list` answers so.
        self.plugs_answer(from, number, PlugList::Failed(detail.to_owned()));
        let asked = self.asked.get(node);
        let Some(asked) = asked.filter(|it| it.number == number && it.via == *from) else {
            return;
        };
        let (at, why, again) = (asked.at, asked.why, asked.again);
        self.asked.remove(node);
        let session = self.view.node(node).and_then(|seen| seen.session);
        let spoke_since = session.is_some_and(|opened| opened >= at);
        if power == Power::Off && why == Why::ToVerify && session.is_some() {
            self.doubts.insert(
                node.clone(),
                Doubt {
                    asked: at,
                    answered: now.mono,
                    detail: detail.to_owned(),
                },
            );
        } else if power != Power::Off || !spoke_since {
            let asked = Now { mono: at, ..now };
            let contrary = self.speaks_against_off(node, at, now);
            match contrary.filter(|_| power == Power::Off) {
                Some(contrary) => self.contradict(node, detail, &contrary, asked),
                None => self.view.powered(node, power, detail, asked),
            }
            if self.view.is_off(node) && self.verified.contains_key(node) {
                self.strays_are_off(node);
            }
        }
        if let Some(why) = again {
            self.ask_for(node, why, now);
        }
    }

    /// What speaks against a power source that says off of a machine: an agent that was heard just now, or, where none runs,
    /// a check that was green when it was asked. What was contradicted so stays so until its checks are green no more.
    fn speaks_against_off(&self, node: &NodeName, asked: Duration, now: Now) -> Option<String> {
        let spec = self.spec()?;
        if let Some(silent) = self.view.speaking(node, spec.control.late, now) {
            return Some(format!(
                "the agent of {node} was heard {}ms ago",
                silent.as_millis()
            ));
        }
        let known = self.view.node(node).is_some_and(|seen| seen.contradicted);
        let since = if known { Duration::ZERO } else { asked };
        self.view.answers(&spec, node, since, now)
    }

    /// Machines without an agent that are off by the word of their power source, and answer: that word is believed no more.
    pub(super) fn doubt_what_answers(&mut self, spec: &Spec, now: Now) {
        let agentless = spec.nodes.values().filter(|node| node.agentless.is_some());
        let off: Vec<&NodeName> = agentless
            .map(|node| &node.name)
            .filter(|node| self.view.is_off(node))
            .collect();
        for node in off {
            let said = self.view.node(node).and_then(|seen| seen.power.clone());
            if let Some((_, at, detail)) = said
                && let Some(answers) = self.view.answers(spec, node, at, now)
            {
                self.contradict(node, &detail, &answers, Now { mono: at, ..now });
            }
        }
    }

    /// A power source says off of a machine, and something speaks against it.
    fn contradict(&mut self, node: &NodeName, detail: &str, contrary: &str, asked: Now) {
        let Some(power) = self.spec().and_then(|spec| power_ref(&spec, node)) else {
            return;
        };
        let why = format!(
            "{} says off ({detail}), but {contrary}: is plug {} its own? Correct the spec, and match the plug again",
            power.device, power.plug
        );
        if self.view.contradicted(node, &why, asked) {
            self.event("power-contradicted", asked, |event| {
                event.node = node.to_string();
                event.text = why;
            });
        }
    }

    pub(super) fn ask_silent_nodes(&mut self, spec: &Spec, now: Now) {
        let silent: Vec<NodeName> = spec
            .nodes
            .values()
            .filter(|node| {
                let known = self.view.node(&node.name);
                let contradicted = known.is_some_and(|seen| seen.contradicted);
                node.power.is_some() && (contradicted || !self.view.alive(&node.name))
            })
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
}

fn unreachable(power: &PowerRef) -> String {
    let names: Vec<&str> = power.via.iter().map(NodeName::as_str).collect();
    format!(
        "no agent that reaches {}: {}",
        power.device,
        names.join(" or ")
    )
}
