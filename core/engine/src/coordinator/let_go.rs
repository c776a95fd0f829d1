//! What runs, and is in the spec no more.
//!
//! A spec that leaves out a node or a service stops nothing (invariant I6). But nobody owns what runs there from then on:
//! no plan stops it, no guard restarts it, no status tells how it is. So it is told before the spec is applied, by an event
//! when it is, and as a cause for as long as it may run ([`Stray`]). Where no agent has told how it is, it may run (invariant
//! I5): that is told too, with what was seen last. The agent of such a node is told that it has nothing to do, since it
//! would keep to its last assignment otherwise, and restart what nobody wants.
//!
//! A machine with such an instance goes down only after a person was asked: plans ask (`interlock_planner`), and their steps
//! look again right before (`operation::strays`). It is kept in the store, for the agent that lets go tells of it no more.
//! What a boot has ended is deleted there when the agent says hello: who finds the record later would have to wait for the
//! next hello to know. Dying in between only means that the next hello says it again.

use std::collections::BTreeSet;

use interlock_model::ids::Generation;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::spec::{Boot, Spec};
use interlock_model::time::Now;

use super::Coordinator;
use super::message::{Assignment, ToAgent};
use super::records::{Write, stray_key};
use super::status::Cause;
use super::stray::{Stray, boot_of, last_seen};

fn has(spec: &Spec, node: &NodeName, service: &ServiceName) -> bool {
    let nodes = spec.services.get(service).map(|service| &service.nodes);
    spec.nodes.contains_key(node) && nodes.is_some_and(|nodes| nodes.contains(node))
}

/// Does a service come up with its machine, as a spec has it?
fn is_autostart(spec: Option<&Spec>, service: &ServiceName) -> bool {
    let service = spec.and_then(|spec| spec.services.get(service));
    service.is_some_and(|service| service.boot == Boot::Autostart)
}

impl Coordinator {
    /// What runs, as it was last observed, and would be nobody's under this spec: a line for each instance.
    #[must_use]
    pub fn would_let_go(&self, spec: &Spec) -> Vec<String> {
        let instances = self.running_without(spec);
        instances
            .iter()
            .map(|(node, service, state)| {
                format!(
                    "{service} on {node} is {state} and goes on: nothing stops it, guards it or tells how it is. To stop it, \
                     stop it before it is removed"
                )
            })
            .chain(self.unheard_without(spec).into_iter().map(|(node, service, last)| {
                format!(
                    "{service} on {node} may run: {}. If it does, it goes on: nothing stops it, guards it or tells how it is",
                    self.why_unheard(&node, last)
                )
            }))
            .collect()
    }

    /// Why it is not known how an instance is.
    fn why_unheard(&self, node: &NodeName, last: Option<InstanceState>) -> String {
        if self.view.connected(node) {
            return "its agent has not told of it yet".to_owned();
        }
        format!("its agent is not heard ({})", last_seen(last))
    }

    /// What the spec so far has, and this one has not, where no agent has told how it is, and no power source says that the
    /// machine is off. One that has only just said hello has told nothing yet, and is about to forget it. A node that is left out
    /// and by whose name nobody was ever heard has nothing that could be let go.
    fn unheard_without(&self, spec: &Spec) -> Vec<(NodeName, ServiceName, Option<InstanceState>)> {
        let Some(old) = self.spec() else {
            return Vec::new();
        };
        let services = old.services.values().filter(|service| !service.external);
        let instances = services.flat_map(|service| {
            let nodes = service.nodes.iter();
            nodes.map(move |node| (node, &service.name))
        });
        let has_agent = |node: &NodeName| {
            let declared = old.nodes.get(node);
            declared.is_some_and(|it| it.agentless.is_none())
        };
        instances
            .filter(|(node, service)| has_agent(node) && !has(spec, node, service))
            .filter(|(node, _)| spec.nodes.contains_key(*node) || !self.is_newcomer(node))
            .filter(|(node, service)| match self.view.connected(node) {
                true => self.view.instance(node, service).is_none(),
                false => !self.view.is_off(node),
            })
            .map(|(node, service)| {
                let last = self.view.instance(node, service);
                (
                    node.clone(),
                    service.clone(),
                    last.map(|(seen, _)| seen.state),
                )
            })
            .collect()
    }

    /// An agent says how an instance is that the spec does not have: it runs and is nobody's, or it does so no more.
    pub(super) fn told_of_stray(
        &mut self,
        node: &NodeName,
        service: &ServiceName,
        state: InstanceState,
        now: Now,
    ) {
        let Some(generation) = self
            .applied
            .as_ref()
            .filter(|applied| !has(&applied.spec, node, service))
            .map(|applied| applied.record.generation)
        else {
            return;
        };
        let key = (node.clone(), service.clone());
        if matches!(state, InstanceState::Stopped | InstanceState::Failed) {
            self.forget_strays(|stray| (&stray.node, &stray.service) == (node, service));
            return;
        }
        if state == InstanceState::Unknown {
            return;
        }
        let boot = boot_of(&self.view, node).cloned();
        let known = self.strays.0.get(&key);
        if known.is_some_and(|stray| stray.heard && !stray.booted && stray.boot == boot) {
            return;
        }
        let generation = known.map_or(generation, |stray| stray.generation);
        let autostart = known.is_some_and(|stray| stray.autostart);
        self.event("let-go", now, |event| {
            event.node = node.to_string();
            event.service = service.to_string();
            event.text = format!(
                "{service} on {node} is {state}, as its agent says, and generation {generation} does not have it: it goes on, \
                 and nobody owns it"
            );
        });
        self.keep_stray(Stray {
            node: node.clone(),
            service: service.clone(),
            state,
            heard: true,
            boot,
            generation,
            autostart,
            booted: false,
        });
    }

    fn keep_stray(&mut self, stray: Stray) {
        let key = (stray.node.clone(), stray.service.clone());
        let write = Write::json(stray_key(&key.0, &key.1), &stray);
        self.output.writes.push(write);
        self.strays.0.insert(key, stray);
    }

    fn forget_strays(&mut self, gone: impl Fn(&Stray) -> bool) {
        let strays = &mut self.strays.0;
        for ((node, service), _) in strays.extract_if(.., |_, stray| gone(stray)) {
            let delete = Write::delete(stray_key(&node, &service));
            self.output.writes.push(delete);
        }
    }

    /// The machine of a node is off: nothing runs there until it boots.
    pub(super) fn strays_are_off(&mut self, node: &NodeName) {
        self.forget_strays(|stray| stray.node == *node && !stray.autostart);
    }

    /// The agent of a node says in which boot its machine is: what was let go in another one has ended. One that cannot tell
    /// ends nothing.
    pub(super) fn strays_in_boot(&mut self, node: &NodeName) {
        let Some(boot) = boot_of(&self.view, node).cloned() else {
            return;
        };
        let here = self.strays.0.values().filter(|it| it.node == *node);
        let news: Vec<Stray> = here
            .filter_map(|stray| stray.in_boot(&boot).filter(|then| then != stray))
            .collect();
        self.forget_strays(|stray| stray.node == *node && stray.in_boot(&boot).is_none());
        for stray in news {
            self.keep_stray(stray);
        }
    }

    fn running_without(&self, spec: &Spec) -> Vec<(NodeName, ServiceName, InstanceState)> {
        let nodes = self.view.nodes().filter(|(_, seen)| seen.session.is_some());
        let instances = nodes.flat_map(|(node, seen)| {
            let instances = seen.instances.iter();
            instances.map(move |(service, instance)| (node, service, instance.state))
        });
        instances
            .filter(|(node, service, state)| {
                let gone = matches!(state, InstanceState::Stopped | InstanceState::Failed);
                !gone && !has(spec, node, service)
            })
            .map(|(node, service, state)| (node.clone(), service.clone(), state))
            .collect()
    }

    /// A spec is applied: remembers and tells what it lets go.
    pub(super) fn let_go_of(&mut self, spec: &Spec, generation: Generation, now: Now) {
        self.forget_strays(|stray| has(spec, &stray.node, &stray.service));
        let old = self.spec();
        for (node, service, state) in self.running_without(spec) {
            let boot = boot_of(&self.view, &node).cloned();
            let known = self.strays.0.get(&(node.clone(), service.clone()));
            if known.is_some_and(|stray| stray.heard && !stray.booted && stray.boot == boot) {
                continue;
            }
            self.event("let-go", now, |event| {
                event.node = node.to_string();
                event.service = service.to_string();
                event.text = format!(
                    "{service} on {node} is {state}, and generation {generation} does not have it: it goes on, and nobody \
                     owns it"
                );
            });
            let autostart = is_autostart(old.as_deref(), &service);
            self.keep_stray(Stray {
                node,
                service,
                state,
                heard: true,
                boot,
                generation,
                autostart,
                booted: false,
            });
        }
        for (node, service, last) in self.unheard_without(spec) {
            let why = self.why_unheard(&node, last);
            self.event("let-go", now, |event| {
                event.node = node.to_string();
                event.service = service.to_string();
                event.text = format!(
                    "{service} on {node} may run, and generation {generation} does not have it: {why}; if it runs, it goes on, \
                     and nobody owns it"
                );
            });
            if matches!(last, Some(InstanceState::Stopped | InstanceState::Failed)) {
                continue;
            }
            let boot = boot_of(&self.view, &node).cloned();
            let autostart = is_autostart(old.as_deref(), &service);
            self.keep_stray(Stray {
                node,
                service,
                state: last.unwrap_or_default(),
                heard: false,
                boot,
                generation,
                autostart,
                booted: false,
            });
        }
    }

    /// Tells connected agents of nodes that the spec does not have that there is nothing for them to do.
    pub(super) fn dismiss(&mut self) {
        let nodes = self.view.nodes();
        let connected: Vec<NodeName> = nodes
            .filter(|(_, seen)| seen.session.is_some())
            .map(|(node, _)| node.clone())
            .collect();
        for node in connected {
            if !self.assignments.contains_key(&node) {
                self.dismiss_one(&node);
            }
        }
    }

    /// The same for one of them. Without a spec nobody knows what it is to do, and it keeps to what it was told.
    pub(super) fn dismiss_one(&mut self, node: &NodeName) {
        let Some(applied) = &self.applied else {
            return;
        };
        let nothing = Assignment {
            generation: applied.record.generation,
            instances: Vec::new(),
            checks: Vec::new(),
            shutdown: None,
            reboot: false,
            fences: Vec::new(),
        };
        self.send(node.clone(), ToAgent::Assign(nothing));
    }

    /// Nodes that are connected and not in the spec.
    pub fn removed_nodes(&self) -> impl Iterator<Item = &NodeName> {
        let spec = self.applied.as_ref().map(|applied| &applied.spec);
        let connected = self.view.nodes().filter(|(_, seen)| seen.session.is_some());
        connected
            .map(|(node, _)| node)
            .filter(move |node| spec.is_some_and(|spec| !spec.nodes.contains_key(*node)))
    }

    /// A cause for each node that is connected and not in the spec, and for each with instances that nobody owns.
    ///
    /// The same that plans ask about. No plan is about a node that the spec does not have: what ran there is told of while its
    /// agent is heard, and what nobody has told of until somebody does, or its machine has booted anew.
    pub(super) fn strays(&self) -> Vec<Cause> {
        let spec = self.spec();
        let tells_of = |stray: &&Stray| {
            let in_spec = spec.as_ref().map(|spec| &spec.nodes);
            let in_spec = in_spec.is_some_and(|nodes| nodes.contains_key(&stray.node));
            in_spec || !stray.heard || self.view.connected(&stray.node)
        };
        let left = self.strays.running(&self.view).filter(tells_of);
        let left: Vec<(&NodeName, String)> =
            left.map(|stray| (&stray.node, stray.told())).collect();
        let removed: BTreeSet<&NodeName> = self.removed_nodes().collect();
        let mut nodes: BTreeSet<&NodeName> = left.iter().map(|(node, _)| *node).collect();
        nodes.extend(&removed);
        nodes
            .into_iter()
            .map(|node| {
                let mut said = Vec::new();
                if removed.contains(node) {
                    said.push(
                        "removed: its agent is connected, and the spec does not have it".to_owned(),
                    );
                }
                let here = left.iter().filter(|(on, _)| *on == node);
                said.extend(here.map(|(_, text)| text.clone()));
                said.push("nothing is stopped or restarted there: look on the machine".to_owned());
                Cause {
                    subject: node.to_string(),
                    what: said.join("; "),
                    dependants: Vec::new(),
                }
            })
            .collect()
    }
}
