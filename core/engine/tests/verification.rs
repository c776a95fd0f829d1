//! Verified plugs from outside: what is asked, what proves a plug, and what ends a record.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Coordinator, Finding, FromAgent, Hello, ListedPlug, Loaded, Output, PlugList, Proof, Send,
    Standing, ToAgent, VERIFIED, Verified,
};
use interlock_model::action::{FenceAction, FenceCall, Power};
use interlock_model::ids::{BootId, Term};
use interlock_model::names::NodeName;
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: bench
power: { box: { fence: fence_sim, via: [mgmt], options: { ip: 10.0.9.1 } } }
nodes:
  mgmt: { address: 10.0.0.1 }
  a: { address: 10.0.0.2, power: { by: box, plug: p1 } }
  b: { address: 10.0.0.3, power: { by: box, plug: p2 } }
";

fn at(seconds: u64) -> Now {
    Now {
        mono: Duration::from_secs(seconds),
        wall: Timestamp(seconds * 1000),
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// A coordinator, what is in its store, and how its power source answers.
struct Bench {
    coordinator: Coordinator,
    verified: BTreeMap<NodeName, Verified>,
    status: Power,
    plugs: PlugList,
    lists_asked: usize,
}

impl Bench {
    /// With the agents of all nodes there at second 100, and a device that calls the plugs a and b.
    fn new() -> Self {
        let mut bench = Self {
            coordinator: Coordinator::recover(Term(1), Loaded::default()).unwrap(),
            verified: BTreeMap::new(),
            status: Power::On,
            plugs: plugs(&[("p1", "a"), ("p2", "b")]),
            lists_asked: 0,
        };
        bench.apply(SPEC, 100);
        for name in ["mgmt", "a", "b"] {
            bench.hello(name, &format!("uuid of {name}"), 100);
        }
        bench
    }

    fn apply(&mut self, spec: &str, seconds: u64) {
        let spec = Spec::parse(spec.as_bytes(), "bench.yaml").unwrap().spec;
        self.coordinator.apply_spec(
            Arc::new(spec),
            String::new(),
            String::new(),
            "admin",
            at(seconds),
        );
        self.store();
    }

    fn hello(&mut self, name: &str, uuid: &str, seconds: u64) {
        let hello = Hello {
            boot: BootId("boot".into()),
            machine_uuid: uuid.to_owned(),
            hostname: format!("{name}.example"),
            ..Hello::default()
        };
        self.coordinator
            .agent(&node(name), FromAgent::Hello(Box::new(hello)), at(seconds));
        self.store();
    }

    /// Keeps what was written, as the store does.
    fn store(&mut self) -> Output {
        let output = self.coordinator.take_output();
        for write in &output.writes {
            if let Some(name) = write.key.strip_prefix(&format!("{VERIFIED}/")) {
                match &write.value {
                    Some(value) => self
                        .verified
                        .insert(node(name), serde_json::from_slice(value).unwrap()),
                    None => self.verified.remove(&node(name)),
                };
            }
        }
        output
    }

    /// Another process takes over from what is in the store; no agent has spoken yet.
    fn restart(&mut self) {
        let loaded = Loaded {
            applied: self.coordinator.applied().cloned(),
            verified: self.verified.clone(),
            ..Loaded::default()
        };
        self.coordinator = Coordinator::recover(Term(2), loaded).unwrap();
    }

    /// Begins to verify a node, and answers what is asked.
    fn begin(&mut self, name: &str, seconds: u64) {
        self.begin_with(&[name], seconds);
    }

    fn begin_with(&mut self, names: &[&str], seconds: u64) {
        let nodes: Vec<NodeName> = names.iter().map(|name| node(name)).collect();
        self.coordinator.begin_verification(&nodes, at(seconds));
        let mut sends = VecDeque::from(self.store().sends);
        while let Some(send) = sends.pop_front() {
            let ToAgent::AskPower { ask, call } = send.message else {
                continue;
            };
            let answer = self.answer(ask, &call);
            self.coordinator.agent(&send.to, answer, at(seconds));
            sends.extend(self.store().sends);
        }
    }

    fn answer(&mut self, ask: u64, call: &FenceCall) -> FromAgent {
        if call.action == FenceAction::List {
            self.lists_asked += 1;
            return FromAgent::Plugs {
                ask,
                list: self.plugs.clone(),
            };
        }
        FromAgent::Power {
            ask,
            node: call.node.clone(),
            power: self.status,
            detail: "as told".into(),
        }
    }

    /// Answers what was asked of power sources, and says about which plugs that was.
    fn answered(&mut self, sends: Vec<Send>, seconds: u64) -> Vec<String> {
        let mut plugs = Vec::new();
        for send in sends {
            if let ToAgent::AskPower { ask, call } = send.message {
                let answer = self.answer(ask, &call);
                self.coordinator.agent(&send.to, answer, at(seconds));
                plugs.push(call.plug);
            }
        }
        plugs
    }

    fn hear(&mut self, name: &str, seconds: u64) {
        let name = node(name);
        self.coordinator
            .agent(&name, FromAgent::Heartbeat, at(seconds));
    }

    fn finding(
        &mut self,
        name: &str,
        since: u64,
        now: u64,
        attest: Option<&str>,
    ) -> Option<Finding> {
        let finding =
            self.coordinator
                .finding(&node(name), at(since).mono, false, attest, "anna", at(now));
        self.store();
        finding
    }

    fn verify(&mut self, name: &str, seconds: u64) -> Finding {
        self.begin(name, seconds);
        self.finding(name, seconds, seconds, None).unwrap()
    }

    fn is_verified(&self, name: &str) -> bool {
        let known = self.coordinator.verified_nodes().contains(&node(name));
        assert!(
            !known || self.verified.contains_key(&node(name)),
            "what counts is in the store"
        );
        known
    }
}

fn plugs(entries: &[(&str, &str)]) -> PlugList {
    let plugs = entries
        .iter()
        .map(|(plug, alias)| ListedPlug {
            plug: (*plug).to_owned(),
            alias: Some((*alias).to_owned()),
        })
        .collect();
    PlugList::Plugs { plugs, cut: false }
}

fn proof(finding: &Finding) -> Option<Proof> {
    match &finding.standing {
        Standing::Proven(verified) => Some(verified.proof),
        Standing::Contradicted { .. } | Standing::Unproven => None,
    }
}

#[test]
fn the_name_in_the_list_of_the_device_proves_a_plug_and_who_asked_is_kept() {
    let mut bench = Bench::new();
    let finding = bench.verify("a", 110);
    let Standing::Proven(verified) = finding.standing else {
        panic!("{finding:?}")
    };
    assert_eq!(verified.proof, Proof::Alias);
    assert_eq!((verified.by.as_str(), verified.at), ("anna", at(110).wall));
    assert!(bench.is_verified("a") && !bench.is_verified("b"));
    // Once more it is the same proof, as old as it is.
    let again = bench.verify("a", 120);
    assert!(matches!(again.standing, Standing::Proven(seen) if seen.at == at(110).wall));
    bench.restart();
    assert!(bench.is_verified("a"));
}

#[test]
fn a_device_is_asked_for_its_list_once_for_all_its_nodes() {
    let mut bench = Bench::new();
    bench.begin_with(&["a", "b"], 110);
    assert_eq!(bench.lists_asked, 1);
    for name in ["a", "b"] {
        let finding = bench.finding(name, 110, 110, None).unwrap();
        assert_eq!(proof(&finding), Some(Proof::Alias), "{finding:?}");
    }
}

#[test]
fn an_agent_that_is_busy_has_not_said_which_plugs_there_are() {
    let mut bench = Bench::new();
    bench.coordinator.begin_verification(&[node("a")], at(110));
    let mut busy = 0;
    for second in 110..120 {
        bench.hear("mgmt", second);
        bench.coordinator.tick(at(second));
        for send in bench.store().sends {
            let ToAgent::AskPower { ask, call } = send.message else {
                continue;
            };
            let is_list = call.action == FenceAction::List;
            let answer = if is_list && second < 114 {
                busy += 1;
                FromAgent::Busy { ask }
            } else {
                bench.answer(ask, &call)
            };
            bench.coordinator.agent(&send.to, answer, at(second));
        }
    }
    assert!(busy > 0);
    let finding = bench.finding("a", 110, 120, None).unwrap();
    assert_eq!(proof(&finding), Some(Proof::Alias), "{finding:?}");
}

#[test]
fn a_list_that_was_asked_for_before_is_none_for_who_asks_now() {
    let mut bench = Bench::new();
    bench.coordinator.begin_verification(&[node("a")], at(110));
    let before = bench.store().sends;
    bench.coordinator.begin_verification(&[node("a")], at(120));
    assert!(bench.store().sends.is_empty(), "one at a time");
    bench.plugs = plugs(&[("p1", "b"), ("p2", "a")]);
    bench.answered(before, 121);
    let status = bench.store().sends;
    assert_eq!(bench.answered(status, 121).len(), 1);
    let list = bench.store().sends;
    assert_eq!(bench.finding("a", 120, 121, None), None);
    bench.plugs = plugs(&[("p1", "a"), ("p2", "b")]);
    assert_eq!(bench.answered(list, 122).len(), 1);
    assert_eq!(bench.lists_asked, 2);
    let finding = bench.finding("a", 120, 122, None).unwrap();
    assert_eq!(proof(&finding), Some(Proof::Alias), "{finding:?}");
}

#[test]
fn what_is_said_of_a_plug_that_the_spec_has_no_more_is_not_said_of_its_node() {
    let other = SPEC.replace("plug: p1", "plug: p9");
    assert_ne!(other, SPEC);
    let mut bench = Bench::new();
    bench.coordinator.ask_power(&node("a"), at(110));
    let before = bench.store().sends;
    assert_eq!(before.len(), 1);
    bench.apply(&other, 111);
    assert_eq!(bench.answered(before, 112), ["p1"]);
    let said = |bench: &Bench| {
        let view = bench.coordinator.view();
        view.power_since(&node("a"), Duration::ZERO).is_some()
    };
    assert!(!said(&bench));
    // It is asked again, about the plug that it has.
    loop {
        let again = bench.store().sends;
        let plugs = bench.answered(again, 112);
        if plugs.is_empty() {
            break;
        }
        assert_eq!(plugs, ["p9"]);
    }
    assert!(said(&bench));

    // And what was known of a plug says nothing of another one, nor does a list of another device.
    let mut bench = Bench::new();
    bench.begin("a", 110);
    bench.apply(&SPEC.replace("p2", "p3"), 111);
    assert!(said(&bench), "that is another node's");
    bench.apply(&other, 112);
    assert!(!said(&bench));
    bench.coordinator.ask_power(&node("a"), at(113));
    let again = bench.store().sends;
    assert_eq!(bench.answered(again, 113), ["p9"]);
    assert!(said(&bench));
    assert_eq!(bench.finding("a", 110, 113, None), None);
}

#[test]
fn another_name_ends_an_older_record_and_the_word_of_a_person_does_not_help() {
    let mut bench = Bench::new();
    bench.verify("a", 110);
    bench.plugs = plugs(&[("p1", "b"), ("p2", "a")]);
    bench.begin("a", 120);
    let finding = bench.finding("a", 120, 120, Some("I am sure")).unwrap();
    assert_eq!(
        finding.standing,
        Standing::Contradicted {
            expected: "a or its host name a.example".into(),
            found: "b".into()
        }
    );
    assert!(!bench.is_verified("a"));
    bench.restart();
    assert!(!bench.is_verified("a"));
}

#[test]
fn a_device_without_a_list_proves_nothing_until_a_person_attests() {
    let mut bench = Bench::new();
    bench.plugs = PlugList::NotOffered;
    assert_eq!(bench.verify("a", 110).standing, Standing::Unproven);
    assert!(!bench.is_verified("a"));
    bench.begin("a", 120);
    let finding = bench.finding("a", 120, 120, Some("seen on the console"));
    assert_eq!(proof(&finding.unwrap()), Some(Proof::Attested));
    // And it stands when it is looked at later without a reason.
    assert_eq!(proof(&bench.verify("a", 130)), Some(Proof::Attested));
    // What the device itself says is better.
    bench.plugs = plugs(&[("p1", "a")]);
    assert_eq!(proof(&bench.verify("a", 140)), Some(Proof::Alias));
}

#[test]
fn an_agent_that_is_too_old_to_list_leaves_it_open() {
    let mut bench = Bench::new();
    bench.coordinator.begin_verification(&[node("a")], at(110));
    let mut sends = VecDeque::from(bench.store().sends);
    while let Some(send) = sends.pop_front() {
        if let ToAgent::AskPower { ask, call } = send.message {
            let (power, detail) = match call.action {
                FenceAction::List => (Power::Unknown, "'list' is not on, off or status"),
                _ => (Power::On, ""),
            };
            let answer = FromAgent::Power {
                ask,
                node: call.node,
                power,
                detail: detail.into(),
            };
            bench.coordinator.agent(&send.to, answer, at(110));
            sends.extend(bench.store().sends);
        }
    }
    let finding = bench.finding("a", 110, 110, None).unwrap();
    assert_eq!(finding.standing, Standing::Unproven);
    assert!(finding.detail.contains("'list' is not"), "{finding:?}");
}

#[test]
fn a_source_that_does_not_answer_proves_nothing_whatever_it_lists() {
    let mut bench = Bench::new();
    bench.status = Power::Unknown;
    let finding = bench.verify("a", 110);
    assert_eq!(finding.standing, Standing::Unproven);
    bench.begin("a", 120);
    let attested = bench.finding("a", 120, 120, Some("sure")).unwrap();
    assert_eq!(attested.standing, Standing::Unproven);
    // What was proven before still is.
    bench.status = Power::On;
    bench.verify("a", 130);
    bench.status = Power::Unknown;
    let finding = bench.verify("a", 140);
    assert_eq!(finding.power, Power::Unknown);
    assert_eq!(proof(&finding), Some(Proof::Alias));
}

#[test]
fn off_is_a_contradiction_if_the_agent_is_heard_after_it() {
    let mut bench = Bench::new();
    bench.verify("a", 110);
    bench.status = Power::Off;
    bench.begin("a", 120);
    assert_eq!(
        bench.finding("a", 120, 120, None),
        None,
        "too early to tell"
    );
    bench
        .coordinator
        .agent(&node("a"), FromAgent::Heartbeat, at(123));
    let finding = bench.finding("a", 120, 123, Some("I am sure")).unwrap();
    assert!(
        matches!(&finding.standing, Standing::Contradicted { found, .. } if found == "off"),
        "{finding:?}"
    );
    assert!(bench.coordinator.view().alive(&node("a")));
    assert!(!bench.is_verified("a"));
}

#[test]
fn off_is_believed_if_nothing_is_heard_after_it() {
    let mut bench = Bench::new();
    bench.status = Power::Off;
    bench.begin("a", 120);
    let finding = (120..200)
        .find_map(|second| bench.finding("a", 120, second, None))
        .unwrap();
    assert_eq!(finding.power, Power::Off);
    assert_eq!(proof(&finding), Some(Proof::Alias));
    assert!(!bench.coordinator.view().alive(&node("a")));
}

#[test]
fn a_record_ends_with_what_it_depends_on_and_does_not_come_back() {
    for (what, with) in [
        ("plug: p1", "plug: p3"),
        ("plug: p1", "plug: p1, alias: a"),
        ("10.0.9.1", "10.0.9.2"),
        ("fence: fence_sim", "fence: fence_other"),
    ] {
        let mut bench = Bench::new();
        bench.verify("a", 110);
        bench.apply(&SPEC.replace(what, with), 120);
        assert!(!bench.is_verified("a"), "{with}");
        bench.apply(SPEC, 130);
        assert!(!bench.is_verified("a"), "{with}");
    }
    for unrelated in [
        ("10.0.0.3", "10.0.0.4"),
        ("via: [mgmt]", "via: [mgmt], timeout: 9s"),
        ("plug: p1", "plug: p1, off_within: 9m"),
    ] {
        let mut bench = Bench::new();
        bench.verify("a", 110);
        bench.apply(&SPEC.replace(unrelated.0, unrelated.1), 120);
        assert!(bench.is_verified("a"), "{}", unrelated.1);
    }
}

#[test]
fn a_record_ends_with_the_machine_and_does_not_come_back() {
    let mut bench = Bench::new();
    bench.verify("a", 110);
    bench.hello("a", "uuid of a", 120);
    bench.hello("a", "", 121);
    assert!(bench.is_verified("a"), "the same, or not told");
    bench.hello("a", "uuid of its successor", 122);
    assert!(!bench.is_verified("a"));
    bench.restart();
    assert!(!bench.is_verified("a"));
}

#[test]
fn a_machine_that_was_off_when_it_was_verified_is_known_from_its_first_word() {
    let mut bench = Bench::new();
    bench.restart();
    bench.hello("mgmt", "uuid of mgmt", 200);
    assert_eq!(proof(&bench.verify("a", 210)), Some(Proof::Alias));
    bench.hello("a", "uuid of a", 220);
    assert!(bench.is_verified("a"));
    bench.restart();
    bench.hello("a", "uuid of its successor", 230);
    assert!(!bench.is_verified("a"));
}

#[test]
fn a_host_name_or_uuid_that_two_machines_have_proves_neither() {
    const UUID: &str = "564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7";
    let mut bench = Bench::new();
    bench.plugs = plugs(&[("p1", UUID), ("p2", "")]);
    bench.hello("a", UUID, 110);
    assert_eq!(proof(&bench.verify("a", 111)), Some(Proof::Uuid));
    let mut bench = Bench::new();
    bench.plugs = plugs(&[("p1", UUID), ("p2", "")]);
    bench.hello("a", UUID, 110);
    bench.hello("b", UUID, 110);
    assert_eq!(bench.verify("a", 111).standing, Standing::Unproven);
}

#[test]
fn a_record_of_a_version_that_kept_less_does_not_count() {
    let old = br#"{"device":"box","plug":"p1","how":"attested by anna: sure"}"#;
    let mut bench = Bench::new();
    bench
        .verified
        .insert(node("a"), serde_json::from_slice(old).unwrap());
    bench.restart();
    assert!(!bench.coordinator.verified_nodes().contains(&node("a")));
}
