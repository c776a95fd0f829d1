//! One node, for operators.

use interlock_engine::coordinator::Coordinator;
use interlock_model::action::Power;
use interlock_model::check::{CheckFrom, CheckId};
use interlock_model::names::NodeName;
use interlock_model::observation::{
    CheckObservation, InstanceObservation, InstanceState, NodeObservation,
};
use interlock_model::time::Now;
use interlock_proto::convert::{member_seen_to_wire, millis, refusal_to_wire, role_to_wire};
use interlock_proto::v1;

use crate::driver::Desk;

/// One node, as it was last seen.
pub(super) fn node(
    desk: &Desk,
    name: &NodeName,
    seen: &NodeObservation,
    now: Now,
) -> v1::NodeStatus {
    let coordinator = &desk.coordinator;
    let declared = coordinator
        .applied()
        .and_then(|applied| applied.spec.nodes.get(name));
    let is_probed = declared.is_some_and(|node| node.agentless.is_some());
    let more = coordinator.view().node(name);
    // Who speaks is on; its power source need not be asked for that.
    let power = match seen.power {
        Power::Unknown if coordinator.view().alive(name) => Power::On,
        said => said,
    };
    v1::NodeStatus {
        node: name.to_string(),
        address: declared
            .map(|node| node.address.clone())
            .unwrap_or_default(),
        host: declared
            .and_then(|node| node.host.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        liveness: v1::Liveness::from(seen.liveness).into(),
        heard_ms: seen.heard.map(millis),
        power: v1::Power::from(power).into(),
        power_age_ms: seen.power_age.map(millis),
        boot_id: seen
            .boot
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        agent_version: more.map(|more| more.version.clone()).unwrap_or_default(),
        agent_generation: more.map_or(0, |more| more.generation.0),
        facts: desk.facts.get(name).cloned(),
        instances: if is_probed {
            unmanaged(coordinator, name)
        } else {
            instances(coordinator, name, seen)
        },
        checks: if is_probed {
            probed(coordinator, name, now)
        } else {
            let checks = seen.checks.iter();
            checks.map(|(id, seen)| check(id, seen, "")).collect()
        },
        power_verified: match (
            declared.and_then(|node| node.power.as_ref()),
            coordinator.verification(name),
        ) {
            (None, _) => String::new(),
            (Some(_), None) => "no".to_owned(),
            (Some(_), Some(verified)) => verified.how.clone(),
        },
        held_by: coordinator
            .holder(Some(name), None)
            .map(|id| id.to_string())
            .unwrap_or_default(),
        refuses: seen.refuses.iter().map(refusal_to_wire).collect(),
        removed: declared.is_none(),
        agentless: declared
            .and_then(|node| node.agentless.as_ref())
            .map(|from| v1::Agentless {
                probed_from: from.iter().map(ToString::to_string).collect(),
            }),
        log_share: desk.share_away(name).unwrap_or_default().to_owned(),
        certificate_ends_ms: desk.certificates.get(name).map_or(0, |at| at.0),
    }
}

/// What its agent says of its instances; of one that is not heard nothing is known.
fn instances(
    coordinator: &Coordinator,
    name: &NodeName,
    seen: &NodeObservation,
) -> Vec<v1::Instance> {
    let is_known = coordinator.applied().is_some() && coordinator.view().alive(name);
    let instances = seen.instances.iter();
    instances
        .map(|(service, seen)| {
            let state = if is_known {
                seen.state
            } else {
                InstanceState::Unknown
            };
            instance(service.as_str(), seen, state)
        })
        .collect()
}

/// The services on a node without an agent: they come and go with their machine.
fn unmanaged(coordinator: &Coordinator, name: &NodeName) -> Vec<v1::Instance> {
    let Some(applied) = coordinator.applied() else {
        return Vec::new();
    };
    let seen = InstanceObservation {
        reason: "it comes and goes with its machine, on which no agent runs".to_owned(),
        ..InstanceObservation::default()
    };
    let spec = &applied.spec;
    let here = spec.services.values().filter(|it| it.nodes.contains(name));
    here.map(|service| {
        let state = coordinator.view().state(spec, name, &service.name);
        instance(service.name.as_str(), &seen, state)
    })
    .collect()
}

/// The own checks of what is on a node without an agent, from the prober whose word counts.
fn probed(coordinator: &Coordinator, name: &NodeName, now: Now) -> Vec<v1::CheckResult> {
    let Some(applied) = coordinator.applied() else {
        return Vec::new();
    };
    let (spec, view) = (&applied.spec, coordinator.view());
    let here = spec.services.values().filter(|it| it.nodes.contains(name));
    let own = here.flat_map(|service| {
        let checks = service.checks.iter();
        let own = checks.filter(|(_, check)| check.from == CheckFrom::Own);
        own.map(move |(check, _)| (service, check))
    });
    own.map(|(service, name_of_check)| {
        let id = CheckId {
            service: service.name.clone(),
            check: name_of_check.clone(),
        };
        let from = view.observer(spec, service, name);
        let seen = view.check(spec, from, &id, now);
        check(&id, &seen, &format!("from {from}: "))
    })
    .collect()
}

fn check(id: &CheckId, seen: &CheckObservation, from: &str) -> v1::CheckResult {
    v1::CheckResult {
        service: id.service.to_string(),
        check: id.check.to_string(),
        verdict: v1::Verdict::from(seen.verdict).into(),
        evidence: format!("{from}{}", seen.evidence),
        value: seen.value.clone().unwrap_or_default(),
        age_ms: seen.age.map(millis).unwrap_or_default(),
        paused: seen.paused,
        after: 0,
    }
}

fn instance(service: &str, seen: &InstanceObservation, state: InstanceState) -> v1::Instance {
    v1::Instance {
        service: service.to_owned(),
        state: v1::InstanceState::from(state).into(),
        since_ms: seen.since.map_or(0, |since| since.0),
        reason: seen.reason.clone(),
        wanted: v1::Wanted::from(seen.wanted).into(),
        restarts: seen.restarts,
        given_up: seen.given_up,
        orphaned: seen.orphaned && state == InstanceState::Running,
        members: seen.members.iter().map(member_seen_to_wire).collect(),
        role: seen.role.as_ref().map(role_to_wire),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use interlock_engine::coordinator::{CheckReport, FromAgent, Loaded};
    use interlock_model::check::Verdict;
    use interlock_model::ids::{Generation, Term};
    use interlock_model::spec::Spec;
    use interlock_model::time::Timestamp;

    use super::*;

    #[test]
    fn a_node_without_an_agent_is_shown_with_what_its_prober_says() {
        let text = "
cluster: c
nodes:
  a: { address: 10.0.0.1 }
  b: { address: 10.0.0.2 }
  box: { address: 10.0.0.9, agentless: { probes_from: [a, b] } }
services:
  pbx: { nodes: [box], checks: { sip: { tcp: '{address}:5060' } } }
";
        let spec = Spec::parse(text.as_bytes(), "test").unwrap().spec;
        let now = Now {
            mono: Duration::from_secs(100),
            wall: Timestamp(100_000),
        };
        let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        coordinator.apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now);
        for prober in ["a", "b"] {
            let report = CheckReport {
                id: CheckId {
                    service: "pbx".parse().unwrap(),
                    check: "sip".parse().unwrap(),
                },
                verdict: Verdict::Ok,
                evidence: "connected".into(),
                value: None,
                paused: false,
                age: Duration::ZERO,
                after: 0,
            };
            let seen = FromAgent::Observed {
                full: false,
                generation: Generation(1),
                instances: Vec::new(),
                checks: vec![report],
                refuses: Vec::new(),
            };
            let node = prober.parse().unwrap();
            coordinator.agent(&node, FromAgent::Hello(Box::default()), now);
            coordinator.agent(&node, seen, now);
        }
        let shown = |coordinator: &Coordinator| {
            let name = "box".parse().unwrap();
            let checks = probed(coordinator, &name, now);
            let instances = unmanaged(coordinator, &name);
            assert_eq!((checks.len(), instances.len()), (1, 1));
            assert_eq!(instances[0].state(), v1::InstanceState::Running);
            assert_eq!(checks[0].verdict(), v1::Verdict::Ok);
            checks[0].evidence.clone()
        };
        assert_eq!(shown(&coordinator), "from a: connected");
        coordinator.session_closed(&"a".parse().unwrap());
        assert_eq!(shown(&coordinator), "from b: connected");
    }
}
