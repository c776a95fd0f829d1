//! The orders of the JTEL sizes, edge by edge.

use crate::properties::ask_all;
use crate::support::{Cluster, after, ask, checks, ids, large_v2, precedes};
use interlock_model::action::Action;
use interlock_model::check::CheckFrom;
use interlock_model::plan::{PlanKind, Wait};
use interlock_model::spec::Boot;
use interlock_planner::Scope;

#[test]
fn large_v2_goes_down_as_its_table_says() {
    let cluster = large_v2();
    let seen = cluster.all_up(&[("lb", "lb2"), ("dbm", "dbm2")]);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .plan();

    // 1, 2: telephony and web at once, and the slaves with them; 3: issued in this order.
    for free in [
        "stop:tel@tel1",
        "stop:tel@tel2",
        "stop:jb@jb1",
        "stop:jb@jb2",
        "stop:dbs@dbs1",
    ] {
        assert_eq!(after(&plan, free), Vec::<String>::new(), "{free}");
    }
    assert_eq!(after(&plan, "stop:dbs@dbs2"), ["stop:dbs@dbs1 issued"]);
    // 4: both slaves down, by the word of the power source; 5: the inactive master first.
    let users = ["tel1", "tel2", "jb1", "jb2", "dbs1", "dbs2"];
    for user in users {
        assert!(
            precedes(
                &plan,
                &format!("power-off:{user}"),
                Wait::Down,
                "stop:dbm@dbm1"
            ),
            "{user}"
        );
    }
    // 6, 7, 8, 9: one after the other.
    assert!(after(&plan, "stop:dbm@dbm2").contains(&"power-off:dbm1 down".into()));
    assert!(after(&plan, "stop:lb@lb1").contains(&"power-off:dbm2 down".into()));
    assert!(after(&plan, "stop:lb@lb2").contains(&"power-off:lb1 down".into()));
    assert!(after(&plan, "stop:store@store1").contains(&"power-off:lb2 down".into()));
    assert_eq!(after(&plan, "power-off:store1"), ["stop:store@store1 down"]);
    let order = ids(&plan);
    let tail = [
        "stop:dbm@dbm1",
        "power-off:dbm1",
        "stop:dbm@dbm2",
        "power-off:dbm2",
        "stop:lb@lb1",
        "power-off:lb1",
        "stop:lb@lb2",
        "power-off:lb2",
        "stop:store@store1",
        "power-off:store1",
    ];
    assert_eq!(order[order.len() - tail.len()..], tail);
}

#[test]
fn large_v2_comes_up_as_its_table_says() {
    let cluster = large_v2();
    let seen = cluster.all_down();
    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&seen)
        .remembering("lb", "lb2")
        .remembering("dbm", "dbm2")
        .plan();

    let none = Vec::<String>::new();
    assert_eq!(after(&plan, "power-on:store1"), none);
    assert_eq!(after(&plan, "power-on:lb2"), ["start:store@store1 healthy"]);
    assert!(
        after(&plan, "power-on:lb1").contains(&"start:lb@lb2 up".into()),
        "active first"
    );
    let waits = after(&plan, "power-on:dbm2");
    assert_eq!(
        waits,
        ["start:lb@lb2 healthy", "start:lb@lb1 up"],
        "the standby need only be up"
    );
    assert!(after(&plan, "power-on:dbm1").contains(&"start:dbm@dbm2 up".into()));
    assert!(precedes(&plan, "start:dbm@dbm1", Wait::Up, "power-on:dbs2"));
    assert!(after(&plan, "power-on:dbs1").contains(&"start:dbs@dbs2 up".into()));
    for last in ["jb1", "jb2", "tel1", "tel2"] {
        for slave in ["start:dbs@dbs1", "start:dbs@dbs2"] {
            assert!(
                precedes(&plan, slave, Wait::Healthy, &format!("power-on:{last}")),
                "{slave} {last}"
            );
        }
    }
    // Each gate runs where the consumer is, and at the end a person calls.
    assert_eq!(
        checks(&plan, "start:jb@jb2"),
        (vec!["store.share@jb2".into()], vec!["jb.http@jb2".into()])
    );
    assert_eq!(checks(&plan, "start:lb@lb2").1, ["lb.vip@lb2"]);
    assert_eq!(
        checks(&plan, "start:lb@lb1").1,
        none,
        "a standby is not asked for what makes the active one"
    );
    assert_eq!(ids(&plan).last(), Some(&"approve:test-call"));
}

#[test]
fn a_gate_at_the_end_stands_after_everything_is_done_and_healthy() {
    let kinds = [
        PlanKind::Startup,
        PlanKind::Shutdown,
        PlanKind::Restart,
        PlanKind::Reboot,
    ];
    let cluster = large_v2().gate("look", &kinds);
    for kind in kinds {
        let ask = ask(&cluster, kind, Scope::All);
        let plan = ask.assuming("lb", "lb2").assuming("dbm", "dbm2").plan();
        for id in ids(&plan) {
            let end = match id.split(':').next() {
                Some("stop" | "power-off" | "drain") => Wait::Down,
                Some("start" | "verify" | "check") => Wait::Healthy,
                Some("approve") => continue,
                _ => Wait::Up,
            };
            assert!(precedes(&plan, id, end, "approve:look"), "{kind}: {id}");
        }
    }
}

#[test]
fn the_text_of_a_gate_is_one_line_in_a_plan() {
    let mut cluster = large_v2();
    for gate in cluster.0.gates.values_mut() {
        gate.text = "Call 100\n  and hear\tthe greeting\n".into();
    }
    let plan = ask_all(&cluster, PlanKind::Startup).plan();
    let Action::Approve { text, .. } = &plan.steps.last().unwrap().action else {
        panic!("{:?}", ids(&plan))
    };
    assert_eq!(text, "Call 100 and hear the greeting");
}

#[test]
fn the_active_side_decides_the_order_of_a_pair() {
    let cluster = large_v2();
    let seen = cluster.all_up(&[("lb", "lb1"), ("dbm", "dbm1")]);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .plan();
    assert!(precedes(
        &plan,
        "power-off:dbm2",
        Wait::Down,
        "stop:dbm@dbm1"
    ));
    assert!(precedes(&plan, "power-off:lb2", Wait::Down, "stop:lb@lb1"));
}

/// The German and French procedure: web and telephony must be down, nothing below is waited for.
fn non_redundant() -> Cluster {
    let not_required = Wait::Issued;
    Cluster::new()
        .service("store", &["store1"])
        .service("lb", &["lb1"])
        .service("dbm", &["dbm1"])
        .service("dbs", &["dbs1"])
        .service("jb", &["jb1", "jb2", "jb3"])
        .service("tel", &["tel1"])
        .edge("lb", "store", true, Wait::Healthy, not_required)
        .edge("dbm", "store", true, Wait::Healthy, not_required)
        .edge("dbm", "lb", false, Wait::Issued, not_required)
        .edge("dbs", "dbm", true, Wait::Healthy, not_required)
        .requires("jb", &["dbs"])
        .requires("tel", &["dbs"])
}

#[test]
fn the_non_redundant_system_waits_only_where_its_edges_say() {
    let cluster = non_redundant();
    let seen = cluster.all_up(&[]);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&seen)
        .plan();
    for user in ["jb1", "jb2", "jb3", "tel1"] {
        assert!(after(&plan, "stop:dbs@dbs1").contains(&format!("power-off:{user} down")));
    }
    assert_eq!(after(&plan, "stop:dbm@dbm1"), ["stop:dbs@dbs1 issued"]);
    assert_eq!(after(&plan, "stop:lb@lb1"), ["stop:dbm@dbm1 issued"]);

    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&cluster.all_down())
        .plan();
    let mut waits = after(&plan, "power-on:dbm1");
    waits.sort();
    assert_eq!(
        waits,
        ["start:lb@lb1 issued", "start:store@store1 healthy"],
        "no wait for the load balancer"
    );
}

/// Store, load balancer and web server on one machine, all databases on another, telephony on a third.
fn small_v2() -> Cluster {
    Cluster::new()
        .service("store", &["box1"])
        .service("lb", &["box1"])
        .service("jb", &["box1"])
        .with("jb", |jb| jb.boot = Boot::Autostart)
        .service("dbm", &["db"])
        .service("dbs", &["db"])
        .service("tel", &["tel1"])
        .check("store", "share", CheckFrom::Consumers)
        .requires("lb", &["store"])
        .requires("dbm", &["lb"])
        .requires("dbs", &["dbm"])
        .requires("jb", &["store", "dbs"])
        .requires("tel", &["store", "dbs"])
}

#[test]
fn small_v2_stops_the_web_service_first_and_its_machine_last() {
    let cluster = small_v2();
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All)
        .seeing(&cluster.all_up(&[]))
        .plan();
    let mut waits = after(&plan, "stop:dbs@db");
    waits.sort();
    // box1 cannot be off yet, it carries the storage: there the edge ends at the instance.
    assert_eq!(waits, ["power-off:tel1 down", "stop:jb@box1 down"]);
    assert!(after(&plan, "stop:lb@box1").contains(&"power-off:db down".into()));
    assert_eq!(ids(&plan).last(), Some(&"power-off:box1"));
}

#[test]
fn small_v2_verifies_the_web_service_after_its_database_is_up() {
    let cluster = small_v2();
    let plan = ask(&cluster, PlanKind::Startup, Scope::All)
        .seeing(&cluster.all_down())
        .plan();
    assert_eq!(
        after(&plan, "power-on:box1"),
        Vec::<String>::new(),
        "a machine's rank is that of its earliest service"
    );
    assert_eq!(after(&plan, "power-on:db"), ["start:lb@box1 healthy"]);
    assert!(after(&plan, "verify:jb@box1").contains(&"start:dbs@db healthy".into()));
    assert!(!ids(&plan).contains(&"start:jb@box1"));
    assert!(precedes(
        &plan,
        "start:dbs@db",
        Wait::Healthy,
        "power-on:tel1"
    ));
}

#[test]
fn nodes_of_one_service_can_go_one_at_a_time() {
    // HCDC: schema work happens once, so node 1, then 2, then 3; down in reverse.
    let cluster = Cluster::new()
        .service("pg", &["pg1"])
        .service("node", &["n1", "n2", "n3"])
        .check("pg", "login", CheckFrom::Consumers)
        .requires("node", &["pg"])
        .with("node", |node| node.sequence.start = Wait::Healthy)
        .with("node", |node| node.sequence.stop = Wait::Down);
    let plan = ask(&cluster, PlanKind::Startup, Scope::All).plan();
    assert!(precedes(
        &plan,
        "start:node@n1",
        Wait::Healthy,
        "power-on:n2"
    ));
    assert!(precedes(
        &plan,
        "start:node@n2",
        Wait::Healthy,
        "power-on:n3"
    ));
    assert_eq!(checks(&plan, "start:node@n3").0, ["pg.login@n3"]);
    let plan = ask(&cluster, PlanKind::Shutdown, Scope::All).plan();
    assert!(precedes(&plan, "power-off:n3", Wait::Down, "stop:node@n2"));
    assert!(precedes(&plan, "power-off:n2", Wait::Down, "stop:node@n1"));
}

#[test]
fn every_sample_cluster_can_be_planned_in_every_way() {
    let clusters = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/clusters");
    let mut seen = 0;
    for entry in std::fs::read_dir(clusters).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let file = path.display().to_string();
        let parsed = interlock_model::spec::Spec::parse(&std::fs::read(&path).unwrap(), &file);
        let cluster = Cluster(parsed.unwrap().spec);
        for kind in [
            PlanKind::Shutdown,
            PlanKind::Startup,
            PlanKind::Restart,
            PlanKind::Reboot,
        ] {
            let outcome = ask_all(&cluster, kind).outcome();
            // The machines of the demo are processes, which go down by commands.
            let reboots = kind != PlanKind::Reboot || !file.ends_with("/demo.yaml");
            let planned = outcome.plan.is_some();
            assert_eq!(planned, reboots, "{file} {kind}:\n{}", outcome.report);
        }
        seen += 1;
    }
    assert!(seen > 0, "no clusters in {clusters}");
}

#[test]
fn the_sample_of_large_v2_makes_the_order_of_its_table() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/clusters/jtel-large-v2.yaml"
    );
    let parsed = interlock_model::spec::Spec::parse(&std::fs::read(file).unwrap(), file);
    let cluster = Cluster(parsed.unwrap().spec);
    let assuming = |kind| {
        ask(&cluster, kind, Scope::All)
            .assuming("lb", "lb2")
            .assuming("dbm", "dbm2")
            .plan()
    };
    let plan = assuming(PlanKind::Shutdown);
    for first in ["stop:tel@tel1", "stop:jb@jb4"] {
        assert_eq!(after(&plan, first), Vec::<String>::new());
        assert!(
            precedes(&plan, first, Wait::Issued, "stop:dbs@dbs1"),
            "issued first"
        );
        assert!(
            !precedes(&plan, first, Wait::Down, "stop:dbs@dbs1"),
            "but not awaited"
        );
    }
    let last = ids(&plan);
    let tail = ["dbm@dbm1", "dbm@dbm2", "lb@lb1", "lb@lb2", "store@store"];
    let stops: Vec<&str> = last
        .iter()
        .filter_map(|id| id.strip_prefix("stop:"))
        .collect();
    assert_eq!(stops[stops.len() - tail.len()..], tail);

    let plan = assuming(PlanKind::Startup);
    let power_on: Vec<&str> = ids(&plan)
        .iter()
        .filter_map(|id| id.strip_prefix("power-on:"))
        .collect();
    assert_eq!(
        power_on[..7],
        ["store", "lb2", "lb1", "dbm2", "dbm1", "dbs2", "dbs1"]
    );
    assert_eq!(
        checks(&plan, "start:jb@jb3").0,
        ["lb.database@jb3", "store.share@jb3"]
    );
}
