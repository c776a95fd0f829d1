//! What is unknown, blocked or too little is a reason not to plan, and says what to do.

use interlock_model::check::{CheckFrom, Verdict};
use interlock_model::names::ServiceName;
use interlock_model::observation::{InstanceState, Wanted};
use interlock_model::plan::{Known, PlanKind};
use interlock_planner::{Entry, Scope};

use crate::support::{
    Cluster, Seen, ask, check_id, checks, ids, large_v2, name, nodes, precedes, services,
};
use interlock_model::plan::Wait;

const ACTIVE: [(&str, &str); 2] = [("lb", "lb2"), ("dbm", "dbm2")];

#[test]
fn an_instance_of_a_silent_agent_is_unknown_and_nothing_is_planned() {
    let cluster = large_v2();
    let seen = cluster.all_up(&ACTIVE).lose("jb1");
    let refusal = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .forcing("jb.http")
        .refusal();
    assert!(
        refusal
            .iter()
            .any(|line| line.starts_with("unknown: jb@jb1: the agent of jb1 is lost")),
        "{refusal:?}"
    );
    assert!(
        !refusal.iter().any(|line| line.contains("--force")),
        "no check is the cause: {refusal:?}"
    );
}

#[test]
fn a_machine_that_its_power_source_says_is_off_is_not_unknown() {
    let cluster = large_v2();
    let mut seen = cluster.all_up(&ACTIVE).lose("jb1");
    seen.node("jb1").power = interlock_model::action::Power::Off;
    let outcome = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .outcome();
    let plan = outcome.plan.unwrap();
    assert!(!ids(plan.plan()).iter().any(|id| id.contains("jb1")));
    let lines = outcome.report.to_string();
    assert!(lines.contains("already done: jb@jb1 is stopped"), "{lines}");
    assert!(lines.contains("already done: node jb1 is off"), "{lines}");
}

#[test]
fn an_unknown_active_side_refuses_unless_said_or_the_check_is_overridden() {
    let cluster = large_v2();
    let seen = cluster
        .all_up(&ACTIVE)
        .saying("lb.vip", "lb1", Verdict::Unknown);
    let shutdown = || ask(&cluster, PlanKind::Shutdown, Scope::All).seeing(&seen);

    let outcome = shutdown().outcome();
    assert!(outcome.plan.is_none());
    let cause = outcome.report.refusals().next().unwrap();
    assert_eq!(cause.force(), Some(&check_id("lb.vip")));
    assert!(
        cause.to_string().contains("--assume-active lb=NODE"),
        "{cause}"
    );
    assert!(
        cause.to_string().ends_with("(override: --force lb.vip)"),
        "{cause}"
    );

    let plan = shutdown().assuming("lb", "lb2").plan();
    assert_eq!(
        plan.assumptions[&name::<ServiceName>("lb")].known,
        Known::Assumed
    );
    let outcome = shutdown().forcing("lb.vip").outcome();
    let told =
        "warning: service lb: lb.vip is overridden: whatever it says stands against nothing here";
    let report = &outcome.report;
    assert!(
        report
            .entries()
            .iter()
            .any(|entry| entry.to_string() == told),
        "{report}"
    );
    let plan = shutdown().forcing("lb.vip").plan();
    let lb = &plan.assumptions[&name::<ServiceName>("lb")];
    assert_eq!(
        (lb.active.as_str(), lb.known),
        ("lb2", Known::Assumed),
        "overridden is not observed"
    );
    assert_eq!(plan.forced, [check_id("lb.vip")]);
    assert!(
        precedes(&plan, "stop:lb@lb1", Wait::Down, "stop:lb@lb2"),
        "lb2 alone passes for certain"
    );
}

#[test]
fn two_active_sides_are_never_overridden_by_a_check() {
    let cluster = large_v2();
    let seen = cluster.all_up(&ACTIVE).saying("lb.vip", "lb1", Verdict::Ok);
    let refusal = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .forcing("lb.vip")
        .refusal();
    assert!(refusal[0].contains("lb1 and lb2 both pass"), "{refusal:?}");
}

#[test]
fn what_is_observed_is_not_overruled_by_an_assumption() {
    let cluster = large_v2();
    let seen = cluster.all_up(&ACTIVE);
    let refusal = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .assuming("lb", "lb1")
        .refusal();
    assert!(
        refusal[0].contains("its checks say that lb2 is active"),
        "{refusal:?}"
    );
}

#[test]
fn offline_the_active_sides_must_be_said() {
    let cluster = large_v2();
    let refusal = ask(&cluster, PlanKind::Shutdown, Scope::All).refusal();
    assert_eq!(refusal.len(), 2, "{refusal:?}");
    let outcome = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .assuming("lb", "lb2")
        .assuming("dbm", "dbm2")
        .outcome();
    assert!(outcome.plan.is_some(), "{}", outcome.report);
    assert!(
        outcome.report.to_string().contains("offline"),
        "the report must say what was not seen"
    );
}

#[test]
fn offline_a_part_is_started_on_what_is_up() {
    let cluster = large_v2().with_node("jb1", |node| {
        node.labels.insert("row".into(), "1".into());
        node.host = Some(name("vmhost1"));
    });
    let label = Scope::Label {
        key: "row".into(),
        value: "1".into(),
    };
    for (scope, switched) in [
        (services(&["jb"]), 0),
        (label, 0),
        (nodes(&["jb1"]), 1),
        (Scope::Host(name("vmhost1")), 1),
    ] {
        let outcome = ask(&cluster, PlanKind::Startup, scope.clone())
            .assuming("lb", "lb2")
            .assuming("dbm", "dbm2")
            .outcome();
        let report = outcome.report.to_string();
        let plan = outcome.plan.expect(&report);
        let steps = ids(plan.plan());
        assert!(steps.contains(&"start:jb@jb1"), "{scope:?}: {steps:?}");
        let mut starts = steps.iter().filter(|step| step.starts_with("start:"));
        assert!(starts.all(|step| step.contains("jb")), "{steps:?}");
        let on = steps.iter().filter(|step| step.starts_with("power-on:"));
        assert_eq!(on.count(), switched, "{scope:?}: {steps:?}");
        assert!(report.contains("all else to be up"), "{report}");
    }
}

#[test]
fn a_start_needs_the_remembered_side() {
    let cluster = large_v2();
    let seen = cluster.all_down();
    let startup = || {
        ask(&cluster, PlanKind::Startup, Scope::All)
            .seeing(&seen)
            .remembering("dbm", "dbm2")
    };
    let refusal = startup().refusal();
    assert!(
        refusal
            .iter()
            .any(|line| line.contains("--assume-active lb=NODE")),
        "{refusal:?}"
    );

    let plan = startup().remembering("lb", "lb1").plan();
    assert_eq!(
        plan.assumptions[&name::<ServiceName>("lb")].known,
        Known::Remembered
    );
    assert!(precedes(&plan, "start:lb@lb1", Wait::Up, "start:lb@lb2"));

    let outcome = startup()
        .remembering("lb", "lb1")
        .assuming("lb", "lb2")
        .outcome();
    assert!(
        outcome
            .report
            .to_string()
            .contains("warning: service lb: lb1 was active before the stop")
    );
    assert!(precedes(
        outcome.plan.unwrap().plan(),
        "start:lb@lb2",
        Wait::Up,
        "start:lb@lb1"
    ));
}

#[test]
fn a_memory_that_was_given_up_is_named_where_it_would_have_been_gone_by() {
    let cluster = large_v2();
    let seen = cluster.all_down();
    let startup = || {
        ask(&cluster, PlanKind::Startup, Scope::All)
            .seeing(&seen)
            .remembering("lb", "lb2")
            .forgetting("dbm", "dbm1 was remembered, but the store is an older copy")
    };
    assert_eq!(
        startup().refusal(),
        [
            "unknown: service dbm: it is stopped and nothing is remembered of which side was active: dbm1 was remembered, \
             but the store is an older copy; say it with --assume-active dbm=NODE"
        ]
    );
    startup().assuming("dbm", "dbm2").plan();
}

/// One side is stopped, the other runs and is not active: what was remembered says nothing of what happened since.
#[test]
fn a_start_beside_a_side_that_runs_and_is_not_active_goes_by_no_memory() {
    let cluster = Cluster::new()
        .exclusive("db", &["n1", "n2"])
        .service("web", &["w"])
        .requires("web", &["db"]);
    let seen = cluster
        .all_up(&[])
        .state("db", "n1", InstanceState::Stopped)
        .state("web", "w", InstanceState::Stopped);
    for scope in [services(&["db"]), services(&["web"]), Scope::All] {
        let startup = || {
            ask(&cluster, PlanKind::Startup, scope.clone())
                .seeing(&seen)
                .remembering("db", "n1")
        };
        let refusal = startup().refusal();
        assert_eq!(
            refusal[0],
            "unknown: service db: which side is active: no instance passes its active_when checks; repair the check, \
             or say it with --assume-active db=NODE"
        );
    }
    let plan = ask(&cluster, PlanKind::Startup, services(&["db"]))
        .seeing(&seen)
        .assuming("db", "n2")
        .plan();
    assert_eq!(ids(&plan), ["start:db@n1"]);
    let db = &plan.assumptions[&name::<ServiceName>("db")];
    assert_eq!((db.active.as_str(), db.known), ("n2", Known::Assumed));
}

/// As `status` does.
#[test]
fn of_what_its_agent_calls_unknown_a_plan_says_why_in_its_words_with_what_to_do() {
    let cluster = Cluster::new().service("web", &["n1"]);
    let mut seen = cluster
        .all_up(&[])
        .state("web", "n1", InstanceState::Unknown);
    let refused = |seen: &Seen, kind| {
        ask(&cluster, kind, services(&["web"]))
            .seeing(seen)
            .refusal()
    };
    let web = seen.node("n1").instances.get_mut("web").unwrap();
    web.reason = "its shim was killed: say so with `interlockctl node stop`".to_owned();
    for kind in [PlanKind::Startup, PlanKind::Restart] {
        assert_eq!(
            refused(&seen, kind)[0],
            "unknown: web@n1: its agent says: its shim was killed: say so with `interlockctl node stop`; see to that, and plan again"
        );
    }
    let lost = seen.lose("n1");
    let told = &refused(&lost, PlanKind::Startup)[0];
    assert!(told.ends_with("is lost; repair its agent"), "{told}");
}

/// A word for a side that is down starts it as the active one: whatever is selected, the other side is known to be down by then.
#[test]
fn the_other_side_is_not_said_to_be_active_while_the_first_one_may_run() {
    let cluster = Cluster::new().exclusive("db", &["n1", "n2"]);
    let seen = cluster
        .all_up(&[("db", "n1")])
        .lose("n1")
        .state("db", "n2", InstanceState::Stopped);
    let refused = |scope| {
        ask(&cluster, PlanKind::Startup, scope)
            .seeing(&seen)
            .assuming("db", "n2")
            .refusal()
    };
    assert_eq!(
        refused(nodes(&["n2"])),
        [
            "unknown: db@n1: the agent of n1 is lost; it may be active, and n2 would be started as a second active side; \
          repair its agent, or let its power source say that the machine is off"
        ]
    );
    assert_eq!(
        refused(services(&["db"]))[0],
        "unknown: db@n1: the agent of n1 is lost; repair its agent"
    );
    // A standby is started beside the active side; and one that is up is what it is.
    let plan = ask(&cluster, PlanKind::Startup, nodes(&["n2"]))
        .seeing(&seen)
        .assuming("db", "n1")
        .plan();
    assert_eq!(ids(&plan), ["start:db@n2"]);
    let up = seen.clone().state("db", "n2", InstanceState::Running);
    let plan = ask(&cluster, PlanKind::Startup, nodes(&["n2"]))
        .seeing(&up)
        .assuming("db", "n2")
        .plan();
    assert!(ids(&plan).is_empty(), "{plan:?}");
}

/// After a cold boot of the machines both sides are up and none is active: nothing tells which one was.
#[test]
fn sides_that_came_up_with_their_machines_after_a_full_stop_go_by_memory() {
    let cluster = Cluster::new().exclusive("db", &["n1", "n2"]);
    let seen = ["n1", "n2"].iter().fold(cluster.all_up(&[]), |seen, node| {
        seen.wanted("db", node, Wanted::Stopped)
    });
    let startup = |seen| {
        ask(&cluster, PlanKind::Startup, Scope::All)
            .seeing(seen)
            .remembering("db", "n2")
    };
    let plan = startup(&seen).plan();
    assert_eq!(ids(&plan), ["start:db@n2", "start:db@n1"]);
    let db = &plan.assumptions[&name::<ServiceName>("db")];
    assert_eq!(db.known, Known::Remembered);
    // Somebody has started one since.
    let started = seen.clone().wanted("db", "n1", Wanted::Running);
    let refusal = startup(&started).refusal();
    assert!(
        refusal[0].contains("--assume-active db=NODE"),
        "{refusal:?}"
    );
}

#[test]
fn what_runs_is_left_alone_and_its_health_is_waited_for() {
    let cluster = large_v2();
    let seen = cluster
        .all_up(&ACTIVE)
        .state("jb", "jb1", InstanceState::Stopped);
    let outcome = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&seen)
        .outcome();
    let sealed = outcome.plan.unwrap();
    let plan = sealed.plan();
    // dbm's active side has a check of its own; store and dbs have none, so there is nothing to wait for.
    assert_eq!(
        ids(plan),
        ["check:dbm@dbm2", "start:jb@jb1", "approve:test-call"]
    );
    assert!(precedes(
        plan,
        "check:dbm@dbm2",
        Wait::Healthy,
        "start:jb@jb1"
    ));
    assert_eq!(checks(plan, "check:dbm@dbm2").1, ["dbm.vip@dbm2"]);
    assert!(
        outcome
            .report
            .to_string()
            .contains("already done: lb@lb1 is running")
    );
}

#[test]
fn a_gate_that_is_not_green_now_refuses_unless_overridden_by_name() {
    let cluster = large_v2();
    for (verdict, word) in [(Verdict::Bad, "blocked"), (Verdict::Unknown, "unknown")] {
        let seen = cluster
            .all_up(&ACTIVE)
            .state("jb", "jb1", InstanceState::Stopped)
            .saying("store.share", "jb1", verdict);
        let startup = || ask(&cluster, PlanKind::Startup, services(&["jb"])).seeing(&seen);
        let refusal = startup().refusal();
        assert_eq!(refusal.len(), 1, "{refusal:?}");
        assert!(
            refusal[0].starts_with(&format!("{word}: jb@jb1: check store.share on jb1")),
            "{refusal:?}"
        );
        assert!(
            refusal[0].ends_with("(override: --force store.share)"),
            "{refusal:?}"
        );
        assert!(
            startup().forcing("jb.http").outcome().plan.is_none(),
            "another check is no key"
        );
        let plan = startup().forcing("store.share").plan();
        assert_eq!(checks(&plan, "start:jb@jb1").0, Vec::<String>::new());
    }
}

#[test]
fn a_required_service_that_does_not_run_blocks_and_is_named() {
    let cluster = large_v2();
    let seen = cluster.all_down();
    let mut seen = seen;
    for node in ["jb1", "jb2"] {
        seen.node(node).power = interlock_model::action::Power::On;
        seen.node(node).liveness = interlock_model::observation::Liveness::Alive;
    }
    let refusal = ask(&cluster, PlanKind::Startup, services(&["jb"]))
        .seeing(&seen)
        .refusal();
    for required in ["store", "dbm", "dbs"] {
        let line = format!("blocked: service jb: it requires {required}");
        assert!(
            refusal.iter().any(|entry| entry.starts_with(&line)),
            "{required}: {refusal:?}"
        );
        assert!(
            refusal
                .iter()
                .any(|entry| entry.contains(&format!("--service {required}")))
        );
    }
}

#[test]
fn an_external_service_is_a_gate_where_its_consumer_is() {
    let cluster = Cluster::new()
        .service("nfs", &[])
        .with("nfs", |nfs| nfs.external = true)
        .check("nfs", "up", CheckFrom::Consumers)
        .service("web", &["w1", "w2"])
        .requires("web", &["nfs"]);
    let plan = ask(&cluster, PlanKind::Startup, Scope::All).plan();
    assert_eq!(checks(&plan, "start:web@w2").0, ["nfs.up@w2"]);
    assert!(!ids(&plan).iter().any(|id| id.contains("nfs")));
    let outcome = ask(&cluster, PlanKind::Shutdown, services(&["nfs", "web"])).outcome();
    assert!(
        outcome.report.to_string().contains("excluded: service nfs"),
        "{}",
        outcome.report
    );
}

#[test]
fn a_standby_does_not_start_while_its_active_side_stays_down() {
    let cluster = large_v2();
    let seen = cluster.all_down();
    let refusal = ask(&cluster, PlanKind::Startup, nodes(&["store1", "lb1"]))
        .seeing(&seen)
        .remembering("lb", "lb2")
        .refusal();
    assert!(
        refusal
            .iter()
            .any(|line| line.contains("active side lb2 is down")),
        "{refusal:?}"
    );
}

#[test]
fn names_that_the_spec_does_not_know_are_refused() {
    let cluster = large_v2();
    let plan = |scope| ask(&cluster, PlanKind::Shutdown, scope).refusal();
    assert!(plan(services(&["jbb"]))[0].contains("there is no service jbb"));
    assert!(plan(nodes(&["jb9"]))[0].contains("there is no node jb9"));
    assert!(plan(Scope::Host(name("moon")))[0].contains("no node matches --host moon"));
    let refusal = ask(&cluster, PlanKind::Restart, services(&["jb"]))
        .forcing("jb.nothing")
        .refusal();
    assert!(refusal[0].contains("--force jb.nothing names no check"));
    let refusal = ask(&cluster, PlanKind::Restart, services(&["jb"]))
        .assuming("jb", "jb1")
        .refusal();
    assert!(refusal[0].contains("jb is not exclusive"));
}

#[test]
fn a_slip_in_a_name_is_told_with_the_name_that_was_probably_meant() {
    let cluster = large_v2().with_node("jb1", |node| {
        node.labels.insert("tier".into(), "web".into());
    });
    let plan = |scope| {
        ask(&cluster, PlanKind::Shutdown, scope)
            .refusal()
            .join("\n")
    };
    let label = Scope::Label {
        key: "teir".into(),
        value: "web".into(),
    };
    for (said, meant) in [
        (plan(services(&["stoer"])), "store"),
        (plan(nodes(&["stor1"])), "store1"),
        (plan(label), "tier=web"),
    ] {
        assert!(said.contains(&format!("did you mean {meant}?")), "{said}");
    }
    let forced = ask(&cluster, PlanKind::Restart, services(&["jb"])).forcing("jb.htpt");
    let said = forced.refusal().join("\n");
    assert!(said.contains("did you mean jb.http?"), "{said}");
    let assumed = ask(&cluster, PlanKind::Restart, services(&["jb"])).assuming("dmb", "dbm1");
    let said = assumed.refusal().join("\n");
    assert!(said.contains("did you mean dbm=dbm1?"), "{said}");
    let said = plan(services(&["moon"]));
    assert!(!said.contains("did you mean"), "{said}");
}

#[test]
fn nothing_to_do_is_a_plan_without_steps() {
    let cluster = large_v2();
    let seen = cluster.all_down();
    let outcome = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .outcome();
    assert_eq!(ids(outcome.plan.unwrap().plan()), Vec::<&str>::new());
    assert!(
        outcome
            .report
            .entries()
            .iter()
            .any(|entry| matches!(entry, Entry::AlreadyDone { .. }))
    );
}
