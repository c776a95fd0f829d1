//! Which side was active is remembered, and given up where the evidence is against it (invariant I10).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    CheckReport, Coordinator, FromAgent, Hello, Loaded, NotStarted, StartRequest,
};
use interlock_model::check::{CheckId, Verdict};
use interlock_model::ids::{BootId, Generation, OperationId, Term};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::plan::{Assumption, Known, Plan, PlanKind, SealedPlan};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
nodes:
  a: { address: 10.0.0.2 }
  b: { address: 10.0.0.3 }
services:
  db:
    nodes: [a, b]
    active: one
    active_when: [leads]
    manager: { systemd: { unit: db.service } }
    checks: { leads: { exec: leads, every: 10s, fresh: 30s } }
";

/// A coordinator that is told about two nodes, a second for each thing that is told.
struct Bench {
    coordinator: Coordinator,
    seconds: u64,
}

impl Bench {
    /// Agents are there, and what is remembered is what an earlier process wrote down.
    fn with(remembered: Option<&str>) -> Self {
        let mut loaded = Loaded::default();
        if let Some(active) = remembered {
            let service = "db".parse().unwrap();
            loaded.activity.insert(service, active.parse().unwrap());
        }
        let mut bench = Self {
            coordinator: Coordinator::recover(Term(1), loaded).unwrap(),
            seconds: 100,
        };
        let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
        let now = bench.now();
        bench
            .coordinator
            .apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now);
        for node in ["a", "b"] {
            bench.told(node, FromAgent::Hello(Box::new(hello())));
        }
        bench
    }

    /// Both instances run, and b is seen to be active.
    fn b_is_active() -> Self {
        let mut bench = Self::with(None);
        bench.instance("a", InstanceState::Running);
        bench.instance("b", InstanceState::Running);
        bench.leads("a", Verdict::Bad);
        bench.leads("b", Verdict::Ok);
        assert_eq!(bench.remembered(), Some("b"));
        bench
    }

    fn now(&self) -> Now {
        Now {
            mono: Duration::from_secs(self.seconds),
            wall: Timestamp(self.seconds * 1000),
        }
    }

    fn told(&mut self, node: &str, message: FromAgent) {
        self.seconds += 1;
        let now = self.now();
        // The others are heard all the time as well.
        for other in ["a", "b"] {
            let name: NodeName = other.parse().unwrap();
            self.coordinator.agent(&name, FromAgent::Heartbeat, now);
        }
        self.coordinator.agent(&node.parse().unwrap(), message, now);
    }

    fn instance(&mut self, node: &str, state: InstanceState) {
        let seen = InstanceObservation {
            state,
            ..InstanceObservation::default()
        };
        self.observed(node, vec![("db".parse().unwrap(), seen)], Vec::new());
    }

    /// A probe that ran just now.
    fn leads(&mut self, node: &str, verdict: Verdict) {
        self.led(node, verdict, Duration::ZERO);
    }

    fn led(&mut self, node: &str, verdict: Verdict, age: Duration) {
        let check = CheckReport {
            id: CheckId {
                service: "db".parse().unwrap(),
                check: "leads".parse().unwrap(),
            },
            verdict,
            evidence: "seen".into(),
            value: None,
            paused: false,
            age,
            after: 0,
        };
        self.observed(node, Vec::new(), vec![check]);
    }

    fn observed(
        &mut self,
        node: &str,
        instances: Vec<(interlock_model::names::ServiceName, InstanceObservation)>,
        checks: Vec<CheckReport>,
    ) {
        let message = FromAgent::Observed {
            full: false,
            generation: Generation(1),
            instances,
            checks,
            refuses: Vec::new(),
        };
        self.told(node, message);
    }

    fn remembered(&self) -> Option<&str> {
        self.coordinator
            .activity()
            .values()
            .next()
            .map(NodeName::as_str)
    }

    /// What the writes since this was last asked make of the record in the store; none if they leave it alone.
    fn stored(&mut self) -> Option<Option<String>> {
        let writes = self.coordinator.take_output().writes;
        let mine = writes.iter().rfind(|write| write.key == "/activity/db")?;
        Some(
            mine.value
                .as_ref()
                .map(|value| serde_json::from_slice(value).unwrap()),
        )
    }

    /// Starts a plan of no steps that was made for an active side.
    fn starts(&mut self, active: &str, known: Known) {
        self.start(active, known).unwrap();
    }

    fn start(&mut self, active: &str, known: Known) -> Result<OperationId, NotStarted> {
        let assumption = Assumption {
            active: active.parse().unwrap(),
            known,
        };
        let plan = Plan {
            cluster: "bench".parse().unwrap(),
            generation: Generation(1),
            kind: PlanKind::Startup,
            scope: "--all".into(),
            assumptions: BTreeMap::from([("db".parse().unwrap(), assumption)]),
            accepted: BTreeMap::new(),
            forced: Vec::new(),
            keeps: std::collections::BTreeSet::new(),
            texts: std::collections::BTreeMap::new(),
            steps: Vec::new(),
        };
        let request = StartRequest {
            plan: Arc::new(SealedPlan::seal(plan).unwrap()),
            by: "anna".into(),
            reason: "because".into(),
            single_step: false,
        };
        let now = self.now();
        self.coordinator.start(&request, now)
    }
}

fn hello() -> Hello {
    Hello {
        boot: BootId("boot-1".into()),
        ..Hello::default()
    }
}

#[test]
fn a_side_that_moved_to_an_instance_that_is_down_by_now_is_nobodys_to_remember() {
    let mut bench = Bench::b_is_active();
    bench.stored();
    // The side moves to a, and a is stopped, before any check says so.
    bench.instance("a", InstanceState::Stopped);
    assert_eq!(
        bench.remembered(),
        Some("b"),
        "b was green when it was last looked at"
    );
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), None);
    assert_eq!(bench.stored(), Some(None), "durably");

    bench.instance("b", InstanceState::Stopped);
    assert_eq!(bench.remembered(), None, "and for good");
    bench.instance("a", InstanceState::Running);
    bench.leads("a", Verdict::Ok);
    assert_eq!(bench.remembered(), Some("a"), "until it is seen again");
}

#[test]
fn an_old_green_does_not_speak_for_the_time_after_it() {
    let mut bench = Bench::b_is_active();
    bench.instance("a", InstanceState::Stopped);
    // It arrives after a is down, and was found before.
    bench.led("b", Verdict::Ok, Duration::from_secs(5));
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), None);
}

#[test]
fn a_standby_that_went_down_while_the_other_was_active_takes_no_memory_with_it() {
    let mut bench = Bench::b_is_active();
    bench.instance("a", InstanceState::Stopped);
    bench.leads("b", Verdict::Ok);
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), Some("b"));
    bench.instance("b", InstanceState::Stopped);
    assert_eq!(bench.remembered(), Some("b"));
}

#[test]
fn a_side_that_nobody_holds_while_both_are_up_may_still_be_seen() {
    let mut bench = Bench::b_is_active();
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), Some("b"));
    bench.leads("a", Verdict::Ok);
    assert_eq!(bench.remembered(), Some("a"));
}

#[test]
fn an_instance_on_its_way_up_is_not_expected_to_be_active_yet() {
    let mut bench = Bench::with(Some("b"));
    bench.instance("a", InstanceState::Stopped);
    bench.instance("b", InstanceState::Stopped);
    bench.instance("b", InstanceState::Starting);
    bench.leads("b", Verdict::Bad);
    bench.instance("b", InstanceState::Running);
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), Some("b"), "nobody else was up");
}

#[test]
fn what_an_agent_saw_in_an_earlier_session_is_not_taken_for_what_it_sees_in_this_one() {
    let mut bench = Bench::b_is_active();
    let close = |bench: &mut Bench, node: &str| {
        bench.coordinator.session_closed(&node.parse().unwrap());
    };
    // The side moves to a while b is not heard, and back to b and down there while a is not.
    close(&mut bench, "b");
    bench.leads("a", Verdict::Ok);
    close(&mut bench, "a");
    bench.told("b", FromAgent::Hello(Box::new(hello())));
    bench.instance("b", InstanceState::Stopped);
    bench.told("a", FromAgent::Hello(Box::new(hello())));
    bench.instance("b", InstanceState::Stopped);
    assert_eq!(
        bench.remembered(),
        Some("b"),
        "a is back and has not said yet what it sees"
    );
    bench.instance("a", InstanceState::Running);
    bench.leads("a", Verdict::Ok);
    assert_eq!(bench.remembered(), Some("a"));
}

#[test]
fn silence_says_nothing_against_a_memory() {
    let mut bench = Bench::b_is_active();
    bench.stored();
    for node in ["a", "b"] {
        bench.coordinator.session_closed(&node.parse().unwrap());
    }
    bench.seconds += 600;
    let now = bench.now();
    bench.coordinator.tick(now);
    assert_eq!(bench.remembered(), Some("b"));
    assert_eq!(bench.stored(), None);
}

#[test]
fn a_process_that_saw_nothing_of_the_time_before_does_not_vouch_for_it() {
    let mut bench = Bench::with(Some("b"));
    bench.instance("a", InstanceState::Stopped);
    bench.instance("b", InstanceState::Running);
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), None);
}

#[test]
fn what_a_person_says_is_remembered_and_what_a_plan_observed_was_already() {
    let mut bench = Bench::b_is_active();
    bench.starts("a", Known::Observed);
    assert_eq!(
        bench.remembered(),
        Some("b"),
        "the plan is older than the last look"
    );

    bench.instance("a", InstanceState::Stopped);
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), None);
    bench.starts("b", Known::Assumed);
    bench.leads("b", Verdict::Bad);
    assert_eq!(
        bench.remembered(),
        Some("b"),
        "a person has looked at the data"
    );
}

/// A hello of an agent that has known this store as it was later.
fn ahead(hello: Hello) -> Hello {
    Hello {
        highest_operation: OperationId(7),
        ..hello
    }
}

#[test]
fn a_memory_of_a_store_that_an_agent_is_ahead_of_is_given_up_for_good() {
    let mut bench = Bench::with(Some("b"));
    bench.stored();
    bench.told("a", FromAgent::Hello(Box::new(ahead(hello()))));
    assert_eq!(bench.remembered(), None);
    let db = "db".parse().unwrap();
    let why = bench.coordinator.forgotten()[&db].clone();
    assert!(
        why.contains("b was remembered") && why.contains("the agent of a remembers"),
        "{why}"
    );
    let now = bench.now();
    let causes = bench.coordinator.causes(now);
    let cause = causes.iter().find(|cause| cause.what.contains(&why));
    assert!(
        cause.is_some_and(
            |cause| cause.subject == "db" && cause.what.contains("--assume-active db=NODE")
        ),
        "{causes:?}"
    );
    let writes = bench.coordinator.take_output().writes;
    let told = |key: &str| writes.iter().rfind(|write| write.key == key).unwrap();
    assert_eq!(told("/activity/db").value, None);
    assert!(told("/forgotten/db").value.is_some());
    assert!(told("/outrun/a").value.is_some(), "it is behind only once");
    assert_eq!(bench.coordinator.last_operation(), OperationId(7));

    // Nor does a plan that was made before go by it.
    let refused = bench.start("b", Known::Remembered).unwrap_err();
    assert!(
        matches!(&refused, NotStarted::Forgotten { service, .. } if *service == db),
        "{refused}"
    );
    bench.start("a", Known::Assumed).unwrap();
    assert_eq!(bench.remembered(), Some("a"));
    assert!(bench.coordinator.forgotten().is_empty());
    let writes = bench.coordinator.take_output().writes;
    let told = writes.iter().rfind(|write| write.key == "/forgotten/db");
    assert_eq!(told.unwrap().value, None);
}

#[test]
fn what_is_seen_is_remembered_again_after_a_memory_was_given_up() {
    let mut bench = Bench::with(Some("b"));
    let now = bench.now();
    let a = "a".parse().unwrap();
    assert!(bench.coordinator.fell_behind(&a, "term 7", now));
    assert_eq!(bench.remembered(), None);
    bench.instance("a", InstanceState::Running);
    bench.instance("b", InstanceState::Running);
    bench.leads("a", Verdict::Ok);
    bench.leads("b", Verdict::Bad);
    assert_eq!(bench.remembered(), Some("a"));
    assert!(bench.coordinator.forgotten().is_empty());
}

#[test]
fn what_this_process_has_seen_is_newer_than_any_copy() {
    let mut bench = Bench::b_is_active();
    for node in ["a", "b"] {
        bench.instance(node, InstanceState::Stopped);
    }
    bench.told("a", FromAgent::Hello(Box::new(ahead(hello()))));
    assert_eq!(bench.remembered(), Some("b"));
    let now = bench.now();
    let a = "a".parse().unwrap();
    assert!(!bench.coordinator.fell_behind(&a, "term 7", now));
}
