//! What operations under way hold, told to whoever would need it.

use std::collections::BTreeSet;

use interlock_engine::coordinator::Coordinator;
use interlock_engine::operation::{Claims, Clash, Operation};
use interlock_model::plan::Plan;
use interlock_planner::{Entry, Subject};

use super::NAMED;

/// The operations that a plan cannot be carried out beside, an entry for each of them: it can be looked at, and not be started
/// before they are over.
pub(super) fn of(coordinator: &Coordinator, plan: &Plan) -> Vec<Entry> {
    let wanted = Claims::of(plan);
    let running = coordinator
        .operations()
        .filter(|operation| !operation.state().is_over());
    let told = running.filter_map(|operation| {
        let clash = operation.claims().clash(&wanted)?;
        let named = match clash {
            Clash::Held(_) => told(operation, &held(operation, plan)),
            Clash::ReliedUpon(_) => None,
        };
        // What only a gate asks about is no step's.
        Some(named.unwrap_or_else(|| format!("{}: {clash}", is(operation))))
    });
    let warn = |told: String| Entry::Warning {
        subject: Subject::cluster(),
        text: format!("{told}: this plan can be started when it is over"),
    };
    told.map(warn).collect()
}

/// What of a plan an operation changes.
fn held(operation: &Operation, plan: &Plan) -> BTreeSet<String> {
    named_in(plan)
        .filter(|name| match name {
            Name::Service(service) => operation.claims().changes(None, Some(service)),
            Name::Node(node) => operation.claims().changes(Some(node), None),
        })
        .map(|name| name.to_string())
        .collect()
}

/// The operations that are not over, with what they hold. None where no spec can be read: then they stand still, and go on
/// by the next spec.
pub(super) fn by_all(coordinator: &Coordinator) -> Vec<String> {
    let readable = coordinator.applied().is_some();
    let running = coordinator
        .operations()
        .filter(|operation| readable && !operation.state().is_over());
    let told = running.map(|operation| {
        let held = held(operation, operation.plan());
        told(operation, &held).unwrap_or_else(|| is(operation))
    });
    told.collect()
}

/// What a step is about.
enum Name<'a> {
    Service(&'a interlock_model::names::ServiceName),
    Node(&'a interlock_model::names::NodeName),
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(service) => service.fmt(f),
            Self::Node(node) => node.fmt(f),
        }
    }
}

fn named_in(plan: &Plan) -> impl Iterator<Item = Name<'_>> {
    let services = plan.steps.iter().filter_map(|step| step.service.as_ref());
    let nodes = plan.steps.iter().filter_map(|step| step.node.as_ref());
    services.map(Name::Service).chain(nodes.map(Name::Node))
}

/// `op-3 (restart --service web, started by anna) is running and holds web, web1`; none if it holds nothing.
fn told(operation: &Operation, held: &BTreeSet<String>) -> Option<String> {
    if held.is_empty() {
        return None;
    }
    let named: Vec<&str> = held.iter().take(NAMED).map(String::as_str).collect();
    let more = match held.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    Some(format!(
        "{} and holds {}{more}",
        is(operation),
        named.join(", ")
    ))
}

fn is(operation: &Operation) -> String {
    format!(
        "{} ({} {}, started by {}) is {}",
        operation.id(),
        operation.plan().kind,
        operation.plan().scope,
        operation.origin().0,
        operation.state(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use interlock_engine::coordinator::{Loaded, StartRequest};
    use interlock_model::check::CheckId;
    use interlock_model::ids::{Generation, Term};
    use interlock_model::plan::{Gate, PlanKind, SealedPlan};
    use interlock_model::spec::Spec;
    use interlock_planner::{Input, Request as PlanRequest, Scope};

    use super::*;
    use crate::clock;

    const SPEC: &str = "
cluster: shop
nodes: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } }
services:
  web: { nodes: [a], active: all, manager: { process: { name: web } } }
  mail: { nodes: [b], active: all, manager: { process: { name: mail } } }
";

    fn shutdown(spec: &Spec, services: &[&str]) -> SealedPlan {
        let services = services.iter().map(|name| name.parse().unwrap()).collect();
        let outcome = interlock_planner::plan(&Input {
            spec,
            generation: Generation(1),
            request: PlanRequest::new(PlanKind::Shutdown, Scope::Services(services)),
            observations: None,
            memory: &BTreeMap::new(),
            forgotten: &BTreeMap::new(),
            power_verified: None,
        });
        outcome.plan.unwrap()
    }

    #[test]
    fn the_report_of_a_plan_says_which_operation_holds_what_of_it() {
        let spec = Arc::new(Spec::parse(SPEC.as_bytes(), "shop.yaml").unwrap().spec);
        let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        let now = clock::now();
        coordinator.apply_spec(spec.clone(), String::new(), String::new(), "admin", now);
        let request = StartRequest {
            plan: Arc::new(shutdown(&spec, &["web"])),
            by: "anna".to_owned(),
            reason: String::new(),
            single_step: false,
        };
        coordinator.start(&request, now).unwrap();

        let both = of(&coordinator, shutdown(&spec, &["web", "mail"]).plan());
        let said: Vec<String> = both.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains(
                "op-1 (shutdown --service web, started by anna) is running and holds a, web:"
            ),
            "{said:?}"
        );
        assert_eq!(of(&coordinator, shutdown(&spec, &["mail"]).plan()), []);

        // What only a gate waits for is in the way, too.
        let mut gated = shutdown(&spec, &["mail"]).plan().clone();
        gated.steps[0].gates.push(Gate {
            check: CheckId {
                service: "web".parse().unwrap(),
                check: "port".parse().unwrap(),
            },
            on: "b".parse().unwrap(),
        });
        let said: Vec<String> = of(&coordinator, &gated)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("web is held"), "{said:?}");

        // Who would apply a spec is told of it as a whole.
        let all = by_all(&coordinator);
        assert_eq!(
            all,
            ["op-1 (shutdown --service web, started by anna) is running and holds a, web"]
        );
    }
}
