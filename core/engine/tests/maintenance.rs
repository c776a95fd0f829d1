//! Maintenance begins with a reason and an end, and ends with a word to everybody.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    By, Coordinator, Event, LONGEST, Loaded, MAINTENANCE, Maintenance, NotMaintained, Scope, Write,
};
use interlock_model::ids::Term;
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
nodes:
  a: { address: 10.0.0.2 }
services:
  db: { nodes: [a], manager: { systemd: { unit: db.service } } }
";

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Now {
    Now {
        mono: Duration::from_secs(seconds),
        wall: Timestamp(seconds * 1000),
    }
}

fn coordinator(loaded: Loaded) -> Coordinator {
    let mut coordinator = Coordinator::recover(Term(1), loaded).unwrap();
    let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
    coordinator.apply_spec(Arc::new(spec), String::new(), String::new(), "admin", at(1));
    drop(coordinator.take_output());
    coordinator
}

fn db() -> Scope {
    Scope::Service("db".parse().unwrap())
}

fn by(why: &str) -> By<'_> {
    By { who: "anna", why }
}

/// What was written below a prefix, as its last state.
fn written(coordinator: &mut Coordinator, prefix: &str) -> Vec<Write> {
    let writes = coordinator.take_output().writes.into_iter();
    writes.filter(|it| it.key.starts_with(prefix)).collect()
}

fn kinds(writes: &[Write]) -> Vec<(String, String)> {
    let events = writes.iter().filter_map(|it| it.value.as_deref());
    let events = events.filter_map(|it| serde_json::from_slice::<Event>(it).ok());
    events.map(|it| (it.kind, it.text)).collect()
}

#[test]
fn it_wants_something_that_is_there_a_reason_and_an_end() {
    let mut coordinator = coordinator(Loaded::default());
    let mut enter = |scope, length, why| {
        coordinator
            .enter_maintenance(scope, length, by(why), at(2))
            .unwrap_err()
    };
    let other = Scope::Node("b".parse().unwrap());
    assert_eq!(
        enter(other.clone(), HOUR, "disks"),
        NotMaintained::Unknown(other)
    );
    assert_eq!(enter(db(), HOUR, " "), NotMaintained::NoReason);
    assert_eq!(enter(db(), Duration::ZERO, "disks"), NotMaintained::Length);
    let longer = LONGEST + Duration::from_secs(1);
    assert_eq!(enter(db(), longer, "disks"), NotMaintained::Length);
    assert!(coordinator.maintenance().next().is_none());
    assert!(coordinator.take_output().is_empty());
}

#[test]
fn another_coordinator_keeps_to_what_was_written_until_its_time_is_over() {
    let mut first = coordinator(Loaded::default());
    first
        .enter_maintenance(db(), HOUR, by("disks"), at(2))
        .unwrap();
    let writes = written(&mut first, MAINTENANCE);
    let kept: Maintenance = serde_json::from_slice(writes[0].value.as_ref().unwrap()).unwrap();
    assert_eq!(kept.until, Timestamp(3_602_000));

    let mut second = coordinator(Loaded {
        maintenance: vec![kept],
        ..Loaded::default()
    });
    let service = "db".parse().unwrap();
    second.tick(at(3601));
    let rests = second.rests(&service, []).map(ToString::to_string);
    let expected = "service db is in maintenance by anna: disks";
    assert_eq!(rests.as_deref(), Some(expected));
    assert!(written(&mut second, "/event").is_empty());

    second.tick(at(3602));
    assert!(second.rests(&service, []).is_none());
    let output = second.take_output().writes;
    let gone = output.iter().find(|it| it.key == writes[0].key);
    assert_eq!(gone.map(|it| &it.value), Some(&None));
    let told = kinds(&output);
    assert_eq!(told[0].0, "maintenance-expired");
    assert!(told[0].1.contains("failover is on again"), "{told:?}");
    assert!(told[0].1.contains("--service db"), "{told:?}");
    // Once.
    second.tick(at(3603));
    assert!(written(&mut second, "/event").is_empty());
}

#[test]
fn a_node_counts_for_whoever_names_it_and_nobody_else() {
    let mut coordinator = coordinator(Loaded::default());
    let node = "a".parse().unwrap();
    let scope = Scope::Node(node);
    coordinator
        .enter_maintenance(scope.clone(), HOUR, by("disks"), at(2))
        .unwrap();
    let (service, node) = ("db".parse().unwrap(), "a".parse().unwrap());
    assert!(coordinator.rests(&service, []).is_none());
    assert!(coordinator.rests(&service, [&node]).is_some());
    assert!(coordinator.leave_maintenance(&db(), by(""), at(3)).is_err());
    coordinator
        .leave_maintenance(&scope, by(""), at(3))
        .unwrap();
    assert!(coordinator.rests(&service, [&node]).is_none());
    let told = kinds(&written(&mut coordinator, "/event"));
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["maintenance-entered", "maintenance-left"]);
}
