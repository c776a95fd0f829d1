//! What was let go and may run: known for as long as it may, by plans and people alike, whatever dies meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Applied, By, Coordinator, FromAgent, Hello, LET_GO, Loaded, Output, PlugList, ToAgent,
};
use interlock_model::action::{FenceAction, Power};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const WITH: &str = "
cluster: shop
control: { coordinators: [mgmt] }
power: { box: { fence: fence_sim, via: [mgmt] } }
nodes:
  mgmt: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, power: { by: box, plug: p1 } }
services:
  web: { nodes: [a], active: all, manager: { process: { name: web } } }
  mail: { nodes: [a], active: all, manager: { process: { name: mail } } }
  cron: { nodes: [a], active: all, boot: autostart, manager: { systemd: { unit: cron.service } } }
";

/// Without mail and cron.
const WITHOUT: &str = "
cluster: shop
control: { coordinators: [mgmt] }
power: { box: { fence: fence_sim, via: [mgmt] } }
nodes:
  mgmt: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, power: { by: box, plug: p1 } }
services: { web: { nodes: [a], active: all, manager: { process: { name: web } } } }
";

const AUTOSTART: &str =
    "cron may run: it comes up with its machine, which has booted since generation 2 let it go";

fn at(seconds: u64) -> Now {
    Now {
        mono: Duration::from_secs(seconds),
        wall: Timestamp(seconds * 1000),
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// A coordinator, and what is durable of what it has let go.
struct Bench {
    coordinator: Coordinator,
    kept: BTreeMap<String, Vec<u8>>,
}

impl Bench {
    /// Nobody has been heard.
    fn new() -> Self {
        let coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        let mut bench = Self {
            coordinator,
            kept: BTreeMap::new(),
        };
        bench.apply(WITH);
        bench
    }

    /// The agent of a is heard, and all of it runs.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.hello("one");
        bench.sees(&["web", "mail", "cron"], InstanceState::Running);
        bench
    }

    /// What was done is durable.
    fn stored(&mut self) -> Output {
        let output = self.coordinator.take_output();
        for write in &output.writes {
            if !write.key.starts_with(LET_GO) {
                continue;
            }
            match &write.value {
                Some(value) => drop(self.kept.insert(write.key.clone(), value.clone())),
                None => drop(self.kept.remove(&write.key)),
            }
        }
        output
    }

    fn apply(&mut self, text: &str) -> Output {
        let spec = Arc::new(Spec::parse(text.as_bytes(), "shop.yaml").unwrap().spec);
        let by = By {
            who: "anna",
            why: "",
        };
        self.coordinator
            .apply_spec(spec, String::new(), "shop.yaml".into(), by, at(100));
        self.stored()
    }

    fn says_hello(&mut self, name: &str, boot: &str) {
        let hello = Hello {
            boot: BootId(boot.to_owned()),
            ..Hello::default()
        };
        let hello = FromAgent::Hello(Box::new(hello));
        self.coordinator.agent(&node(name), hello, at(100));
    }

    fn hello(&mut self, boot: &str) -> Output {
        self.says_hello("a", boot);
        self.stored()
    }

    fn sees(&mut self, services: &[&str], state: InstanceState) {
        let instance = InstanceObservation {
            state,
            ..InstanceObservation::default()
        };
        let instances = services.iter();
        let observed = FromAgent::Observed {
            full: true,
            generation: Generation(1),
            instances: instances
                .map(|service| (service.parse().unwrap(), instance.clone()))
                .collect(),
            checks: Vec::new(),
            refuses: Vec::new(),
        };
        self.coordinator.agent(&node("a"), observed, at(100));
        self.stored();
    }

    /// Another process in its place, from what is durable: nobody has been heard by it.
    fn restarted(&self) -> Self {
        let applied = self.coordinator.applied().unwrap();
        let verified = self.coordinator.verification(&node("a")).cloned();
        let strays = self.kept.values();
        let loaded = Loaded {
            applied: Some(Applied {
                record: applied.record.clone(),
                spec: Arc::clone(&applied.spec),
                breaks: Vec::new(),
            }),
            verified: verified.map(|it| (node("a"), it)).into_iter().collect(),
            strays: strays
                .map(|it| serde_json::from_slice(it).unwrap())
                .collect(),
            ..Loaded::default()
        };
        Self {
            coordinator: Coordinator::recover(Term(2), loaded).unwrap(),
            kept: self.kept.clone(),
        }
    }

    /// What plans ask a person about on a, which is what the status tells of it.
    fn let_go(&self) -> Vec<String> {
        let seen = self.coordinator.observations(at(100)).nodes;
        let planned = seen[&node("a")].let_go.values().cloned();
        let planned: Vec<String> = planned.collect();
        let causes = self.coordinator.causes(at(100)).into_iter();
        let mut said =
            causes.filter(|it| it.what.contains("nothing is stopped or restarted there"));
        let said = said.next().map(|cause| cause.what).unwrap_or_default();
        assert_eq!(said.is_empty(), planned.is_empty(), "{said} / {planned:?}");
        for told in &planned {
            assert!(said.contains(told), "{said}, and plans say {told}");
        }
        planned
    }

    /// Asks the power source of a, which answers so at this time.
    fn powered(&mut self, power: Power, now: Now) {
        self.coordinator.begin_verification(&[node("a")], now);
        let mut sends = VecDeque::from(self.stored().sends);
        while let Some(send) = sends.pop_front() {
            let ToAgent::AskPower { ask, call } = send.message else {
                continue;
            };
            let answer = match call.action {
                FenceAction::List => FromAgent::Plugs {
                    ask,
                    list: PlugList::NotOffered,
                },
                _ => FromAgent::Power {
                    ask,
                    node: node("a"),
                    power,
                    detail: "as told".to_owned(),
                },
            };
            self.coordinator.agent(&node("mgmt"), answer, now);
            sends.extend(self.stored().sends);
        }
    }
}

const MAIL: &str = "mail was running, and generation 2 does not have it";
const CRON: &str = "cron was running, and generation 2 does not have it";

#[test]
fn what_a_boot_has_ended_is_known_to_have_ended_after_a_restart_too() {
    let mut bench = Bench::running();
    bench.apply(WITHOUT);
    assert_eq!(bench.let_go(), [CRON, MAIL]);
    assert_eq!(
        bench.restarted().let_go(),
        [CRON, MAIL],
        "silence says nothing"
    );
    assert!(
        bench
            .hello("one")
            .writes
            .iter()
            .all(|it| !it.key.starts_with(LET_GO))
    );
    assert_eq!(bench.let_go(), [CRON, MAIL]);

    // It dies before what the hello has told is durable: the next hello tells it again.
    bench.says_hello("a", "two");
    assert_eq!(bench.let_go().len(), 1);
    let mut again = bench.restarted();
    assert_eq!(again.let_go(), [CRON, MAIL]);
    again.hello("two");
    assert_eq!(again.let_go().len(), 1);
    assert!(
        !again.kept.contains_key("/let-go/a/mail"),
        "{:?}",
        again.kept
    );
    assert_eq!(again.restarted().let_go().len(), 1);
}

#[test]
fn a_boot_ends_nothing_of_what_comes_up_with_its_machine() {
    let mut bench = Bench::running();
    bench.apply(WITHOUT);
    for boot in ["two", "three"] {
        bench.hello(boot);
        for told in [bench.let_go(), bench.restarted().let_go()] {
            assert!(
                told.len() == 1 && told[0].starts_with(AUTOSTART),
                "{told:?}"
            );
        }
    }
    // Its agent still has it, and tells: it was as good as its word, or it has been stopped.
    bench.sees(&["cron"], InstanceState::Running);
    assert_eq!(bench.let_go(), [CRON]);
    bench.hello("four");
    bench.sees(&["cron"], InstanceState::Stopped);
    assert_eq!(bench.let_go(), Vec::<String>::new());
    assert_eq!(bench.kept, BTreeMap::new());

    let mut bench = Bench::running();
    bench.apply(WITHOUT);
    bench.hello("two");
    bench.apply(WITH);
    assert_eq!(bench.kept, BTreeMap::new());
}

#[test]
fn what_nobody_was_heard_of_ends_with_the_boot_after_the_next_hello() {
    let mut bench = Bench::new();
    bench.apply(WITHOUT);
    let may_run = "mail may run: its agent did not tell of it when generation 2 let it go, and has not since (nothing was \
                   heard of it since this coordinator began)";
    assert_eq!(bench.let_go()[1], may_run);
    bench.hello("two");
    assert_eq!(
        bench.let_go()[1],
        may_run,
        "perhaps it was let go in this boot"
    );
    let mut again = bench.restarted();
    again.hello("two");
    assert_eq!(again.let_go()[1], may_run);
    again.hello("three");
    assert!(
        !again.kept.contains_key("/let-go/a/mail"),
        "{:?}",
        again.kept
    );
}

#[test]
fn an_agent_that_cannot_tell_its_boot_ends_nothing() {
    let mut bench = Bench::running();
    bench.apply(WITHOUT);
    bench.hello("");
    assert_eq!(bench.let_go(), [CRON, MAIL]);
    assert_eq!(bench.restarted().let_go(), [CRON, MAIL]);
    let mut bench = Bench::new();
    bench.apply(WITHOUT);
    bench.hello("");
    bench.hello("one");
    bench.hello("");
    assert_eq!(bench.let_go().len(), 2);
}

#[test]
fn an_agent_that_has_only_said_hello_has_told_nothing_yet() {
    let mut bench = Bench::running();
    bench.hello("one");
    let told = bench
        .coordinator
        .would_let_go(&Spec::parse(WITHOUT.as_bytes(), "shop.yaml").unwrap().spec);
    let may_run = "mail on a may run: its agent has not told of it yet";
    assert!(told.iter().any(|it| it.starts_with(may_run)), "{told:?}");
    bench.apply(WITHOUT);
    assert_eq!(bench.let_go().len(), 2);
    bench.sees(&["mail", "cron"], InstanceState::Stopped);
    assert_eq!(bench.let_go(), Vec::<String>::new());
}

#[test]
fn a_verified_power_source_ends_what_does_not_come_up_with_its_machine() {
    let mut bench = Bench::running();
    bench.says_hello("mgmt", "one");
    bench.powered(Power::On, at(100));
    let looked = Some("seen on the console");
    let a = node("a");
    bench
        .coordinator
        .finding(&a, Duration::ZERO, true, looked, "anna", at(100));
    bench.apply(WITHOUT);
    assert_eq!(bench.let_go(), [CRON, MAIL]);
    bench.coordinator.session_closed(&a);
    bench.powered(Power::Off, at(200));
    bench.stored();
    assert_eq!(bench.let_go(), Vec::<String>::new());
    let kept: Vec<&str> = bench.kept.keys().map(String::as_str).collect();
    assert_eq!(kept, ["/let-go/a/cron"]);
    bench.hello("two");
    assert!(bench.let_go()[0].starts_with(AUTOSTART));
}

#[test]
fn a_record_of_an_earlier_version_is_read() {
    let record = r#"{"node":"a","service":"mail","state":"running","heard":true,"boot":"one","generation":2}"#;
    let mut bench = Bench::running();
    bench.apply(WITHOUT);
    bench.kept = [("/let-go/a/mail".to_owned(), record.as_bytes().to_vec())].into();
    let mut again = bench.restarted();
    assert_eq!(again.let_go(), [MAIL]);
    again.hello("two");
    assert_eq!(again.kept, BTreeMap::new());
}

#[test]
fn what_a_second_spec_leaves_out_too_is_told_once() {
    let mut bench = Bench::running();
    bench.apply(WITHOUT);
    let shared = WITHOUT.replace("web: { nodes: [a]", "mail: { nodes: [mgmt], active: all, manager: { process: { name: mail } } }, web: { nodes: [a]");
    let events = |output: Output| {
        let values = output.writes.into_iter().filter_map(|write| write.value);
        let texts: Vec<String> = values.map(|it| String::from_utf8(it).unwrap()).collect();
        texts.join("\n").matches("\"let-go\"").count()
    };
    bench.sees(&["mail"], InstanceState::Running);
    assert_eq!(events(bench.apply(&shared)), 0);
    assert_eq!(bench.let_go(), [CRON, MAIL]);
}
