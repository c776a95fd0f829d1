//! A machine and its copy speak as one node; and what looks like that and is none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{Coordinator, FromAgent, Hello, Loaded};
use interlock_model::ids::{BootId, Term};
use interlock_model::names::NodeName;
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const SPEC: &str = "
cluster: shop
nodes: { web2: { address: 10.0.0.2 } }
services: { web: { nodes: [web2], active: all, manager: { process: { name: web } } } }
";

fn at(millis: u64) -> Now {
    Now {
        mono: Duration::from_millis(millis),
        wall: Timestamp(millis),
    }
}

fn web2() -> NodeName {
    "web2".parse().unwrap()
}

struct Shop(Coordinator);

impl Shop {
    fn new() -> Self {
        let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        let spec = Spec::parse(SPEC.as_bytes(), "shop.yaml").unwrap().spec;
        coordinator.apply_spec(Arc::new(spec), String::new(), String::new(), "admin", at(0));
        coordinator.take_output();
        Self(coordinator)
    }

    /// A process says hello; is it let in?
    fn hello(&mut self, process: &str, boot: &str, millis: u64) -> bool {
        let hello = Hello {
            process: process.to_owned(),
            boot: BootId(boot.to_owned()),
            ..Hello::default()
        };
        let address = format!("10.0.0.{}:1", process.len());
        let contended = self.0.contend(&web2(), &hello, &address, at(millis));
        if contended.is_ok() {
            let hello = FromAgent::Hello(Box::new(hello));
            self.0.agent(&web2(), hello, at(millis));
        }
        contended.is_ok()
    }

    fn beats(&mut self, millis: u64) {
        self.0.agent(&web2(), FromAgent::Heartbeat, at(millis));
    }

    fn alive(&self) -> bool {
        self.0.view().alive(&web2())
    }

    /// The events of contests since this was last asked.
    fn told(&mut self) -> usize {
        let writes = self.0.take_output().writes;
        let texts = writes.into_iter().filter_map(|write| write.value);
        texts
            .filter(|text| String::from_utf8_lossy(text).contains("\"node-contested\""))
            .count()
    }
}

#[test]
fn a_copy_and_its_original_are_both_not_believed_until_only_one_speaks() {
    let mut shop = Shop::new();
    assert!(shop.hello("a", "one", 1000));
    shop.beats(2000);
    assert!(
        !shop.hello("bb", "two", 2500),
        "the other was heard just now"
    );
    assert!(!shop.alive(), "nothing is known of the node");
    assert!(!shop.hello("a", "one", 2700), "it lives beside the other");
    assert_eq!(shop.told(), 1);
    let causes = shop.0.causes(at(3000));
    let cause = causes
        .iter()
        .find(|cause| {
            cause
                .what
                .starts_with("contested: two agents speak as web2")
        })
        .unwrap();
    for word in ["10.0.0.1:1", "10.0.0.2:1", "boot one", "boot two"] {
        assert!(cause.what.contains(word), "{}", cause.what);
    }
    for second in 1..20 {
        assert!(!shop.hello("bb", "two", 2700 + second * 2000));
        assert!(!shop.hello("a", "one", 3700 + second * 2000));
        assert!(!shop.alive());
    }
    assert_eq!(
        shop.told(),
        0,
        "people are told once, and not at every hello"
    );

    // The copy is stopped: its last word was at 40.7 s.
    assert!(!shop.hello("a", "one", 50_000));
    assert!(shop.hello("a", "one", 56_000));
    assert!(shop.alive());
    assert_eq!(shop.told(), 1, "it is over");
    assert_eq!(shop.0.contested(&web2(), at(57_000)), None);
}

#[test]
fn a_copy_that_comes_when_the_original_is_not_heard_is_found_when_that_one_is_back() {
    let mut shop = Shop::new();
    assert!(shop.hello("a", "one", 1000));
    shop.0.session_closed(&web2());
    assert!(
        shop.hello("bb", "one", 3000),
        "a restart, for all that is known"
    );
    assert!(!shop.hello("a", "one", 3500));
    assert!(!shop.alive());
    assert!(!shop.hello("bb", "one", 4000));
    assert_eq!(shop.told(), 1);
}

#[test]
fn a_restarted_agent_and_a_rebooted_machine_are_let_in_at_once() {
    let mut shop = Shop::new();
    assert!(shop.hello("a", "one", 1000));
    // Killed: the kernel of its machine closes the connection.
    shop.0.session_closed(&web2());
    assert!(shop.hello("bb", "one", 1200));
    assert!(
        shop.hello("bb", "one", 1300),
        "the same one, on a new connection"
    );
    // Its machine was reset: nobody closed the old connection, and nobody is heard on it.
    assert!(shop.hello("ccc", "two", 30_000));
    assert!(shop.alive());
    assert_eq!(shop.told(), 0);
}

#[test]
fn a_stranger_in_whose_way_nobody_stands_any_more_waits_no_longer_than_an_agent_may_be_late() {
    let mut shop = Shop::new();
    assert!(shop.hello("a", "one", 1000));
    assert!(!shop.hello("bb", "two", 1100));
    let late = shop.0.applied().unwrap().spec.control.late;
    let after = 1100 + u64::try_from(late.as_millis()).unwrap();
    assert!(!shop.hello("bb", "two", after - 100));
    assert!(shop.hello("bb", "two", after));
    assert_eq!(shop.told(), 0);
}
