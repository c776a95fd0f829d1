//! Plans without steps: what is up is not yet well.

use std::collections::BTreeMap;

use interlock_model::ids::Generation;
use interlock_model::observation::{
    InstanceObservation, InstanceState, Liveness, NodeObservation, Observations, Wanted,
};
use interlock_model::plan::PlanKind;
use interlock_model::spec::Spec;
use interlock_planner::{Input, Request, Scope, plan};
use interlock_proto::v1;

use crate::scripted::{Script, Scripted};

const SPEC: &str = "
cluster: shop
nodes: { web1: { address: 10.9.0.21 }, web2: { address: 10.9.0.22 } }
services:
  web:
    nodes: [web1, web2]
    active: all
    manager: { process: { name: web } }
    checks: { alive: { marker: /srv/web/.alive } }
";

/// What a coordinator says of a startup when all instances run, and of them when this is found on `web2`.
fn all_up(scope: Scope, found: v1::Verdict) -> Script {
    let spec = Spec::parse(SPEC.as_bytes(), "shop.yaml").unwrap().spec;
    let running = InstanceObservation {
        state: InstanceState::Running,
        wanted: Some(Wanted::Running),
        ..InstanceObservation::default()
    };
    let up = NodeObservation {
        liveness: Liveness::Alive,
        instances: [("web".parse().unwrap(), running)].into(),
        ..NodeObservation::default()
    };
    let observations = Observations {
        nodes: ["web1", "web2"]
            .map(|node| (node.parse().unwrap(), up.clone()))
            .into(),
    };
    let outcome = plan(&Input {
        spec: &spec,
        generation: Generation(3),
        request: Request::new(PlanKind::Startup, scope),
        observations: Some(&observations),
        memory: &BTreeMap::new(),
        forgotten: &BTreeMap::new(),
        power_verified: None,
    });
    let sealed = outcome.plan.unwrap();
    assert_eq!(sealed.plan().steps, []);
    let node = |name: &str, verdict: v1::Verdict| v1::NodeStatus {
        node: name.into(),
        liveness: v1::Liveness::Alive.into(),
        instances: vec![v1::Instance {
            service: "web".into(),
            state: v1::InstanceState::Running.into(),
            ..Default::default()
        }],
        checks: vec![v1::CheckResult {
            service: "web".into(),
            check: "alive".into(),
            verdict: verdict.into(),
            evidence: "too old (12s, last: there)".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let well = found == v1::Verdict::Ok;
    Script {
        plan: v1::MakePlanResponse {
            digest: sealed.digest().to_string(),
            plan_json: String::from_utf8(sealed.bytes().to_vec()).unwrap(),
            report_json: serde_json::to_string(&outcome.report).unwrap(),
            generation: 3,
        },
        status: v1::Status {
            generation: 3,
            nodes: vec![node("web1", v1::Verdict::Ok), node("web2", found)],
            services: vec![v1::ServiceStatus {
                service: "web".into(),
                state: if well { "ok" } else { "degraded" }.into(),
                reason: "web.alive on web2 is unknown: too old".into(),
                instances: 2,
                ..Default::default()
            }],
            ..Default::default()
        },
        ..Script::default()
    }
}

fn nodes(node: &str) -> Scope {
    Scope::Nodes([node.parse().unwrap()].into())
}

#[test]
fn what_runs_and_is_not_known_to_work_is_told_with_a_code_of_its_own() {
    for (words, scope) in [
        ("startup --all --yes", Scope::All),
        (
            "startup --service web --yes",
            Scope::Services(["web".parse().unwrap()].into()),
        ),
        ("startup --node web2 --yes", nodes("web2")),
    ] {
        let coordinator = Scripted::start(all_up(scope, v1::Verdict::Unknown), "operator");
        let ran = coordinator.place.run(words).exits(7);
        assert!(
            ran.stderr
                .contains("no step is needed, but not everything is well:")
                && ran.stderr.contains("web.alive on web2 is unknown: too old"),
            "{words}:\n{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("nothing to do"), "{}", ran.stderr);
        let value = coordinator
            .place
            .run(&format!("{words} -o json"))
            .exits(7)
            .json();
        assert_eq!(value["kind"], "startup");
        assert_eq!(value["steps"], serde_json::json!([]));
        assert_eq!(value["not_well"].as_array().unwrap().len(), 1, "{value}");
    }
}

/// Else a script in the wrong context would take what it says for the cluster that it named.
#[test]
fn where_no_step_is_needed_another_clusters_name_is_refused_too() {
    let coordinator = Scripted::start(all_up(Scope::All, v1::Verdict::Ok), "operator");
    let line = "startup --all --yes --cluster";
    let ran = coordinator.place.run(&format!("{line} prod")).exits(2);
    assert!(
        ran.stderr.contains("the coordinator runs shop") && !ran.stderr.contains("nothing to do"),
        "{}",
        ran.stderr
    );
    coordinator.place.run(&format!("{line} shop")).exits(0);
}

/// The machine is on, and stays on until a person comes.
#[test]
fn what_a_shutdown_leaves_to_a_person_is_not_as_it_shall_be() {
    let text = "
cluster: shop
control: { coordinators: [mgmt1] }
nodes: { mgmt1: { address: 10.9.0.5 } }
";
    let spec = Spec::parse(text.as_bytes(), "shop.yaml").unwrap().spec;
    let outcome = plan(&Input {
        spec: &spec,
        generation: Generation(3),
        request: Request::new(PlanKind::Shutdown, nodes("mgmt1")),
        observations: None,
        memory: &BTreeMap::new(),
        forgotten: &BTreeMap::new(),
        power_verified: None,
    });
    let sealed = outcome.plan.unwrap();
    assert_eq!(sealed.plan().steps, []);
    let script = Script {
        plan: v1::MakePlanResponse {
            digest: sealed.digest().to_string(),
            plan_json: String::from_utf8(sealed.bytes().to_vec()).unwrap(),
            report_json: serde_json::to_string(&outcome.report).unwrap(),
            generation: 3,
        },
        ..Script::default()
    };
    let coordinator = Scripted::start(script, "operator");
    let line = "shutdown --node mgmt1 --yes";
    let ran = coordinator.place.run(line).exits(7);
    assert!(
        ran.stderr
            .contains("  node mgmt1: left for you: switch it off by hand"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    let value = coordinator
        .place
        .run(&format!("{line} -o json"))
        .exits(7)
        .json();
    assert_eq!(value["not_well"].as_array().unwrap().len(), 1, "{value}");
}

#[test]
fn a_state_without_a_reason_is_told_without_one() {
    let mut script = all_up(Scope::All, v1::Verdict::Bad);
    script.status.services[0].state = "stopped".into();
    script.status.services[0].reason.clear();
    let coordinator = Scripted::start(script, "operator");
    let ran = coordinator.place.run("startup --all --yes").exits(7);
    assert!(ran.stderr.contains("  web: stopped\n"), "{}", ran.stderr);
}

#[test]
fn a_silent_agent_in_the_scope_is_not_well() {
    let mut script = all_up(Scope::All, v1::Verdict::Ok);
    script.status.causes = vec![v1::RootCause {
        subject: "mgmt1".into(),
        what: "lost: its agent was last heard 75s ago".into(),
        dependants: vec!["power device kvm".into()],
    }];
    let coordinator = Scripted::start(script, "operator");
    let ran = coordinator.place.run("startup --all --yes").exits(7);
    assert!(
        ran.stderr.contains("mgmt1: lost: its agent"),
        "{}",
        ran.stderr
    );
}

/// Everything runs, and an operation waits at its gate: what it holds is not through.
#[test]
fn an_operation_under_way_is_named_where_no_step_is_needed() {
    let mut script = all_up(Scope::All, v1::Verdict::Ok);
    script.status.operations = vec![v1::OperationSummary {
        operation: "op-000003".into(),
        kind: "startup".into(),
        scope: "--all".into(),
        state: "running".into(),
        started_by: "anna".into(),
        steps: 9,
        steps_done: 8,
        ..Default::default()
    }];
    let coordinator = Scripted::start(script, "operator");
    let ran = coordinator.place.run("startup --all --yes").exits(7);
    assert!(
        ran.stderr.contains(
            "op-000003 (startup --all, started by anna) is running, 8 of 9 steps are done"
        ),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("nothing to do"), "{}", ran.stderr);
}

#[test]
fn what_is_well_needs_nothing_whatever_is_the_matter_outside_of_the_scope() {
    for (words, scope, found) in [
        ("startup --all --yes", Scope::All, v1::Verdict::Ok),
        ("startup --node web1 --yes", nodes("web1"), v1::Verdict::Bad),
    ] {
        let coordinator = Scripted::start(all_up(scope, found), "operator");
        let ran = coordinator.place.run(words).exits(0);
        assert!(
            ran.stderr
                .contains("nothing to do: everything is as it shall be"),
            "{words}:\n{}",
            ran.stderr
        );
        let value = coordinator
            .place
            .run(&format!("{words} -o json"))
            .exits(0)
            .json();
        assert_eq!(value["not_well"], serde_json::json!([]));
    }
}

/// Else the same cluster is well or not by whether a step was needed.
#[test]
fn what_is_not_of_this_cluster_and_down_is_told_with_the_same_code_after_the_last_step() {
    let scope = || crate::following::web();
    let plan = crate::following::response_for(PlanKind::Startup, scope(), "db1");
    let done = || vec![crate::following::word("done", "done", "runs")];
    let external = |state: &str| v1::Status {
        services: vec![v1::ServiceStatus {
            service: "dns".into(),
            external: true,
            state: state.into(),
            ..Default::default()
        }],
        causes: match state {
            "ok" => Vec::new(),
            _ => vec![v1::RootCause {
                subject: "dns".into(),
                what: "down: nobody answers".into(),
                dependants: vec!["web".into()],
            }],
        },
        ..Default::default()
    };
    for (state, exit) in [("down", 7), ("ok", 0)] {
        let script = Script {
            plan: plan.clone(),
            watches: std::sync::Mutex::new(vec![done(), done()].into()),
            status: external(state),
            ..Script::default()
        };
        let coordinator = Scripted::start(script, "operator");
        let line = "startup --service web --yes";
        let ran = coordinator.place.run(line).exits(exit);
        assert_eq!(
            ran.stderr.contains("  dns: down: nobody answers"),
            exit == 7,
            "{}",
            ran.stderr
        );
    }
}
