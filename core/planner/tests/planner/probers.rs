//! Who is asked for a check that a step waits for: somebody who runs it, about that instance.

use interlock_model::action::ShutdownBy;
use interlock_model::check::CheckFrom;
use interlock_model::observation::Liveness;
use interlock_model::plan::{Plan, PlanKind};
use interlock_planner::Scope;
use interlock_planner::checker::{self, Violation};

use crate::support::{Cluster, ask, checks, name};

/// Telephony on two machines without agents; each is probed from another node first, and the other one stands in.
fn telephony() -> Cluster {
    let agentless = |cluster: Cluster, node: &str, from: [&str; 2]| {
        cluster.with_node(node, |node| {
            node.agentless = Some(from.map(name).to_vec());
            node.power.as_mut().unwrap().shutdown = ShutdownBy::Manual;
        })
    };
    let cluster = Cluster::new()
        .service("db", &["a"])
        .check("db", "path", CheckFrom::Consumers)
        .service("web", &["b"])
        .requires("web", &["db"])
        .service("tel", &["tel1", "tel2"])
        .check("tel", "sip", CheckFrom::Own)
        .check("tel", "call", CheckFrom::Nodes(vec![name("mgmt1")]))
        .requires("tel", &["db"]);
    let cluster = agentless(cluster, "tel1", ["a", "b"]);
    agentless(cluster, "tel2", ["b", "a"])
}

fn startup(cluster: &Cluster) -> Plan {
    ask(cluster, PlanKind::Startup, Scope::All).plan()
}

#[test]
fn nobody_is_asked_what_is_reached_from_where_no_agent_runs_and_the_report_says_so() {
    let cluster = telephony();
    let outcome = ask(&cluster, PlanKind::Startup, Scope::All).outcome();
    let report = outcome.report.to_string();
    let plan = outcome.plan.expect(&report).plan().clone();
    assert_eq!(checks(&plan, "start:web@b").0, ["db.path@b"]);
    assert_eq!(
        checks(&plan, "check:tel@tel1").0,
        [""; 0],
        "a would never answer that"
    );
    let told = "tel@tel1: no agent runs there that could ask the check db.path";
    assert!(report.contains(told), "{report}");
}

#[test]
fn a_check_that_is_asked_where_it_does_not_run_is_caught() {
    let cluster = telephony();
    let plan = startup(&cluster);
    assert_eq!(checker::check(&cluster.0, &plan, None), []);
    let own = checks(&plan, "check:tel@tel1").1;
    assert!(own.contains(&"tel.sip@a".to_owned()), "{own:?}");
    for (step, check, on) in [
        // It tells of tel2.
        ("check:tel@tel1", "sip", "b"),
        // It has no agent.
        ("check:tel@tel1", "sip", "tel1"),
        ("check:tel@tel1", "sip", "nobody"),
        // It is not among those that the spec names; and requires nothing of it.
        ("check:tel@tel1", "call", "b"),
        ("start:web@b", "path", "mgmt1"),
        ("start:web@b", "path", "tel1"),
    ] {
        let mut plan = plan.clone();
        let found = plan.steps.iter_mut().find(|it| it.id.as_str() == step);
        let gates = found.unwrap();
        for gate in gates.gates.iter_mut().chain(&mut gates.healthy) {
            if gate.check.check.as_str() == check {
                gate.on = name(on);
            }
        }
        let found = checker::check(&cluster.0, &plan, None);
        let caught = found.iter().any(|it| {
            matches!(it, Violation::NobodyToProbe { step: s, check: c, on: o }
                if s.as_str() == step && c.check.as_str() == check && o.as_str() == on)
        });
        assert!(caught, "{step} {check} on {on}: {found:?}");
    }
}

#[test]
fn a_prober_that_stands_in_may_be_asked() {
    let mut cluster = telephony();
    cluster.0.services.get_mut("tel").unwrap().nodes = vec![name("tel1")];
    let mut seen = cluster.all_down();
    seen.node("a").liveness = Liveness::Unheard;
    seen.node("tel1").liveness = Liveness::Unheard;
    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&seen)
        .plan();
    let mut from_b = plan.clone();
    let tel = from_b.steps.iter_mut();
    let tel = tel.filter(|it| it.id.as_str() == "check:tel@tel1");
    for gate in tel.flat_map(|it| &mut it.healthy) {
        if gate.check.check.as_str() == "sip" {
            gate.on = name("b");
        }
    }
    assert_eq!(checker::check(&cluster.0, &from_b, Some(&seen.0)), []);
}
