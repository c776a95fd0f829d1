//! What the end of a restart or a reboot waits for: that those who run on reach again what was restarted.
//!
//! No step asks for it, since a plan does not touch them, and who they are is seen at the end. Those who run now are named, so
//! that nobody wonders what an operation waits for whose steps are all done.

use std::collections::BTreeSet;

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::PlanKind;
use interlock_model::spec::Service;

use crate::draft::Draft;
use crate::graph::Handle;
use crate::report::Entry;
use crate::world::Presence;

/// Says in the report which checks must be green at the end, and where.
pub(crate) fn tell(draft: &mut Draft<'_>, steps: &[Handle]) {
    if !matches!(draft.request.kind, PlanKind::Restart | PlanKind::Reboot) {
        return;
    }
    let steps = steps.iter().map(|handle| draft.graph.step(*handle));
    let steps = steps.filter(|step| matches!(step.action, Action::Start | Action::Verify));
    let restarted: BTreeSet<ServiceName> = steps.filter_map(|step| step.service.clone()).collect();
    for service in draft.by_rank(&restarted) {
        let on = dependants(draft, service);
        if on.is_empty() {
            continue;
        }
        let checks = service.checks.iter().filter(|(_, check)| {
            check.from == CheckFrom::Consumers && !matches!(check.kind, CheckKind::Same { .. })
        });
        let ids = checks.map(|(check, _)| CheckId {
            service: service.name.clone(),
            check: check.clone(),
        });
        for check in ids.filter(|id| !draft.request.force.contains(id)) {
            let on = on.clone();
            draft.report.add(Entry::AtEnd { check, on });
        }
    }
}

/// The nodes with an agent where something runs that requires a service.
fn dependants(draft: &Draft<'_>, service: &Service) -> BTreeSet<NodeName> {
    let others = draft.spec.services.values().filter(|other| {
        let edge = other.dependencies.get(&service.name);
        edge.is_some_and(|edge| edge.needed)
    });
    let instances = others.flat_map(|other| other.nodes.iter().map(move |node| (other, node)));
    let running = instances.filter(|(other, node)| {
        !draft.world.is_agentless(node) && draft.world.instance(&other.name, node) == Presence::Up
    });
    running.map(|(_, node)| node.clone()).collect()
}
