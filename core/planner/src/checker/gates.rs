//! Checks before and after a start, and people's gates at the end.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Gate, Plan, Step, Wait};
use interlock_model::spec::{Service, Spec};

use super::Violation;
use super::paths::Paths;
use crate::cost;

pub(super) fn check(spec: &Spec, plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    let forced: BTreeSet<&CheckId> = plan.forced.iter().collect();
    let consumers = consumers(spec);
    for step in &plan.steps {
        let service = step
            .service
            .as_ref()
            .and_then(|name| spec.services.get(name));
        let (Some(service), Some(node)) = (service, &step.node) else {
            continue;
        };
        let brings_up = matches!(step.action, Action::Start | Action::Verify | Action::Check);
        let promotes = step.action == Action::Promote;
        if !brings_up && !promotes {
            continue;
        }
        let is_agentless = no_agent(spec, node);
        let probers = spec.probers(service, node);
        let on = probers.first().copied().unwrap_or(node);
        let standby = service.is_exclusive()
            && service.nodes.len() > 1
            && plan
                .assumptions
                .get(&service.name)
                .is_none_or(|assumption| assumption.active != *node);
        // The checks of a leased service speak of its primary, and nobody is that by a start.
        let later = service.is_leased() && brings_up && step.action != Action::Check;
        let skip = |id: &CheckId| {
            forced.contains(id) || later || standby && service.active_when.contains(&id.check)
        };
        for id in checks(service, &CheckFrom::Own)
            .into_iter()
            .filter(|id| !skip(id))
        {
            // Any of its probers may have been the one that was heard.
            let is_asked = probers.iter().any(|on| has(&step.healthy, &id, on));
            if !is_asked {
                found.push(missing(step, id, on));
            }
        }
        // Nobody can ask what is reached from where no agent runs.
        if !promotes && step.action != Action::Check && !is_agentless {
            let gates: BTreeSet<(&CheckId, &NodeName)> =
                step.gates.iter().map(|it| (&it.check, &it.on)).collect();
            let needed = service
                .dependencies
                .iter()
                .filter(|(_, d)| d.needed && d.start == Wait::Healthy);
            for required in needed.filter_map(|(name, _)| spec.services.get(name)) {
                for id in checks(required, &CheckFrom::Consumers)
                    .into_iter()
                    .filter(|id| !forced.contains(id))
                {
                    cost::count(1);
                    if !gates.contains(&(&id, node)) {
                        found.push(missing(step, id, node));
                    }
                }
            }
        }
    }
    for step in &plan.steps {
        probers(spec, &consumers, step, found);
    }
    people(spec, plan, paths, found);
}

/// The nodes with something that requires a service, by service.
fn consumers(spec: &Spec) -> BTreeMap<&ServiceName, BTreeSet<&NodeName>> {
    let mut consumers: BTreeMap<&ServiceName, BTreeSet<&NodeName>> = BTreeMap::new();
    for other in spec.services.values() {
        let needed = other.dependencies.iter().filter(|(_, edge)| edge.needed);
        for (name, _) in needed {
            cost::count(other.nodes.len());
            consumers.entry(name).or_default().extend(&other.nodes);
        }
    }
    consumers
}

/// Does everyone who is asked run that check, about that instance? Another one would never answer, or for another machine.
fn probers(
    spec: &Spec,
    consumers: &BTreeMap<&ServiceName, BTreeSet<&NodeName>>,
    step: &Step,
    found: &mut Vec<Violation>,
) {
    for gate in step.gates.iter().chain(&step.healthy) {
        let service = spec.services.get(&gate.check.service);
        let check = service.and_then(|it| Some((it, it.checks.get(&gate.check.check)?)));
        let runs_there = check.is_some_and(|(service, check)| match &check.from {
            _ if !spec.nodes.contains_key(&gate.on) || no_agent(spec, &gate.on) => false,
            CheckFrom::Own => {
                let own = step.service.as_ref() == Some(&service.name);
                let of = step.node.as_ref().filter(|_| own);
                let mut nodes = service
                    .nodes
                    .iter()
                    .filter(|node| of.is_none_or(|of| of == *node));
                nodes.any(|node| spec.probers(service, node).contains(&&gate.on))
            }
            CheckFrom::Nodes(nodes) => nodes.contains(&gate.on),
            CheckFrom::Consumers => {
                let nodes = consumers.get(&service.name);
                nodes.is_some_and(|nodes| nodes.contains(&gate.on))
            }
        });
        if !runs_there {
            found.push(Violation::NobodyToProbe {
                step: step.id.clone(),
                check: gate.check.clone(),
                on: gate.on.clone(),
            });
        }
    }
}

fn no_agent(spec: &Spec, node: &NodeName) -> bool {
    let node = spec.nodes.get(node);
    node.is_some_and(|node| node.agentless.is_some())
}

/// The checks of a service that run there; those that compare instances have no meaning for one alone.
fn checks(service: &Service, from: &CheckFrom) -> Vec<CheckId> {
    let wanted = service
        .checks
        .iter()
        .filter(|(_, c)| c.from == *from && !matches!(c.kind, CheckKind::Same { .. }));
    wanted
        .map(|(name, _)| CheckId {
            service: service.name.clone(),
            check: name.clone(),
        })
        .collect()
}

fn has(gates: &[Gate], check: &CheckId, on: &NodeName) -> bool {
    gates
        .iter()
        .any(|gate| gate.check == *check && gate.on == *on)
}

fn missing(step: &Step, check: CheckId, on: &NodeName) -> Violation {
    Violation::MissingCheck {
        step: step.id.clone(),
        check,
        on: on.clone(),
    }
}

/// Each gate that belongs to such a plan is there, and opens only after everything but the other gates is through: down,
/// up, or healthy, whichever comes last.
fn people(spec: &Spec, plan: &Plan, paths: &Paths<'_>, found: &mut Vec<Violation>) {
    if plan.steps.is_empty() {
        return;
    }
    let mut gates = Vec::new();
    for (name, gate) in spec
        .gates
        .iter()
        .filter(|(_, gate)| gate.at_end_of.contains(&plan.kind))
    {
        let id = format!("approve:{name}");
        match paths.id(&id) {
            Some(step)
                if matches!(&paths.steps[step].action,
                    Action::Approve { gate: g, role, .. } if g == name && *role == gate.role) =>
            {
                gates.push((step, name));
            }
            _ => found.push(Violation::MissingGate { gate: name.clone() }),
        }
    }
    for (gate, name) in &gates {
        let others =
            (0..paths.steps.len()).filter(|step| !gates.iter().any(|(other, _)| other == step));
        for step in others {
            if !paths.awaits(*gate, step, end(&paths.steps[step].action)) {
                found.push(Violation::MissingGate {
                    gate: (*name).clone(),
                });
                break;
            }
        }
    }
}

/// The condition that a step reaches last.
pub(super) fn end(action: &Action) -> Wait {
    match action {
        Action::Stop | Action::PowerOff { .. } | Action::Drain { .. } => Wait::Down,
        Action::PowerOn { .. }
        | Action::Reboot
        | Action::Admit { .. }
        | Action::TryFile { .. }
        | Action::WriteFile { .. }
        | Action::RestoreFile { .. }
        | Action::Approve { .. } => Wait::Up,
        Action::Start
        | Action::Verify
        | Action::Promote
        | Action::VerifyRole { .. }
        | Action::CatchUp
        | Action::Check => Wait::Healthy,
    }
}
