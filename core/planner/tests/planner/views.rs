//! What is shown of a plan.

use interlock_model::plan::{PlanKind, SealedPlan};
use interlock_planner::{Scope, view};

use crate::support::{Cluster, ask, large_v2, nodes, services};

fn small() -> Cluster {
    Cluster::new()
        .service("db", &["a"])
        .service("web", &["b"])
        .requires("web", &["db"])
}

#[test]
fn the_json_of_a_plan_has_the_documented_shape() {
    let cluster = small();
    let outcome = ask(&cluster, PlanKind::Shutdown, Scope::All).outcome();
    let sealed = outcome.plan.unwrap();
    let json = view::json(Some(&sealed), &outcome.report);
    assert_eq!(json["digest"], sealed.digest().to_string());
    assert_eq!(json["generation"], 7);
    assert_eq!(json["kind"], "shutdown");
    assert_eq!(json["scope"], "--all");
    let step = |json: &serde_json::Value, id: &str| {
        json["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["id"] == id)
            .unwrap()
            .clone()
    };
    assert_eq!(
        step(&json, "stop:db@a"),
        serde_json::json!({
            "id": "stop:db@a", "action": "stop", "node": "a", "service": "db", "stage": 3,
            "after": [{"step": "power-off:b", "until": "down"}], "gates": [], "healthy": [], "timeout": "1m 30s",
            "undo": "start",
        })
    );
    assert_eq!(
        step(&json, "power-off:b")["service"],
        serde_json::Value::Null
    );
    let report = json["report"].as_array().unwrap();
    assert!(
        report
            .iter()
            .all(|entry| entry["entry"].is_string() && entry["text"].is_string()),
        "{report:?}"
    );
}

#[test]
fn a_refusal_is_json_too() {
    let outcome = ask(&small(), PlanKind::Shutdown, nodes(&["nowhere"])).outcome();
    let json = view::json(outcome.plan.as_ref(), &outcome.report);
    assert!(json["digest"].is_null());
    assert_eq!(json["steps"], serde_json::json!([]));
    assert_eq!(json["report"][1]["entry"], "blocked");
}

#[test]
fn the_tree_shows_stages_waits_and_limits() {
    let outcome = ask(&small(), PlanKind::Shutdown, Scope::All).outcome();
    let sealed = outcome.plan.unwrap();
    let expected = format!(
        "\
shutdown --all of acd, generation 7, 4 steps, digest {}
stage 1
└─ stop:web@b    1m 30s
stage 2
└─ power-off:b       3m  after stop:web@b down
stage 3
└─ stop:db@a     1m 30s  after power-off:b down
stage 4
└─ power-off:a       3m  after stop:db@a down
",
        sealed.digest().short()
    );
    assert_eq!(view::tree(&sealed), expected);
    let report = outcome.report.to_string();
    assert!(
        report.contains("limits: 4 steps in 4 stages, at most 9m"),
        "{report}"
    );
}

#[test]
fn one_step_is_not_several() {
    let cluster = small();
    let seen = cluster.all_up(&[]);
    let outcome = ask(&cluster, PlanKind::Shutdown, services(&["web"]))
        .seeing(&seen)
        .outcome();
    let report = outcome.report.to_string();
    assert!(
        report.contains("limits: 1 step in 1 stage, at most"),
        "{report}"
    );
    let tree = view::tree(&outcome.plan.unwrap());
    assert!(tree.contains(", 1 step, digest"), "{tree}");
}

#[test]
fn the_graph_has_a_node_per_step_and_an_arrow_per_edge() {
    let plan = ask(&small(), PlanKind::Startup, Scope::All).plan();
    let dot = view::dot(&plan);
    assert!(dot.starts_with("digraph \"startup of acd\" {\n"), "{dot}");
    assert!(
        dot.contains("  \"start:db@a\" -> \"power-on:b\" [label=\"healthy\"];\n"),
        "{dot}"
    );
    assert_eq!(
        dot.matches(" -> ").count(),
        plan.steps
            .iter()
            .map(|step| step.after.len())
            .sum::<usize>()
    );
}

#[test]
fn the_table_has_a_row_per_step_in_the_order_of_the_plan() {
    let plan = ask(&small(), PlanKind::Shutdown, Scope::All).plan();
    let rows = view::rows(&plan);
    assert_eq!(rows.len(), plan.steps.len());
    assert_eq!(
        rows[2].cells(),
        [
            "3",
            "stop:db@a",
            "a",
            "db",
            "power-off:b down",
            "1m 30s",
            "start"
        ]
        .map(String::from)
    );
}

#[test]
fn the_same_input_gives_the_same_bytes_and_they_can_be_read_back() {
    let cluster = large_v2();
    let seen = cluster.all_up(&[("lb", "lb2"), ("dbm", "dbm2")]);
    let make = || {
        ask(&cluster, PlanKind::Shutdown, Scope::All)
            .seeing(&seen)
            .outcome()
            .plan
            .unwrap()
    };
    let (one, two) = (make(), make());
    assert_eq!(one.digest(), two.digest());
    assert_eq!(SealedPlan::open(one.bytes().to_vec()).unwrap(), two);
}

#[test]
fn a_report_can_be_read_back() {
    let cluster = large_v2();
    let seen = cluster.all_up(&[]).lose("jb1");
    let report = ask(&cluster, PlanKind::Restart, Scope::All)
        .seeing(&seen)
        .outcome()
        .report;
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(
        serde_json::from_str::<interlock_planner::Report>(&text).unwrap(),
        report
    );
}
