//! A coordinator over a small cluster, told whatever a test wants it to know.

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Cause, CheckReport, Coordinator, FromAgent, Hello, Loaded, ServiceHealth, ServiceStatus,
};
use interlock_model::check::{CheckId, Verdict};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

pub(crate) const SPEC: &str = "
cluster: bench
control: { heartbeat: 1s, late: 5s, lost: 60s }
power: { kvm: { fence: fence_virsh, via: [mgmt1], options: { ip: 10.0.0.9 } } }
nodes:
  mgmt1: { address: 10.0.0.5 }
  db1: { address: 10.0.0.1, power: { by: kvm, plug: db1 } }
  \"jb[1-3]\": { address: \"10.0.0.[11-13]\" }
services:
  nfs: { external: true, checks: { up: { tcp: 10.0.0.9:2049, from: consumers, every: 2s, timeout: 1s, fresh: 10s } } }
  db:
    nodes: [db1]
    active: all
    manager: { systemd: { unit: db.service } }
    checks:
      answers: { tcp: \"{address}:3306\", every: 2s, timeout: 1s, fresh: 6s }
      reached: { tcp: \"{address}:3306\", from: consumers, every: 2s, timeout: 1s, fresh: 600s }
  jb:
    nodes: \"jb[1-3]\"
    active: all
    at_least: 2
    manager: { systemd: { unit: jb.service } }
    requires: [db, nfs]
    checks:
      web: { http: \"http://{address}:8080/status\", paused: { /state: paused }, every: 2s, timeout: 1s, fresh: 60s }
      version: { same: { command: jb-version }, every: 2s, timeout: 1s, fresh: 600s }
";

/// The nodes; no service is on the first.
pub(crate) const NODES: [&str; 5] = ["mgmt1", "db1", "jb1", "jb2", "jb3"];

/// A coordinator at a second of its clock.
pub(crate) struct Bench {
    pub(crate) coordinator: Coordinator,
    pub(crate) seconds: u64,
}

impl Bench {
    /// All agents are there, all instances run, all checks are green.
    pub(crate) fn well() -> Self {
        let mut bench = Self {
            coordinator: Coordinator::recover(Term(1), Loaded::default()).unwrap(),
            seconds: 100,
        };
        let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
        let now = bench.now();
        bench
            .coordinator
            .apply_spec(Arc::new(spec), String::new(), String::new(), "admin", now);
        bench.all_say_hello();
        bench.instance(
            "db1",
            "db",
            InstanceState::Running,
            Some(Wanted::Running),
            "",
        );
        bench.check("db1", "db.answers", Verdict::Ok);
        for node in ["jb1", "jb2", "jb3"] {
            bench.instance(
                node,
                "jb",
                InstanceState::Running,
                Some(Wanted::Running),
                "",
            );
            bench.check(node, "nfs.up", Verdict::Ok);
            bench.check(node, "jb.web", Verdict::Ok);
            bench.says(node, "jb.version", "1.0");
            bench.check(node, "db.reached", Verdict::Ok);
        }
        for service in ["nfs", "db", "jb"] {
            assert_eq!(bench.status(service).health, ServiceHealth::Ok);
        }
        assert_eq!(bench.causes(), []);
        bench
    }

    pub(crate) fn all_say_hello(&mut self) {
        for node in NODES {
            let hello = Hello {
                boot: BootId(format!("boot of {node}")),
                generation: Generation(1),
                ..Hello::default()
            };
            self.told(node, FromAgent::Hello(Box::new(hello)));
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Duration::from_secs(self.seconds),
            wall: Timestamp(self.seconds * 1000),
        }
    }

    pub(crate) fn told(&mut self, node: &str, message: FromAgent) {
        let node: NodeName = node.parse().unwrap();
        let now = self.now();
        self.coordinator.agent(&node, message, now);
    }

    pub(crate) fn instance(
        &mut self,
        node: &str,
        service: &str,
        state: InstanceState,
        wanted: Option<Wanted>,
        reason: &str,
    ) {
        let seen = InstanceObservation {
            state,
            wanted,
            reason: reason.to_owned(),
            ..InstanceObservation::default()
        };
        self.seen(node, service, seen);
    }

    pub(crate) fn seen(&mut self, node: &str, service: &str, seen: InstanceObservation) {
        let instances = vec![(service.parse().unwrap(), seen)];
        self.observed(node, instances, Vec::new());
    }

    pub(crate) fn check(&mut self, node: &str, id: &str, verdict: Verdict) {
        self.finds(node, id, verdict, "seen");
    }

    pub(crate) fn finds(&mut self, node: &str, id: &str, verdict: Verdict, evidence: &str) {
        self.observed(node, Vec::new(), vec![report(id, verdict, evidence)]);
    }

    /// The instance says of itself that it waits.
    pub(crate) fn paused(&mut self, node: &str, id: &str, why: &str) {
        let report = CheckReport {
            paused: true,
            ..report(id, Verdict::Bad, why)
        };
        self.observed(node, Vec::new(), vec![report]);
    }

    /// What is compared between the nodes.
    pub(crate) fn says(&mut self, node: &str, id: &str, value: &str) {
        let report = CheckReport {
            value: Some(value.to_owned()),
            ..report(id, Verdict::Ok, value)
        };
        self.observed(node, Vec::new(), vec![report]);
    }

    pub(crate) fn observed(
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

    /// Time passes without a word from this node; the others beat, and what they check stays green.
    pub(crate) fn silent(&mut self, node: &str, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            for other in NODES.iter().filter(|it| **it != node) {
                match *other {
                    "mgmt1" => self.told(other, FromAgent::Heartbeat),
                    "db1" => self.check(other, "db.answers", Verdict::Ok),
                    _ => self.check(other, "nfs.up", Verdict::Ok),
                }
            }
            let now = self.now();
            self.coordinator.tick(now);
        }
    }

    /// What jb checks of itself is green, and that was just seen.
    pub(crate) fn jb_is_well(&mut self) {
        for node in ["jb1", "jb2", "jb3"] {
            self.check(node, "jb.web", Verdict::Ok);
        }
    }

    pub(crate) fn status(&self, service: &str) -> ServiceStatus {
        let services = self.coordinator.services(self.now());
        let found = services
            .into_iter()
            .find(|status| status.service.as_str() == service);
        found.unwrap()
    }

    pub(crate) fn causes(&self) -> Vec<Cause> {
        self.coordinator.causes(self.now())
    }
}

/// What an agent has found.
fn report(id: &str, verdict: Verdict, evidence: &str) -> CheckReport {
    let (service, check) = id.split_once('.').unwrap();
    CheckReport {
        id: CheckId {
            service: service.parse().unwrap(),
            check: check.parse().unwrap(),
        },
        verdict,
        evidence: evidence.to_owned(),
        value: None,
        paused: false,
        age: Duration::ZERO,
        after: 0,
    }
}
