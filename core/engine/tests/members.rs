//! Members of load balancers as a coordinator hears of them: who does not serve is told, and what was put back once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Coordinator, Event, FromAgent, Hello, Loaded, ServiceHealth, ServiceStatus,
};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::member::{MemberObservation, MemberState, PutBack, PutBackWhy};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
nodes:
  lb1: { address: 10.0.0.1 }
  \"web[1-2]\": { address: \"10.0.0.[11-12]\" }
services:
  lb: { nodes: [lb1], manager: { systemd: { unit: h.service } }, balancer: { haproxy: { socket: /run/h.sock } } }
  web:
    nodes: \"web[1-2]\"
    active: all
    at_least: 1
    manager: { systemd: { unit: web.service } }
    member_of: { lb: { backend: web } }
";

const NOW: Now = Now {
    mono: Duration::from_secs(100),
    wall: Timestamp(100_000),
};

struct Bench(Coordinator);

impl Bench {
    /// Everything runs, and both members take part.
    fn well() -> Self {
        let mut bench = Self(Coordinator::recover(Term(1), Loaded::default()).unwrap());
        let spec = Spec::parse(SPEC.as_bytes(), "bench.yaml").unwrap().spec;
        bench
            .0
            .apply_spec(Arc::new(spec), String::new(), String::new(), "admin", NOW);
        for node in ["lb1", "web1", "web2"] {
            bench.hello(node);
        }
        bench.members(
            &[("web1", MemberState::Ready), ("web2", MemberState::Ready)],
            None,
        );
        for node in ["web1", "web2"] {
            bench.runs(node, "web", Vec::new());
        }
        assert_eq!(bench.web().health, ServiceHealth::Ok);
        bench.events();
        bench
    }

    fn hello(&mut self, node: &str) {
        let hello = Hello {
            boot: BootId(format!("boot of {node}")),
            generation: Generation(1),
            ..Hello::default()
        };
        let node: NodeName = node.parse().unwrap();
        self.0.agent(&node, FromAgent::Hello(Box::new(hello)), NOW);
    }

    /// How the load balancer has its members; the first was put back at this time.
    fn members(&mut self, states: &[(&str, MemberState)], put_back: Option<u64>) {
        self.members_for(states, put_back, PutBackWhy::Changed);
    }

    fn members_for(
        &mut self,
        states: &[(&str, MemberState)],
        put_back: Option<u64>,
        why: PutBackWhy,
    ) {
        let mut put_back = put_back.map(|at| PutBack {
            at: Timestamp(at),
            why,
            text: "web@web1 was ready behind our back".into(),
        });
        let members = states.iter().map(|(node, state)| MemberObservation {
            service: "web".parse().unwrap(),
            node: node.parse().unwrap(),
            state: *state,
            detail: "as seen".into(),
            put_back: put_back.take(),
        });
        self.runs("lb1", "lb", members.collect());
    }

    fn runs(&mut self, node: &str, service: &str, members: Vec<MemberObservation>) {
        let seen = InstanceObservation {
            state: InstanceState::Running,
            wanted: Some(Wanted::Running),
            members,
            ..InstanceObservation::default()
        };
        let service: ServiceName = service.parse().unwrap();
        let message = FromAgent::Observed {
            full: false,
            generation: Generation(1),
            instances: vec![(service, seen)],
            checks: Vec::new(),
            refuses: Vec::new(),
        };
        self.0.agent(&node.parse().unwrap(), message, NOW);
    }

    fn web(&self) -> ServiceStatus {
        let mut all = self.0.services(NOW).into_iter();
        all.find(|status| status.service.as_str() == "web").unwrap()
    }

    /// The put-backs that were recorded since this was last called.
    fn events(&mut self) -> Vec<String> {
        self.events_of("member-put-back")
    }

    fn events_of(&mut self, kind: &str) -> Vec<String> {
        let writes = self.0.take_output().writes.into_iter();
        let events = writes.filter_map(|write| serde_json::from_slice(&write.value?).ok());
        let meant = events.filter(|event: &Event| event.kind == kind);
        meant.map(|event| event.text).collect()
    }
}

#[test]
fn who_is_healthy_and_out_of_a_load_balancer_serves_nobody() {
    use MemberState::{Down, Drain, Maint, Ready, Unknown};
    let mut bench = Bench::well();
    for state in [Drain, Maint, Down] {
        bench.members(&[("web1", state), ("web2", Ready)], None);
        let web = bench.web();
        assert_eq!((web.health, web.healthy), (ServiceHealth::Degraded, 2));
        assert_eq!(
            web.reason,
            format!("web1 is {state} in lb on lb1 (as seen)")
        );
        bench.members(&[("web1", state), ("web2", state)], None);
        assert_eq!(
            bench.web().health,
            ServiceHealth::Down,
            "fewer than at_least"
        );
    }
    bench.members(&[("web1", Unknown), ("web2", Unknown)], None);
    assert_eq!(bench.web().health, ServiceHealth::Unknown);
}

#[test]
fn what_was_put_back_is_told_once_whatever_is_said_again() {
    let states = [("web1", MemberState::Maint), ("web2", MemberState::Ready)];
    let told = ["lb on lb1: web@web1 was ready behind our back"];
    let mut bench = Bench::well();
    bench.members(&states, Some(5));
    assert_eq!(bench.events(), told);
    bench.members(&states, Some(5));
    bench.hello("lb1");
    bench.members(&states, Some(5));
    assert_eq!(bench.events(), [] as [&str; 0]);
    bench.members(&states, Some(6));
    assert_eq!(bench.events(), told);
}

#[test]
fn who_is_left_out_and_let_in_by_his_checks_has_an_event_of_that_kind() {
    let states = [("web1", MemberState::Maint), ("web2", MemberState::Ready)];
    let mut bench = Bench::well();
    for (at, why, kind) in [
        (5, PutBackWhy::Sick, "member-left-out"),
        (6, PutBackWhy::Well, "member-let-in"),
        (7, PutBackWhy::Changed, "member-put-back"),
    ] {
        bench.members_for(&states, Some(at), why);
        assert_eq!(bench.events_of(kind).len(), 1, "{kind}");
    }
}
