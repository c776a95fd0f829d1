//! Machines of primaries that may be lost: other nodes try to reach them, and power sources switch them off.
//!
//! Whether a machine is lost the leader of the service's lease decides (`crate::lease`). Here is what stands against touching
//! its power all the same, whoever asks: a plug that is not verified, an agent that was heard just now, an operation that holds
//! the node, a budget that is spent. The order to switch off is sent when its event is durable, so a coordinator that leads no
//! more sends none; and an agent refuses one of an older term than it has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::action::{FenceAction, Power};
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Liveness;
use interlock_model::time::Now;

use super::message::ToAgent;
use super::power::power_ref;
use super::{Coordinator, Maintenance};
use crate::operation::fence_call;

/// How many other nodes are asked whether they reach a machine.
const OBSERVERS: usize = 5;

/// Silences that began within this time of each other are one event.
const AT_ONCE: Duration = Duration::from_secs(10);

/// How long another node may take to answer before it is asked once more.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after a heartbeat was due a node counts as silent where many are: in quarters of the heartbeat's period. Above four, so
/// that one that is a little late is none.
const SILENT: u32 = 5;

/// How long the agent of a machine must not have been heard before the machine is switched off: in the same measure, and a whole
/// period above it. If all that are cut off from this coordinator fell silent together, all of them are seen to be silent by then.
const LOST: u32 = SILENT + 4;

/// How long a machine whose agent was never heard may take to come up.
const BOOT: Duration = Duration::from_secs(300);

/// What another node has found when it tried to reach a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// When it was asked.
    pub asked: Duration,
    /// Did the machine's kernel answer?
    pub reached: bool,
    /// In its words.
    pub detail: String,
}

/// What one other node has to do with a machine.
#[derive(Debug, Default)]
struct Observer {
    /// The question that it has not answered, and when it was asked.
    asked: Option<(u64, Duration)>,
    /// What it said last.
    tried: Option<Tried>,
}

/// A machine is being switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fencing {
    /// For which service.
    pub service: ServiceName,
    /// Whose epoch that is to end.
    pub epoch: Epoch,
    /// The number of the order.
    pub order: u64,
    /// When it was given.
    pub asked: Duration,
    /// Until when its answer is waited for.
    until: Duration,
    /// The answer.
    pub answer: Option<(Power, String)>,
}

/// What other nodes found, and what became of orders to switch off.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// By the machine, and by who tried.
    observers: BTreeMap<NodeName, BTreeMap<NodeName, Observer>>,
    fencings: BTreeMap<NodeName, Fencing>,
}

/// Why a machine is not switched off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFenced {
    /// It has no power source.
    #[error("{0} has no power source")]
    NoPower(NodeName),
    /// Nobody knows whether its plug is its own.
    #[error("the plug of {0} is not verified: interlockctl power verify {0}")]
    Unverified(NodeName),
    /// It speaks, or did just now.
    #[error("the agent of {node} was heard within the last {ms} ms", ms = .within.as_millis())]
    Heard {
        /// Which node.
        node: NodeName,
        /// Within how long.
        within: Duration,
    },
    /// It may be starting.
    #[error(
        "the agent of {0} was not heard since this coordinator began: its machine may be starting; if it is down for good, `interlockctl failover` with --attest-down"
    )]
    NeverHeard(NodeName),
    /// So many are silent that it is rather the coordinator that is cut off.
    #[error("{0}")]
    Doubted(String),
    /// A coordinator or etcd runs on it.
    #[error("{0} carries the control plane")]
    Control(NodeName),
    /// An operation holds it.
    #[error("{what} is held by {holder}")]
    Held {
        /// What is held.
        what: String,
        /// The operation.
        holder: interlock_model::ids::OperationId,
    },
    /// A person wants it left alone.
    #[error("{0}")]
    Maintenance(Box<Maintenance>),
    /// It has moved too often.
    #[error("{0}")]
    Budget(Box<super::Block>),
    /// Nobody can ask its source.
    #[error("no agent that reaches its power source is heard: {0}")]
    NoVia(String),
    /// It is under way.
    #[error("its power source was asked before, and has not answered yet")]
    UnderWay,
}

impl Coordinator {
    /// Has other nodes try to reach the machine of a node.
    pub fn ask_others(&mut self, node: &NodeName, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let Some(suspect) = spec.nodes.get(node) else {
            return;
        };
        let addresses: BTreeSet<String> = [&suspect.address]
            .into_iter()
            .chain(suspect.networks.values())
            .cloned()
            .collect();
        let is_fellow = |other: &NodeName| {
            let mut services = spec.services.values();
            services.any(|it| it.nodes.contains(node) && it.nodes.contains(other))
        };
        let others = spec.nodes.keys().filter(|other| *other != node);
        let mut others: Vec<&NodeName> = others.filter(|other| self.view.alive(other)).collect();
        // Those that share a service with it have the best reason to reach it.
        others.sort_by_key(|other| !is_fellow(other));
        others.truncate(OBSERVERS);
        let others: Vec<NodeName> = others.into_iter().cloned().collect();
        for other in others {
            let of_node = self.watched.observers.entry(node.clone()).or_default();
            let observer = of_node.entry(other.clone()).or_default();
            if observer
                .asked
                .is_some_and(|(_, at)| now.since(at) < PATIENCE)
            {
                continue;
            }
            self.next_ask += 1;
            let ask = self.next_ask;
            observer.asked = Some((ask, now.mono));
            self.send(
                other,
                ToAgent::TryToReach {
                    ask,
                    node: node.clone(),
                    addresses: addresses.clone(),
                },
            );
        }
    }

    /// Another node has tried to reach a machine.
    pub(super) fn tried(
        &mut self,
        observer: &NodeName,
        node: &NodeName,
        ask: u64,
        reached: Option<bool>,
        detail: String,
    ) {
        let of_node = self.watched.observers.get_mut(node);
        let observer = of_node.and_then(|of_node| of_node.get_mut(observer));
        if let Some(observer) = observer
            && let Some((_, asked)) = observer.asked.take_if(|(asked, _)| *asked == ask)
            && let Some(reached) = reached
        {
            observer.tried = Some(Tried {
                asked,
                reached,
                detail,
            });
        }
    }

    /// What other nodes have found when they tried to reach the machine of a node.
    pub fn tries(&self, node: &NodeName) -> impl Iterator<Item = (&NodeName, &Tried)> {
        let of_node = self.watched.observers.get(node).into_iter().flatten();
        of_node.filter_map(|(observer, it)| Some((observer, it.tried.as_ref()?)))
    }

    /// Why this coordinator doubts what it sees, and not the machines: more than half of the nodes, and of more than one host, have
    /// fallen silent within seconds of each other, and are silent still. Who was never heard, and is not known to be off, is one
    /// of them: a coordinator that has just begun does not know what it is cut off from.
    #[must_use]
    pub fn doubts_itself(&self, now: Now) -> Option<String> {
        let spec = self.spec()?;
        let late = spec.control.heartbeat * SILENT / 4;
        let mut all = 0_usize;
        let mut silent: Vec<(Duration, String)> = Vec::new();
        let mut unheard: Vec<String> = Vec::new();
        for (name, node) in &spec.nodes {
            let seen = self.view.node(name);
            // Who has left is not missed, nor who is off, nor who has no agent.
            let has_left = seen.is_some_and(|seen| matches!(seen.liveness, Liveness::Left));
            if has_left || node.agentless.is_some() || self.view.is_off(name) {
                continue;
            }
            all += 1;
            let host = node.host.as_ref().map(ToString::to_string);
            let host = host.unwrap_or_else(|| name.to_string());
            match seen.and_then(|seen| Some((seen, seen.heard?))) {
                None => unheard.push(host),
                Some((seen, heard)) if now.since(heard) >= late || seen.session.is_none() => {
                    silent.push((heard, host));
                }
                Some(_) => {}
            }
        }
        silent.sort();
        // Nobody knows when those fell silent that were never heard: it may have been at any of these moments.
        let alone = (unheard.len(), BTreeSet::from_iter(&unheard).len());
        let groups = silent.iter().enumerate().map(|(first, (from, _))| {
            let group = silent[first..].iter();
            let group = group.take_while(|(at, _)| at.saturating_sub(*from) <= AT_ONCE);
            let hosts: BTreeSet<&String> = group
                .clone()
                .map(|(_, host)| host)
                .chain(&unheard)
                .collect();
            (group.count() + unheard.len(), hosts.len())
        });
        let largest = groups.chain([alone]).filter(|(_, hosts)| *hosts > 1).max();
        let (many, _) = largest.filter(|(many, _)| many * 2 > all)?;
        Some(format!(
            "{many} of {all} nodes are silent, and fell so within seconds or were never heard: this coordinator doubts itself and \
             not the machines"
        ))
    }

    /// Switches the machine of a lost primary off, on behalf of its lease.
    ///
    /// # Errors
    /// Why that is not done.
    pub fn fence(
        &mut self,
        service: &ServiceName,
        node: &NodeName,
        epoch: Epoch,
        operation: Option<interlock_model::ids::OperationId>,
        now: Now,
    ) -> Result<u64, NotFenced> {
        let none = || NotFenced::NoPower(node.clone());
        let spec = self.spec().ok_or_else(none)?;
        let (known, power) = spec
            .nodes
            .get(node)
            .zip(power_ref(&spec, node))
            .ok_or_else(none)?;
        if spec.runs_control(known) {
            return Err(NotFenced::Control(node.clone()));
        }
        if self.verification(node).is_none() {
            return Err(NotFenced::Unverified(node.clone()));
        }
        let heard = self.view.node(node).and_then(|seen| seen.heard);
        let within = spec.control.heartbeat * LOST / 4;
        if heard.is_some_and(|heard| now.since(heard) < within) {
            let node = node.clone();
            return Err(NotFenced::Heard { node, within });
        }
        if let Some(doubt) = self.doubts_itself(now) {
            return Err(NotFenced::Doubted(doubt));
        }
        let held = [
            (service.to_string(), self.is_held(service)),
            (node.to_string(), self.is_node_held(node)),
        ];
        for (what, holder) in held {
            if let Some(holder) = holder.filter(|holder| Some(*holder) != operation) {
                return Err(NotFenced::Held { what, holder });
            }
        }
        // Nor for an operation: its plan has no step that switches anything off.
        if let Some(maintenance) = self.rests(service, [node]) {
            return Err(NotFenced::Maintenance(Box::new(maintenance.clone())));
        }
        if operation.is_none() {
            let may = self.may_fail_over(service, now);
            may.map_err(|block| NotFenced::Budget(Box::new(block)))?;
        }
        if self.is_fencing(node, now).is_some() {
            return Err(NotFenced::UnderWay);
        }
        let via: Vec<NodeName> = power
            .via
            .iter()
            .filter(|via| *via != node)
            .cloned()
            .collect();
        let names: Vec<String> = via.iter().map(ToString::to_string).collect();
        let no_via = || NotFenced::NoVia(names.join(" or "));
        let device = spec.power.get(&power.device).ok_or_else(none)?;
        let via = self.view.fencer(&via, &device.fence).cloned();
        let via = via.ok_or_else(no_via)?;
        let stands = self.view.node(&via).and_then(|seen| seen.session);
        if heard.is_none() && stands.is_none_or(|since| now.since(since) < BOOT) {
            return Err(NotFenced::NeverHeard(node.clone()));
        }
        let call = fence_call(&spec, node, &power, FenceAction::Off).ok_or_else(none)?;
        self.next_ask += 1;
        let order = self.next_ask;
        let fencing = Fencing {
            service: service.clone(),
            epoch,
            order,
            asked: now.mono,
            until: now.mono + call.limit + PATIENCE,
            answer: None,
        };
        self.event("node-fencing", now, |event| {
            event.node = node.to_string();
            event.service = service.to_string();
            event.text = format!(
                "{node} is lost, and holds {epoch} of {service}: {} is asked by {via} to switch it off (plug {})",
                power.device, power.plug
            );
        });
        self.watched.fencings.insert(node.clone(), fencing);
        self.send(via, ToAgent::SwitchOff { order, call });
        Ok(order)
    }

    /// A power source has answered an order to switch off. False if it was none.
    pub(super) fn fence_answer(
        &mut self,
        order: u64,
        node: &NodeName,
        power: Power,
        detail: &str,
        now: Now,
    ) -> bool {
        let fencing = self.watched.fencings.get_mut(node);
        let Some(fencing) = fencing.filter(|it| it.order == order && it.answer.is_none()) else {
            return false;
        };
        let heard = self.view.node(node).and_then(|seen| seen.heard);
        let spoke = heard.is_some_and(|heard| heard > fencing.asked);
        let (power, detail) = match power {
            Power::Off if spoke => {
                let detail = format!(
                    "its agent was heard after that was asked, so the plug may be another one's: {detail}"
                );
                (Power::Unknown, detail)
            }
            power => (power, detail.to_owned()),
        };
        let detail = detail.as_str();
        fencing.answer = Some((power, detail.to_owned()));
        let (service, asked) = (fencing.service.clone(), fencing.asked);
        let took = now.since(asked).as_millis();
        let (kind, text) = if power == Power::Off {
            let text = format!("{node} is off, confirmed after {took} ms: {detail}; it stays off");
            ("node-fenced", text)
        } else {
            let text = format!("{node} was not switched off, as far as is known: {detail}");
            ("fence-failed", text)
        };
        self.event(kind, now, |event| {
            event.node = node.to_string();
            event.service = service.to_string();
            event.text = text;
        });
        if power == Power::Off {
            self.view.powered(node, power, detail, now);
            // Its plug was verified when that was asked: nothing that the spec let go runs there.
            self.strays_are_off(node);
        }
        true
    }

    /// The last order to switch off a node, and what became of it.
    #[must_use]
    pub fn fencing(&self, node: &NodeName) -> Option<&Fencing> {
        self.watched.fencings.get(node)
    }

    /// An order whose answer is awaited: an operation that needs the machine or its service waits for that.
    pub(super) fn is_fencing(&self, node: &NodeName, now: Now) -> Option<&Fencing> {
        let fencing = self.watched.fencings.get(node)?;
        (fencing.answer.is_none() && now.mono < fencing.until).then_some(fencing)
    }

    /// Orders whose answers never came.
    pub(super) fn give_up_fencing(&mut self, now: Now) {
        let late = |(_, it): &(&NodeName, &Fencing)| it.answer.is_none() && now.mono >= it.until;
        let late = self.watched.fencings.iter().filter(late);
        let late: Vec<(NodeName, u64)> = late.map(|(node, it)| (node.clone(), it.order)).collect();
        for (node, order) in late {
            self.fence_answer(order, &node, Power::Unknown, "no answer in time", now);
        }
    }

    /// The orders that are under way.
    pub(super) fn fencings(&self) -> impl Iterator<Item = (&NodeName, &Fencing)> {
        let all = self.watched.fencings.iter();
        all.filter(|(_, fencing)| fencing.answer.is_none())
    }
}
