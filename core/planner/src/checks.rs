//! The checks that steps wait for, before they begin (gates) and before they count as healthy.
//!
//! * A start is *healthy* when the service's own checks are green on its node. The checks of `active_when`, and those
//!   that run on named nodes, speak of the active side and are asked of no standby.
//! * A start waits for the checks `from: consumers` of what it requires to be green **on its own node**: only there is
//!   the path that matters. Where the spec waits for less than *healthy*, it asks for no checks either.
//! * `same` compares instances, so it means nothing before all of them are up: it belongs to the joining step of the
//!   service (`Draft::comparisons`), and so does what named nodes see of it. What consumers compare is a gate of each.
//!
//! A forced check appears nowhere. A check that would have to run on a node that the plan has yet to switch on cannot
//! be waited for, and the report says so.

use std::collections::BTreeSet;

use interlock_model::check::{Check, CheckFrom, CheckId, CheckKind, Verdict};
use interlock_model::names::{CheckName, NodeName};
use interlock_model::plan::{Gate, Wait};
use interlock_model::spec::Service;

use crate::draft::Draft;
use crate::report::{Entry, Subject};
use crate::world::{Machine, Presence};

impl<'a> Draft<'a> {
    /// The node whose word counts for the own checks of an instance on `node`: itself or, if it has no agent, the first of
    /// its probers that is heard.
    pub(crate) fn observer(&self, service: &Service, node: &NodeName) -> NodeName {
        let probers = self.spec.probers(service, node);
        let mut heard = probers.iter().filter(|it| self.world.agent_is_heard(it));
        let first = heard.next().or(probers.first());
        first.map_or(node, |prober| *prober).clone()
    }

    /// The first node that probes `node`: itself, if it has an agent.
    fn first_prober(&self, node: &NodeName) -> NodeName {
        let declared = self.spec.nodes.get(node);
        let probers = declared.and_then(|node| node.agentless.as_ref());
        probers
            .and_then(|from| from.first())
            .unwrap_or(node)
            .clone()
    }

    /// The checks that make an instance healthy. `dark` are the nodes that are off while it starts.
    pub(crate) fn own_checks(
        &mut self,
        service: &Service,
        node: &NodeName,
        active: Option<&NodeName>,
        dark: &BTreeSet<NodeName>,
    ) -> Vec<Gate> {
        let standby = service.is_exclusive() && active != Some(node);
        if standby && service.is_leased() {
            return Vec::new();
        }
        let mut gates = Vec::new();
        for (id, check) in self.wanted_checks(service) {
            if matches!(check.kind, CheckKind::Same { .. })
                || standby && service.active_when.contains(&id.check)
            {
                continue;
            }
            match &check.from {
                CheckFrom::Own => gates.push(Gate {
                    check: id,
                    on: self.observer(service, node),
                }),
                CheckFrom::Nodes(from) if !standby => {
                    for on in from {
                        if dark.contains(on) {
                            let text = format!(
                                "its check {} runs on {on}, which may still be off: not waited for",
                                id.check
                            );
                            self.report.warn(Subject::service(&service.name), text);
                        } else {
                            gates.push(Gate {
                                check: id.clone(),
                                on: on.clone(),
                            });
                        }
                    }
                }
                CheckFrom::Nodes(_) | CheckFrom::Consumers => {}
            }
        }
        gates
    }

    /// The checks of what `service` requires that must be green on `node` before it starts there. Where no agent runs nobody
    /// can ask them: what another node reaches says nothing of that one.
    pub(crate) fn consumer_checks(&mut self, service: &Service, node: &NodeName) -> Vec<Gate> {
        let is_agentless = self.world.is_agentless(node);
        let mut gates = Vec::new();
        for (name, dependency) in &service.dependencies {
            let Some(required) = self.service(name).filter(|_| dependency.needed) else {
                continue;
            };
            if dependency.start != Wait::Healthy {
                continue;
            }
            for (id, check) in self.wanted_checks(required) {
                match &check.from {
                    CheckFrom::Consumers if is_agentless => {
                        let text = format!(
                            "no agent runs there that could ask the check {id} of what it requires: not waited for"
                        );
                        self.report
                            .warn(Subject::instance(&service.name, node), text);
                    }
                    CheckFrom::Consumers => {
                        gates.push(Gate {
                            check: id,
                            on: node.clone(),
                        });
                    }
                    CheckFrom::Nodes(from) if required.external => {
                        gates.extend(from.iter().map(|on| Gate {
                            check: id.clone(),
                            on: on.clone(),
                        }));
                    }
                    CheckFrom::Nodes(_) | CheckFrom::Own => {}
                }
            }
        }
        gates
    }

    /// The checks that compare: the instances that run, with those that the plan has `started` by then; or what named nodes
    /// see, as far as they are on. One alone has nothing to be compared with.
    pub(crate) fn comparisons(&self, service: &Service, started: &[NodeName]) -> Vec<Gate> {
        let is_there = |node: &&NodeName| {
            started.contains(node) || self.world.instance(&service.name, node) == Presence::Up
        };
        let nodes: Vec<&NodeName> = service.nodes.iter().filter(is_there).collect();
        let mut gates = Vec::new();
        for (id, check) in self.wanted_checks(service) {
            if !matches!(check.kind, CheckKind::Same { .. }) {
                continue;
            }
            let on: Vec<NodeName> = match &check.from {
                CheckFrom::Own => nodes.iter().map(|node| self.first_prober(node)).collect(),
                CheckFrom::Nodes(from) => {
                    let is_on = |on: &&NodeName| self.world.machine(on) == Machine::On;
                    from.iter().filter(is_on).cloned().collect()
                }
                CheckFrom::Consumers => continue,
            };
            if on.len() > 1 {
                gates.extend(on.into_iter().map(|on| Gate {
                    check: id.clone(),
                    on,
                }));
            }
        }
        gates
    }

    /// Says which named nodes a comparison leaves out, since they may still be off when it is made.
    pub(crate) fn warn_of_uncompared(&mut self, service: &Service) {
        for (id, check) in self.wanted_checks(service) {
            let (CheckKind::Same { .. }, CheckFrom::Nodes(from)) = (&check.kind, &check.from)
            else {
                continue;
            };
            let is_dark = |on: &&NodeName| self.world.machine(on) != Machine::On;
            let dark: Vec<&str> = from.iter().filter(is_dark).map(NodeName::as_str).collect();
            if !dark.is_empty() {
                let text = format!(
                    "its check {} compares what is seen on {}, which may still be off: not waited for",
                    id.check,
                    dark.join(" and ")
                );
                self.report.warn(Subject::service(&service.name), text);
            }
        }
    }

    /// Are these checks green now? Says in the report which are not. For what the plan does not touch: what it is
    /// about to start or to stop cannot be judged yet.
    pub(crate) fn must_be_green(&mut self, subject: &Subject, gates: &[Gate]) {
        for gate in gates {
            let Some(seen) = self.world.check(&gate.on, &gate.check) else {
                return;
            };
            if seen.verdict == Verdict::Ok {
                continue;
            }
            let why = format!(
                "check {} on {} is {}: {}",
                gate.check, gate.on, seen.verdict, seen.evidence
            );
            let remedy = "repair it and plan again".to_owned();
            let (subject, force) = (subject.clone(), Some(gate.check.clone()));
            match seen.verdict {
                Verdict::Ok => {}
                Verdict::Bad => self.report.add(Entry::Blocked {
                    subject,
                    by: why,
                    remedy,
                    force,
                }),
                Verdict::Unknown => self.report.add(Entry::Unknown {
                    subject,
                    why,
                    remedy,
                    force,
                }),
            }
        }
    }

    /// Is the instance known to be healthy? Offline everything is that is up.
    pub(crate) fn is_healthy(&self, service: &Service, node: &NodeName) -> bool {
        let own = self.wanted_checks(service).filter(|(id, check)| {
            check.from == CheckFrom::Own
                && !matches!(check.kind, CheckKind::Same { .. })
                && !service.active_when.contains(&id.check)
        });
        let mut verdicts =
            own.filter_map(|(id, _)| self.world.check(&self.observer(service, node), &id));
        verdicts.all(|seen| seen.verdict == Verdict::Ok)
    }

    /// The checks of a service that are not forced.
    fn wanted_checks<'s>(
        &self,
        service: &'s Service,
    ) -> impl Iterator<Item = (CheckId, &'s Check)> + use<'a, 's> {
        let force = &self.request.force;
        let id = |name: &CheckName| CheckId {
            service: service.name.clone(),
            check: name.clone(),
        };
        let checks = service
            .checks
            .iter()
            .map(move |(name, check)| (id(name), check));
        checks.filter(|(id, _)| !force.contains(id))
    }
}
