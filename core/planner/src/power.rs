//! Which machines may be switched, in which order among themselves, and which must be left to a person.
//!
//! Three things stand in the way of switching everything off (and on):
//!
//! * A node without a power source, or whose plug nobody has verified, cannot be switched.
//! * A node that runs the control plane would take the run down with it.
//! * *Down* is the word of the power source, and that is asked through its `via` nodes: a machine cannot prove itself
//!   off, and whoever asks for others must outlast them. The last one to ask is left for a person.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::{PowerRef, ShutdownBy};
use interlock_model::names::NodeName;
use interlock_model::spec::NodePower;

use crate::draft::Draft;
use crate::graph::Handle;
use crate::report::{Entry, Subject};
use crate::steps;
use crate::world::Machine;

/// Machines that a plan switches, and who must wait for whom.
#[derive(Debug, Default)]
pub(crate) struct Switching {
    pub(crate) nodes: BTreeSet<NodeName>,
    /// The second is switched after the first.
    pub(crate) order: Vec<(NodeName, NodeName)>,
}

impl<'a> Draft<'a> {
    /// How a node is switched, as the plan will say it.
    pub(crate) fn power_of(&self, name: &NodeName) -> Option<(&'a NodePower, PowerRef)> {
        let power = self.spec.nodes.get(name)?.power.as_ref()?;
        let device = self.spec.power.get(&power.by)?;
        let power_ref = PowerRef {
            device: power.by.clone(),
            plug: power.plug.clone(),
            via: device.via.clone(),
            shutdown: power.shutdown,
        };
        Some((power, power_ref))
    }

    fn vias(&self, name: &NodeName) -> &'a [NodeName] {
        let power = self
            .spec
            .nodes
            .get(name)
            .and_then(|node| node.power.as_ref());
        power
            .and_then(|power| self.spec.power.get(&power.by))
            .map_or(&[], |device| device.via.as_slice())
    }

    /// Has the plug been matched with the machine, as far as that was asked?
    fn plug_is_verified(&mut self, name: &NodeName) -> bool {
        let verified = self
            .input
            .power_verified
            .is_none_or(|verified| verified.contains(name));
        if !verified {
            let remedy = format!("`interlockctl power verify {name}`");
            self.report.blocked(
                Subject::node(name),
                "nobody has verified that its plug is this machine",
                remedy,
            );
        }
        verified
    }

    /// Which of `nodes` a shutdown powers off, and in which order of their own.
    pub(crate) fn choose_power_off(&mut self, nodes: &BTreeSet<NodeName>) -> Switching {
        let mut off = BTreeSet::new();
        for name in nodes {
            let Some(node) = self.spec.nodes.get(name) else {
                continue;
            };
            if self.spec.runs_control(node) {
                self.leave(
                    name,
                    "switch it off by hand at the end: it runs the control plane",
                );
                continue;
            }
            let Some(power) = &node.power else {
                self.report
                    .excluded(Subject::node(name), "it has no power source and stays on");
                continue;
            };
            match self.world.machine(name) {
                Machine::Off => {
                    self.report.add(Entry::AlreadyDone {
                        subject: Subject::node(name),
                        state: "off".into(),
                    });
                    continue;
                }
                Machine::Unknown(why) => {
                    let remedy = "ask its power source, or repair its agent";
                    self.report.unknown(Subject::node(name), why, remedy);
                    continue;
                }
                Machine::On => {}
            }
            if let Some(why) = self.world.contradiction(name) {
                let remedy =
                    format!("correct its plug in the spec; `interlockctl power verify {name}`");
                self.report.unknown(Subject::node(name), why, remedy);
                continue;
            }
            if power.shutdown != ShutdownBy::Manual {
                if node.agentless.is_some() {
                    let remedy = "set `shutdown: manual` for it";
                    self.report.blocked(
                        Subject::node(name),
                        "it has no agent that could shut it down",
                        remedy,
                    );
                    continue;
                }
                if !self.world.agent_is_heard(name) {
                    let why = "it is on, but its agent is not heard, so nothing can shut it down";
                    self.report
                        .unknown(Subject::node(name), why, "repair its agent");
                    continue;
                }
            }
            if self.plug_is_verified(name) {
                off.insert(name.clone());
            }
        }
        self.outlast(off)
    }

    /// Puts the `via` nodes among `off` last, and leaves out those that nobody could prove off.
    fn outlast(&mut self, mut off: BTreeSet<NodeName>) -> Switching {
        let vias: BTreeMap<&NodeName, &[NodeName]> = self
            .spec
            .nodes
            .keys()
            .map(|name| (name, self.vias(name)))
            .collect();
        let asked: BTreeSet<&NodeName> = off
            .iter()
            .flat_map(|name| vias.get(name).into_iter().copied().flatten())
            .collect();
        let mut remaining: BTreeSet<NodeName> = off
            .iter()
            .filter(|name| asked.contains(name))
            .cloned()
            .collect();
        let mut order = Vec::new();
        for name in &off {
            if !self.world.is_offline()
                && !vias[name]
                    .iter()
                    .any(|via| via != name && self.world.agent_is_heard(via))
            {
                let by = "no other node that can ask its power source is alive";
                self.report.blocked(
                    Subject::node(name),
                    by,
                    "bring one of the `via` nodes back, or add one",
                );
            }
        }
        let mut last: Option<NodeName> = None;
        while !remaining.is_empty() {
            // Who is proven off by somebody who stays, and strands nobody who is still to go?
            let stays = |via: &NodeName, of: &NodeName, without: &NodeName| {
                via != of && via != without && (!off.contains(via) || remaining.contains(via))
            };
            let can_go = |name: &&NodeName| {
                remaining
                    .iter()
                    .all(|other| vias[other].iter().any(|via| stays(via, other, name)))
            };
            let stranded = |name: &&NodeName| !vias[*name].iter().any(|via| stays(via, name, name));
            if let Some(next) = remaining.iter().find(can_go).cloned() {
                if let Some(before) = last.replace(next.clone()) {
                    order.push((before, next.clone()));
                }
                remaining.remove(&next);
            } else if let Some(kept) = remaining
                .iter()
                .find(stranded)
                .or_else(|| remaining.last())
                .cloned()
            {
                self.leave(&kept, "switch it off by hand at the end: nobody would be left to ask its power source");
                remaining.remove(&kept);
                off.remove(&kept);
            }
        }
        for name in &off {
            if !asked.contains(name) {
                let before = vias[name].iter().filter(|via| off.contains(*via));
                order.extend(before.map(|via| (name.clone(), via.clone())));
            }
        }
        Switching { nodes: off, order }
    }

    /// Which of `nodes` a startup powers on, and in which order of their own.
    pub(crate) fn choose_power_on(&mut self, nodes: &BTreeSet<NodeName>) -> Switching {
        let mut dark = BTreeSet::new();
        for name in nodes {
            match self.world.machine(name) {
                Machine::On if self.world.is_offline() => {
                    let what = "it is on: it cannot be switched, or runs the control plane".into();
                    self.report.add(Entry::Assumed {
                        subject: Subject::node(name),
                        what,
                    });
                }
                Machine::On => {
                    self.report.add(Entry::AlreadyDone {
                        subject: Subject::node(name),
                        state: "on".into(),
                    });
                }
                // Nothing can be done to it here; what it carries speaks for itself.
                Machine::Unknown(why) if self.power_of(name).is_none() => {
                    let why = format!("it cannot be switched, and {why}");
                    self.report.excluded(Subject::node(name), why);
                }
                Machine::Unknown(why) => {
                    self.report.unknown(
                        Subject::node(name),
                        why,
                        "ask its power source, or repair its agent",
                    );
                }
                Machine::Off if self.power_of(name).is_none() => {
                    let by = "it is off and has no power source";
                    self.report.blocked(
                        Subject::node(name),
                        by,
                        "switch it on by hand and plan again",
                    );
                }
                Machine::Off => {
                    if self.plug_is_verified(name) {
                        dark.insert(name.clone());
                    }
                }
            }
        }
        let mut switching = Switching::default();
        while !dark.is_empty() {
            let mut found = Vec::new();
            for name in &dark {
                let vias = self.vias(name);
                let ready = vias.iter().find(|via| self.world.agent_is_heard(via));
                if let Some(via) =
                    ready.or_else(|| vias.iter().find(|via| switching.nodes.contains(*via)))
                {
                    found.push((name.clone(), via.clone()));
                }
            }
            if found.is_empty() {
                break;
            }
            for (name, via) in found {
                dark.remove(&name);
                if switching.nodes.contains(&via) {
                    switching.order.push((via, name.clone()));
                }
                switching.nodes.insert(name);
            }
        }
        for name in &dark {
            self.report.blocked(
                Subject::node(name),
                "no node that can ask its power source is on, nor can be switched on before it",
                "switch one of the `via` nodes on by hand and plan again",
            );
        }
        switching
    }

    /// The steps in which a person is asked before a machine goes on which something may run that the spec has no more.
    pub(crate) fn ask_to_let_go(&mut self, node: &NodeName) -> Vec<Handle> {
        let mut asked = Vec::new();
        for (service, why) in self.world.let_go(node) {
            let text = format!("{why}: a person is asked before {node} goes");
            self.report.warn(Subject::instance(service, node), text);
            asked.extend(steps::let_go(service, node, why).map(|step| self.graph.add(step)));
        }
        asked
    }

    fn leave(&mut self, node: &NodeName, task: &str) {
        self.report.add(Entry::LeftForYou {
            subject: Subject::node(node),
            task: task.into(),
        });
    }
}
