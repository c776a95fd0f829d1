//! The status as people read it.

use interlock_proto::v1;

use crate::following::word;
use crate::scripted::{Script, Scripted};

fn instance(
    service: &str,
    state: v1::InstanceState,
    wanted: v1::Wanted,
    reason: &str,
) -> v1::Instance {
    v1::Instance {
        service: service.into(),
        state: state.into(),
        wanted: wanted.into(),
        reason: reason.into(),
        ..Default::default()
    }
}

fn node(name: &str, liveness: v1::Liveness, heard_ms: Option<u64>) -> v1::NodeStatus {
    v1::NodeStatus {
        node: name.into(),
        host: "vmhost1".into(),
        liveness: liveness.into(),
        heard_ms,
        ..Default::default()
    }
}

/// A cluster in which little is as it shall be. Every time in it is said and not measured.
fn sick() -> v1::Status {
    use v1::{InstanceState as Is, Liveness, Power, Wanted};
    let mut db1 = node("db1", Liveness::Alive, Some(300));
    db1.power = Power::On.into();
    db1.power_verified = "alias".into();
    db1.instances = vec![
        instance("db", Is::Running, Wanted::Running, "since 09:00"),
        instance("lb", Is::Stopped, Wanted::Running, "exit code 0"),
    ];
    let mut db2 = node("db2", Liveness::Late, Some(7_000));
    db2.power = Power::On.into();
    db2.power_verified = "no".into();
    db2.instances = vec![instance(
        "db",
        Is::Unknown,
        Wanted::Stopped,
        "not seen since",
    )];
    let mut web1 = node("web1", Liveness::Lost, Some(75_000));
    web1.held_by = "op-7".into();
    web1.instances = vec![
        instance("web", Is::Failed, Wanted::Running, "exit code 3"),
        instance("log", Is::Paused, Wanted::Running, "it waits for db"),
    ];
    let never = node("web2", Liveness::Unspecified, None);
    let service = |name: &str, state: &str, healthy, reason: &str| v1::ServiceStatus {
        service: name.into(),
        state: state.into(),
        healthy,
        instances: 2,
        reason: reason.into(),
        ..Default::default()
    };
    let mut db = service("db", "degraded", 1, "db2 is late");
    db.exclusive = true;
    db.active = "db1".into();
    let mut web = service("web", "down", 0, "web1 has failed: exit code 3");
    web.held_by = "op-7".into();
    let mut operation = word("running", "running", "").summary.unwrap();
    operation.ended_ms = 0;
    operation.started_by = "berta".into();
    v1::Status {
        cluster: "shop".into(),
        generation: 3,
        coordinator: "mgmt1".into(),
        term: 5,
        version: "0.1.0".into(),
        at_ms: 1_700_000_065_000,
        causes: vec![v1::RootCause {
            subject: "web1".into(),
            what: "lost: its agent was last heard 75s ago".into(),
            dependants: vec!["web".into()],
        }],
        operations: vec![operation],
        services: vec![db, web],
        nodes: vec![db1, db2, web1, never],
        ..Default::default()
    }
}

/// Seen to fail without what is wanted, without the age of a node, and without the reasons of instances.
#[test]
fn what_is_wanted_how_old_it_is_and_why_stand_beside_what_is_seen() {
    let known = Script {
        status: sick(),
        ..Script::default()
    };
    let coordinator = Scripted::start(known, "reader");
    let said = coordinator.place.run("status").exits(0).stdout;
    insta::assert_snapshot!(said);
}
