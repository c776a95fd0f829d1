//! Machines of primaries that are lost: power sources switch them off.
//!
//! Whether a machine is lost the leader of the service's lease decides (`crate::lease`). Here is what stands against touching
//! its power all the same, whoever asks: a plug that is not verified, an agent that was heard just now, an operation that holds
//! the node, a budget that is spent. The order to switch off is sent when its event is durable, so a coordinator that leads no
//! more sends none; and an agent refuses one of an older term than it has seen.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::{FenceAction, Power};
use interlock_model::ids::OperationId;
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::time::Now;

use super::message::ToAgent;
use super::power::power_ref;
use super::reaching::SILENT;
use super::{Coordinator, Maintenance};
use crate::lease::Clock;
use crate::operation::fence_call;

/// How long beyond its limit the answer to an order is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the agent of a machine must not have been heard before the machine is switched off: in the same measure, and a whole
/// period above it. If all that are cut off from this coordinator fell silent together, all of them are seen to be silent by then.
const LOST: u32 = SILENT + 4;

/// How long a machine whose agent was never heard may take to come up.
const BOOT: Duration = Duration::from_secs(300);

/// A primary whose machine is to be switched off, by the leader of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Of which service.
    pub service: ServiceName,
    /// Which epoch that is to end.
    pub epoch: Epoch,
    /// Whose machine.
    pub node: NodeName,
    /// The operation that may hold both.
    pub operation: Option<OperationId>,
    /// The clocks of leases, read before this is asked for.
    pub asked: Clock,
}

/// An order to switch a machine off. One is for all whose primary it has: it is switched off once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fencing {
    /// Whose epochs that is to end: by the service.
    pub services: BTreeMap<ServiceName, Epoch>,
    /// The number of the order.
    pub order: u64,
    /// Whose agent carries it out, and answers.
    via: NodeName,
    /// When it was given.
    pub asked: Duration,
    /// The same by the clocks of leases: what is confirmed is so of a boot that was known by then, whoever waits for it since.
    pub of_leases: Clock,
    /// Until when its answer is waited for.
    until: Duration,
    /// The answer.
    pub answer: Option<(Power, String)>,
}

impl Fencing {
    /// The services that it is for, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.services.keys().map(ServiceName::as_str).collect();
        names.join(", ")
    }
}

/// What became of orders to switch off: by the machine, the newest one last. An earlier one is kept for as long as it is the last
/// word for one of its services.
pub(super) type Fencings = BTreeMap<NodeName, Vec<Fencing>>;

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
        holder: OperationId,
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
    /// Switches the machine of a lost primary off, on behalf of its lease. Where it is being switched off for another service, or was
    /// and has not been heard since, that is the answer to this one as well.
    ///
    /// # Errors
    /// Why that is not done.
    pub fn fence(&mut self, lost: &Lost, now: Now) -> Result<Fencing, NotFenced> {
        let Lost { service, node, .. } = lost;
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
            if let Some(holder) = holder.filter(|holder| Some(*holder) != lost.operation) {
                return Err(NotFenced::Held { what, holder });
            }
        }
        // Nor for an operation: its plan has no step that switches anything off.
        if let Some(maintenance) = self.rests(service, [node]) {
            return Err(NotFenced::Maintenance(Box::new(maintenance.clone())));
        }
        if lost.operation.is_none() {
            let may = self.may_fail_over(service, now);
            may.map_err(|block| NotFenced::Budget(Box::new(block)))?;
        }
        if let Some(shared) = self.share_fencing(lost, heard, now)? {
            return Ok(shared);
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
        let order = self.new_ask();
        let fencing = Fencing {
            services: [(service.clone(), lost.epoch)].into(),
            order,
            via: via.clone(),
            asked: now.mono,
            of_leases: lost.asked,
            until: now.mono + call.limit + PATIENCE,
            answer: None,
        };
        self.event("node-fencing", now, |event| {
            event.node = node.to_string();
            event.service = service.to_string();
            event.text = format!(
                "{node} is lost, and holds {} of {service}: {} is asked by {via} to switch it off (plug {})",
                lost.epoch, power.device, power.plug
            );
        });
        let of_node = self.fencings.entry(node.clone()).or_default();
        for earlier in of_node.iter_mut() {
            earlier.services.remove(service);
        }
        of_node.retain(|earlier| !earlier.services.is_empty());
        of_node.push(fencing.clone());
        self.send(via, ToAgent::SwitchOff { order, call });
        Ok(fencing)
    }

    /// An order that was given for another service, if what comes of it is an answer to this one. Each answers a service once: what
    /// proved nothing to its lease is asked anew.
    fn share_fencing(
        &mut self,
        lost: &Lost,
        heard: Option<Duration>,
        now: Now,
    ) -> Result<Option<Fencing>, NotFenced> {
        let Lost { service, node, .. } = lost;
        let of_node = self.fencings.get_mut(node);
        let Some((last, earlier)) = of_node.and_then(|of_node| of_node.split_last_mut()) else {
            return Ok(None);
        };
        let under_way = last.answer.is_none() && now.mono < last.until;
        let is_off = matches!(last.answer, Some((Power::Off, _)));
        // Heard before that was asked, if ever: else it may have been switched on again.
        let silent = heard.is_none_or(|heard| heard <= last.asked);
        let known = last.services.contains_key(service);
        if under_way && known {
            return Err(NotFenced::UnderWay);
        }
        if known || !(under_way || (is_off && silent)) {
            return Ok(None);
        }
        for earlier in earlier {
            earlier.services.remove(service);
        }
        last.services.insert(service.clone(), lost.epoch);
        let shared = last.clone();
        self.event("node-fencing", now, |event| {
            event.node = node.to_string();
            event.service = service.to_string();
            event.text = format!(
                "{node} is lost, and holds {} of {service}: it is, or was, switched off for {}",
                lost.epoch,
                shared.names()
            );
        });
        Ok(Some(shared))
    }

    /// A power source has answered an order to switch off, by the agent that it was given to. False if it was none.
    pub(super) fn fence_answer(
        &mut self,
        from: &NodeName,
        order: u64,
        node: &NodeName,
        power: Power,
        detail: &str,
        now: Now,
    ) -> bool {
        let mut of_node = self.fencings.get(node).into_iter().flatten();
        if !of_node.any(|it| it.order == order && it.via == *from) {
            return false;
        }
        self.fencing_ended(order, node, power, detail, now)
    }

    /// An order has its answer. False if it had one.
    fn fencing_ended(
        &mut self,
        order: u64,
        node: &NodeName,
        power: Power,
        detail: &str,
        now: Now,
    ) -> bool {
        let mut of_node = self.fencings.get_mut(node).into_iter().flatten();
        let fencing = of_node.find(|it| it.order == order && it.answer.is_none());
        let Some(fencing) = fencing else {
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
        let services: Vec<String> = fencing.services.keys().map(ToString::to_string).collect();
        let took = now.since(fencing.asked).as_millis();
        let (kind, text) = if power == Power::Off {
            let text = format!("{node} is off, confirmed after {took} ms: {detail}; it stays off");
            ("node-fenced", text)
        } else {
            let text = format!("{node} was not switched off, as far as is known: {detail}");
            ("fence-failed", text)
        };
        for service in services {
            self.event(kind, now, |event| {
                event.node = node.to_string();
                event.service = service;
                event.text.clone_from(&text);
            });
        }
        if power == Power::Off {
            self.view.powered(node, power, detail, now);
            // Its plug was verified when that was asked: nothing that the spec let go runs there.
            self.strays_are_off(node);
        }
        true
    }

    /// The last order to switch off a node that was given for this service or is shared by it, and what became of it.
    #[must_use]
    pub fn fencing(&self, node: &NodeName, service: &ServiceName) -> Option<&Fencing> {
        let of_node = self.fencings.get(node)?;
        let mut newest = of_node.iter().rev();
        newest.find(|it| it.services.contains_key(service))
    }

    /// Orders whose answers never came.
    pub(super) fn give_up_fencing(&mut self, now: Now) {
        let late = self
            .fencings_under_way()
            .filter(|(_, it)| now.mono >= it.until);
        let late: Vec<(NodeName, u64)> = late.map(|(node, it)| (node.clone(), it.order)).collect();
        for (node, order) in late {
            self.fencing_ended(order, &node, Power::Unknown, "no answer in time", now);
        }
    }

    /// The orders that are under way: an operation that needs such a machine, or one of the services, waits for the answer.
    pub(super) fn fencings_under_way(&self) -> impl Iterator<Item = (&NodeName, &Fencing)> {
        let all = self.fencings.iter();
        let all = all.flat_map(|(node, orders)| orders.iter().map(move |it| (node, it)));
        all.filter(|(_, fencing)| fencing.answer.is_none())
    }
}
