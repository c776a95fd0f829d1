//! Services with a lease.

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Coordinator, FromAgent, Hello, Loaded, ServiceHealth};
use interlock_model::ids::{Generation, Term};
use interlock_model::lease::Epoch;
use interlock_model::names::NodeName;
use interlock_model::observation::{
    Active, Fitness, InstanceObservation, InstanceState, RoleObservation, Side, Wanted,
};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
nodes: { \"db[1-3]\": { address: \"10.0.0.[1-3]\" } }
services:
  db: { nodes: \"db[1-3]\", active: one, parts: [ { process: { name: w } }, { systemd: { unit: db.service, on: primary } } ], failover: {} }
";

fn now() -> Now {
    Now {
        mono: Duration::from_secs(100),
        wall: Timestamp(100_000),
    }
}

/// Instances with the sides that their agents tell.
fn cluster(sides: &[(&str, Side)]) -> Coordinator {
    let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    coordinator.apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now());
    for (node, side) in sides {
        let node: NodeName = node.parse().unwrap();
        let seen = InstanceObservation {
            state: InstanceState::Running,
            wanted: Some(Wanted::Running),
            role: Some(RoleObservation {
                side: *side,
                epoch: Epoch(4),
                detail: String::new(),
                lost: None,
                fitness: Fitness::Unknown,
            }),
            ..InstanceObservation::default()
        };
        let hello = Hello {
            generation: Generation(1),
            ..Hello::default()
        };
        coordinator.agent(&node, FromAgent::Hello(Box::new(hello)), now());
        let observed = FromAgent::Observed {
            full: false,
            generation: Generation(1),
            instances: vec![("db".parse().unwrap(), seen)],
            checks: Vec::new(),
            refuses: Vec::new(),
        };
        coordinator.agent(&node, observed, now());
    }
    coordinator
}

#[test]
fn a_service_with_a_good_primary_is_not_unknown_because_the_agent_of_a_standby_left() {
    let mut coordinator = cluster(&[
        ("db1", Side::Standby),
        ("db2", Side::Primary),
        ("db3", Side::Standby),
    ]);
    let well = coordinator.services(now()).remove(0);
    assert_eq!(well.health, ServiceHealth::Ok, "{}", well.reason);

    coordinator.agent(
        &"db1".parse().unwrap(),
        FromAgent::Goodbye(String::new()),
        now(),
    );
    let db = coordinator.services(now()).remove(0);
    assert_eq!(db.active, Some(Active::On("db2".parse().unwrap())));
    assert_eq!(
        (db.health, db.reason.as_str()),
        (ServiceHealth::Degraded, "db1 is left")
    );
}

#[test]
fn without_a_primary_an_instance_of_which_nothing_is_known_may_be_the_one() {
    let coordinator = cluster(&[("db2", Side::Standby), ("db3", Side::Standby)]);
    let db = coordinator.services(now()).remove(0);
    assert_eq!(db.health, ServiceHealth::Unknown);
    let Some(Active::Unknown(why)) = db.active else {
        panic!("{:?}", db.active)
    };
    assert_eq!(
        why,
        "no instance of db is known to be primary, and of the one on db1 nothing is known"
    );
    // Who is on the way from one side to the other may be either.
    let changing = cluster(&[("db1", Side::Changing), ("db2", Side::Primary)]);
    let db = changing.services(now()).remove(0);
    assert!(
        matches!(db.active, Some(Active::Unknown(_))),
        "{:?}",
        db.active
    );
}
