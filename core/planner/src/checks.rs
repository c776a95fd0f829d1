//! The checks that steps wait for, before they begin (gates) and before they count as healthy.
//!
//! * A start is *healthy* when the service's own checks are green on its node. The checks of `active_when`, and those
//!   that run on named nodes, speak of the active side and are asked of no standby.
//! * A start waits for the checks `from: consumers` of what it requires to be green **on its own node**: only there is
//!   the path that matters. Where the spec waits for less than *healthy*, it asks for no checks either.
//! * `same` compares instances, so it means nothing before all of them are up: it belongs to the joining step of the
//!   service (`Draft::comparisons`).
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
use crate::world::Presence;

impl<'a> Draft<'a> {
    /// The node where checks of `node` run: itself, or the first that probes it if it has no agent.
    pub(crate) fn observer(&self, node: &NodeName) -> NodeName {
        let probes_from = self
            .spec
            .nodes
            .get(node)
            .and_then(|node| node.agentless.as_ref());
        probes_from
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
                    on: self.observer(node),
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

    /// The checks of what `service` requires that must be green on `node` before it starts there.
    pub(crate) fn consumer_checks(&self, service: &Service, node: &NodeName) -> Vec<Gate> {
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
                    CheckFrom::Consumers if !matches!(check.kind, CheckKind::Same { .. }) => {
                        gates.push(Gate {
                            check: id,
                            on: self.observer(node),
                        });
                    }
                    CheckFrom::Nodes(from) if required.external => {
                        gates.extend(from.iter().map(|on| Gate {
                            check: id.clone(),
                            on: on.clone(),
                        }));
                    }
                    CheckFrom::Consumers | CheckFrom::Nodes(_) | CheckFrom::Own => {}
                }
            }
        }
        gates
    }

    /// The checks that compare instances: those that run, and those that the plan has `started` by then. One alone has
    /// nothing to be compared with.
    pub(crate) fn comparisons(&self, service: &Service, started: &[NodeName]) -> Vec<Gate> {
        let is_there = |node: &&NodeName| {
            started.contains(node) || self.world.instance(&service.name, node) == Presence::Up
        };
        let nodes: Vec<&NodeName> = service.nodes.iter().filter(is_there).collect();
        let mut gates = Vec::new();
        for (id, check) in self.wanted_checks(service) {
            if nodes.len() > 1
                && check.from == CheckFrom::Own
                && matches!(check.kind, CheckKind::Same { .. })
            {
                let gate = |node: &&NodeName| Gate {
                    check: id.clone(),
                    on: self.observer(node),
                };
                gates.extend(nodes.iter().map(gate));
            }
        }
        gates
    }

    /// Are these checks green now? Says in the report which are not. For what the plan does not touch: what it is
    /// about to start or to stop cannot be judged yet.
    pub(crate) fn must_be_green(&mut self, subject: &Subject, gates: &[Gate]) {
        for gate in gates {
            let Some(seen) = self.world.check(&gate.on, &gate.check) else {
                return;
            };
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
        let mut verdicts = own.filter_map(|(id, _)| self.world.check(&self.observer(node), &id));
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
