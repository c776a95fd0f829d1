//! Asking power sources.
//!
//! An agent on a `via` node runs the fence agent's `status` for a plug, or its `list` for all plugs of a device. While
//! a node is silent its source is asked from time to time, so that what a person sees, and what a plan is made from, is
//! known and not merely remembered.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::action::{FenceAction, FenceCall, Power, PowerRef};
use interlock_model::names::{NodeName, PowerName};
use interlock_model::observation::Liveness;
use interlock_model::spec::{Node, Spec};
use interlock_model::time::Now;

use super::Coordinator;
use super::asking::{About, Asked, Urgency, Why};
use super::identity::PlugList;
use super::message::ToAgent;
use crate::operation::fence_call;

/// How often the source of a silent node is asked.
const SILENT: Duration = Duration::from_secs(60);

/// How many questions one tick begins at most: a cluster that is down is many silent nodes, and each question is a
/// process on a `via` node.
const AT_ONCE: usize = 2;

/// How long an unanswered question keeps others from being asked, beyond the device's limit.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// When it was wanted.
    pub(super) at: Duration,
    /// The number under which it was asked for; none while it waits for its turn.
    number: Option<u64>,
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
    /// Asks the power source of a node, as soon as its turn comes. A question that is under way is not what was asked for now.
    pub fn ask_power(&mut self, node: &NodeName, now: Now) {
        self.ask_for(node, Why::ToKnow, Urgency::Wanted, now);
    }

    /// Asks the power sources of nodes that are asked about every second, for as long as a step waits for their word. A question
    /// that is under way is left alone, for the next one comes by itself.
    pub(super) fn poll_power(&mut self, nodes: BTreeSet<NodeName>, now: Now) {
        for node in nodes {
            let about = About::Node(node.clone());
            if self.askings.about(&about, &self.view, now).is_none() {
                self.ask_for(&node, Why::ToKnow, Urgency::Step, now);
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
        let about = About::Node(node.clone());
        let asked = self.askings.about(&about, &self.view, now);
        if asked.is_none_or(|asked| asked.at < since) && !self.askings.waits(&about) {
            self.ask_power(node, now);
        }
        Awaited::Answer
    }

    /// Asks power sources about nodes, and the devices for their plugs, in order to verify these.
    pub(super) fn ask_to_verify(&mut self, nodes: &[NodeName], now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let powers = nodes.iter().filter_map(|node| power_ref(&spec, node));
        let devices: BTreeSet<PowerName> = powers.map(|power| power.device).collect();
        for device in devices {
            let listing = Listing {
                at: now.mono,
                number: None,
                answer: None,
            };
            self.lists.insert(device.clone(), listing);
            let about = About::Plugs(device);
            self.askings
                .want(&about, Why::ToVerify, Urgency::Wanted, now);
        }
        for node in nodes {
            self.doubts.remove(node);
            self.ask_for(node, Why::ToVerify, Urgency::Wanted, now);
        }
        self.ask_what_waits(now);
    }

    fn ask_for(&mut self, node: &NodeName, why: Why, urgency: Urgency, now: Now) {
        let Some(power) = self.spec().and_then(|spec| power_ref(&spec, node)) else {
            return;
        };
        let Some(via) = self.via(&power) else {
            self.view
                .powered(node, Power::Unknown, &unreachable(&power), now);
            return;
        };
        self.askings
            .want(&About::Node(node.clone()), why, urgency, now);
        if self.askings.has_room(&via, &power.device, &self.view, now) {
            self.ask_what_waits(now);
        }
    }

    /// Sends the questions whose turn it is: one at a time to a device.
    pub(super) fn ask_what_waits(&mut self, now: Now) {
        self.askings.forget(now);
        let Some(spec) = self.spec() else {
            return;
        };
        for about in self.askings.turns() {
            let Some((call, power)) = call_about(&spec, &about) else {
                self.askings.drop_waiting(&about);
                continue;
            };
            let Some(via) = self.via(&power) else {
                self.askings.drop_waiting(&about);
                let why = unreachable(&power);
                match &about {
                    About::Node(node) => self.view.powered(node, Power::Unknown, &why, now),
                    About::Plugs(device) => self.listed(device, None, PlugList::Failed(why)),
                }
                continue;
            };
            if !self.askings.has_room(&via, &power.device, &self.view, now) {
                continue;
            }
            let Some(why) = self.askings.drop_waiting(&about) else {
                continue;
            };
            let ask = self.new_ask();
            if let About::Plugs(device) = &about
                && let Some(listing) = self.lists.get_mut(device)
            {
                listing.number = Some(ask);
            }
            let asked = Asked {
                about,
                call: call.clone(),
                via: via.clone(),
                at: now.mono,
                limit: call.limit + PATIENCE,
                why,
            };
            self.askings.sent(ask, asked);
            self.send(via, ToAgent::AskPower { ask, call });
        }
    }

    /// An agent has no turn for a question: no answer, and asked again.
    pub(super) fn is_busy(&mut self, from: &NodeName, number: u64, now: Now) {
        self.askings.is_busy(from, number, now);
    }

    /// The question that an agent answers now. If the spec has another device or plug there by now the answer is none: that was
    /// another question, which is asked as it is now.
    fn answered(&mut self, from: &NodeName, number: u64, now: Now) -> Option<Asked> {
        let asked = self.askings.answered(from, number)?;
        let spec = self.spec()?;
        let (call, _) = call_about(&spec, &asked.about)?;
        if is_same(&call, &asked.call) {
            return Some(asked);
        }
        self.askings
            .want(&asked.about, asked.why, Urgency::Wanted, now);
        None
    }

    /// The spec has changed: what was said of another device or plug says nothing of the node that has this one now.
    pub(super) fn forget_changed_power(&mut self, before: Option<&Spec>) {
        let (Some(before), Some(spec)) = (before, self.spec()) else {
            return;
        };
        self.lists.clear();
        for node in spec.nodes.keys() {
            let about = About::Node(node.clone());
            let call = |spec| call_about(spec, &about).map(|(call, _)| call);
            if let Some(was) = call(before)
                && call(&spec).is_none_or(|is| !is_same(&is, &was))
            {
                self.view.forget_power(node);
            }
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
    pub(super) fn plugs_answer(&mut self, from: &NodeName, number: u64, list: PlugList, now: Now) {
        if let Some(asked) = self.answered(from, number, now)
            && let About::Plugs(device) = &asked.about
        {
            self.listed(device, Some(number), list);
        }
        self.ask_what_waits(now);
    }

    /// What came of asking for the plugs of a device under this number; none: it cannot be asked.
    fn listed(&mut self, device: &PowerName, number: Option<u64>, list: PlugList) {
        if let Some(listing) = self.lists.get_mut(device)
            && listing.number == number
        {
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
        let asked = self.answered(from, number, now);
        match asked.as_ref().map(|asked| (asked, &asked.about)) {
            Some((asked, About::Node(about))) if about == node => {
                self.said(node, power, detail, asked, now);
            }
            // An agent that is older than `list` answers so.
            Some((_, About::Plugs(device))) => {
                self.listed(device, Some(number), PlugList::Failed(detail.to_owned()));
            }
            _ => {}
        }
        self.ask_what_waits(now);
    }

    /// What a power source says, asked at `asked.at`.
    fn said(&mut self, node: &NodeName, power: Power, detail: &str, asked: &Asked, now: Now) {
        let (mut at, why) = (asked.at, asked.why);
        let seen = self.view.node(node);
        // A late answer, and a newer one was there before it.
        let known = seen.and_then(|seen| seen.power.as_ref());
        if known.is_some_and(|(_, known, _)| *known > at) {
            return;
        }
        let session = seen.and_then(|seen| seen.session);
        let opened = seen.and_then(|seen| seen.opened);
        let spoke_since = opened.is_some_and(|opened| opened >= at);
        // It was on when it said its last word, and no other machine has spoken since that was asked: so it is off since then.
        if power == Power::Off && session.is_none() && !spoke_since {
            at = at.max(seen.and_then(|seen| seen.heard).unwrap_or_default());
        }
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
                let about = About::Node(node.name.clone());
                !self.askings.waits(&about) && self.askings.about(&about, &self.view, now).is_none()
            })
            .filter(|node| {
                let Some(seen) = self.view.node(&node.name) else {
                    return true;
                };
                // There was only nobody yet who could ask, or something speaks against what was said.
                let unasked = power_ref(spec, &node.name).map(|power| unreachable(&power));
                let soon = |detail: &String| seen.contradicted || unasked.as_ref() == Some(detail);
                seen.power.as_ref().is_none_or(|(_, at, detail)| {
                    now.since(*at) >= if soon(detail) { PATIENCE } else { SILENT }
                })
            })
            .map(|node| node.name.clone())
            .take(AT_ONCE)
            .collect();
        for node in silent {
            self.ask_for(&node, Why::ToKnow, Urgency::Idle, now);
        }
    }
}

/// How that is asked, and of whom; none if the spec has nothing to ask there.
fn call_about(spec: &Spec, about: &About) -> Option<(FenceCall, PowerRef)> {
    let (node, action) = match about {
        About::Node(node) => (node, FenceAction::Status),
        About::Plugs(device) => {
            let on = |node: &&Node| node.power.as_ref().is_some_and(|power| power.by == *device);
            let first = spec.nodes.values().find(on)?;
            (&first.name, FenceAction::List)
        }
    };
    let power = power_ref(spec, node)?;
    Some((fence_call(spec, node, &power, action)?, power))
}

/// Is that the same question? How long it may take is no part of it.
fn is_same(one: &FenceCall, other: &FenceCall) -> bool {
    let limit = one.limit;
    *one == FenceCall {
        limit,
        ..other.clone()
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
