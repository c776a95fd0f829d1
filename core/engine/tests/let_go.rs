//! A spec without what runs: it is told before, when, and for as long as it may run; and the agent lets go.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::coordinator::{
    Applied, By, Coordinator, FromAgent, Hello, LET_GO, Loaded, Output, ToAgent, UNHEARD,
};
use interlock_model::ids::{BootId, Generation, Term};
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

const NOW: Now = Now {
    mono: Duration::from_secs(100),
    wall: Timestamp(100_000),
};

const WITH: &str = "
cluster: shop
nodes: { web2: { address: 10.0.0.2 }, web3: { address: 10.0.0.3 } }
services:
  web: { nodes: [web2, web3], active: all, manager: { process: { name: web } } }
  mail: { nodes: [web2], active: all, manager: { process: { name: mail } } }
";

/// Without web3, and without mail.
const WITHOUT: &str = "
cluster: shop
nodes: { web2: { address: 10.0.0.2 } }
services: { web: { nodes: [web2], active: all, manager: { process: { name: web } } } }
";

fn spec(text: &str) -> Arc<Spec> {
    Arc::new(Spec::parse(text.as_bytes(), "shop.yaml").unwrap().spec)
}

fn apply(coordinator: &mut Coordinator, text: &str) -> Output {
    let by = By {
        who: "anna",
        why: "web3 is sold",
    };
    coordinator.apply_spec(spec(text), String::new(), "shop.yaml".into(), by, NOW);
    coordinator.take_output()
}

fn hello(coordinator: &mut Coordinator, node: &str, boot: &str) {
    let hello = Hello {
        boot: BootId(boot.to_owned()),
        ..Hello::default()
    };
    let node: NodeName = node.parse().unwrap();
    coordinator.agent(&node, FromAgent::Hello(Box::new(hello)), NOW);
}

/// Both nodes are there, and everything runs.
fn running() -> Coordinator {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    apply(&mut coordinator, WITH);
    for (node, services) in [("web2", vec!["web", "mail"]), ("web3", vec!["web"])] {
        hello(&mut coordinator, node, "one");
        let runs = |service: &str| {
            let instance = InstanceObservation {
                state: InstanceState::Running,
                ..InstanceObservation::default()
            };
            (service.parse().unwrap(), instance)
        };
        let observed = FromAgent::Observed {
            full: true,
            generation: Generation(1),
            instances: services.into_iter().map(runs).collect(),
            checks: Vec::new(),
            refuses: Vec::new(),
        };
        coordinator.agent(&node.parse().unwrap(), observed, NOW);
    }
    coordinator.take_output();
    coordinator
}

fn events(output: &Output) -> String {
    let values = output.writes.iter().filter_map(|write| write.value.clone());
    let texts = values.map(|value| String::from_utf8(value).unwrap());
    texts.collect::<Vec<_>>().join("\n")
}

/// What is said of nodes in the status.
fn said(coordinator: &Coordinator, node: &str) -> Option<String> {
    let causes = coordinator.causes(NOW).into_iter();
    let mut about = causes.filter(|cause| cause.subject == node);
    about.next().map(|cause| cause.what)
}

/// The instances that an agent was assigned last.
fn assigned(output: &Output, node: &str) -> Option<usize> {
    let sends = output.sends.iter().rev();
    sends
        .filter(|send| send.to.as_str() == node)
        .find_map(|send| match &send.message {
            ToAgent::Assign(assignment) => Some(assignment.instances.len()),
            _ => None,
        })
}

#[test]
fn what_would_run_on_as_nobodys_is_told_before_the_spec_is_applied() {
    let coordinator = running();
    let told = coordinator.would_let_go(&spec(WITHOUT));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("mail on web2 is running and goes on"));
    assert!(told[1].starts_with("web on web3 is running and goes on"));
    assert!(coordinator.would_let_go(&spec(WITH)).is_empty());
}

#[test]
fn agents_let_go_and_status_tells_it_until_it_can_run_no_more() {
    let mut coordinator = running();
    let output = apply(&mut coordinator, WITHOUT);
    assert_eq!(assigned(&output, "web2"), Some(1));
    assert_eq!(
        assigned(&output, "web3"),
        Some(0),
        "its guard restarts nothing"
    );
    let events = events(&output);
    assert_eq!(events.matches("\"let-go\"").count(), 2, "{events}");
    assert!(
        events.contains("web3 is sold"),
        "who, when, and why: {events}"
    );
    let web3 = said(&coordinator, "web3").unwrap();
    assert!(
        web3.contains("removed") && web3.contains("web was running"),
        "{web3}"
    );
    assert!(
        said(&coordinator, "web2")
            .unwrap()
            .contains("mail was running")
    );

    // It comes back: it is told again that there is nothing for it to do.
    coordinator.session_closed(&"web3".parse().unwrap());
    assert_eq!(said(&coordinator, "web3"), None);
    hello(&mut coordinator, "web3", "one");
    assert_eq!(assigned(&coordinator.take_output(), "web3"), Some(0));
    assert!(said(&coordinator, "web3").is_some());

    // What ran before a boot runs no more.
    hello(&mut coordinator, "web2", "two");
    let web2 = said(&coordinator, "web2").unwrap_or_default();
    assert!(!web2.contains("mail"), "{web2}");
}

#[test]
fn a_spec_that_has_it_again_ends_it() {
    let mut coordinator = running();
    apply(&mut coordinator, WITHOUT);
    let output = apply(&mut coordinator, WITH);
    assert_eq!(assigned(&output, "web3"), Some(1));
    assert_eq!(said(&coordinator, "web3"), None);
}

#[test]
fn another_manager_for_what_runs_is_named_and_for_what_is_down_is_free() {
    let mut coordinator = running();
    let other = WITH.replace("name: web }", "name: web9 }");
    let said = coordinator.runs_by_other_parts(&spec(&other));
    assert_eq!(said.len(), 1, "{said:?}");
    for word in [
        "web runs on web2, web3",
        "process web,",
        "process web9",
        "shutdown --service web",
    ] {
        assert!(said[0].contains(word), "{said:?}");
    }
    assert!(coordinator.runs_by_other_parts(&spec(WITH)).is_empty());

    // A name that was wrong from the start can be put right.
    for node in ["web2", "web3"] {
        let node: NodeName = node.parse().unwrap();
        for state in [InstanceState::Unknown, InstanceState::Stopped] {
            let seen = InstanceObservation {
                state,
                ..InstanceObservation::default()
            };
            let message = FromAgent::Observed {
                full: false,
                generation: Generation(1),
                instances: vec![("web".parse().unwrap(), seen)],
                checks: Vec::new(),
                refuses: Vec::new(),
            };
            coordinator.agent(&node, message, NOW);
        }
    }
    assert!(coordinator.runs_by_other_parts(&spec(&other)).is_empty());
    assert!(coordinator.may_run_by_other_parts(&spec(&other)).is_empty());
    let late = Now {
        mono: NOW.mono + Duration::from_millis(1),
        ..NOW
    };
    for second in 0..60 {
        let now = Now {
            mono: late.mono + Duration::from_secs(second),
            ..late
        };
        coordinator.tick(now);
    }
    let said = coordinator.may_run_by_other_parts(&spec(&other));
    assert_eq!(said.len(), 2, "{said:?}");
}

fn observes(coordinator: &mut Coordinator, node: &str, service: &str, state: InstanceState) {
    let seen = InstanceObservation {
        state,
        ..InstanceObservation::default()
    };
    let message = FromAgent::Observed {
        full: true,
        generation: Generation(1),
        instances: vec![(service.parse().unwrap(), seen)],
        checks: Vec::new(),
        refuses: Vec::new(),
    };
    coordinator.agent(&node.parse().unwrap(), message, NOW);
}

#[test]
fn what_an_unheard_agent_may_run_is_told_and_found_again_when_it_is_back() {
    let mut coordinator = running();
    coordinator.session_closed(&"web3".parse().unwrap());
    let told = coordinator.would_let_go(&spec(WITHOUT));
    let may_run = "web on web3 may run: its agent is not heard (last seen running)";
    assert!(told.iter().any(|it| it.starts_with(may_run)), "{told:?}");
    let output = apply(&mut coordinator, WITHOUT);
    assert!(events(&output).contains("web on web3 may run"));
    assert!(said(&coordinator, "web3").unwrap().contains("web may run"));

    // It is back, and says that it runs still; later, that it does so no more.
    hello(&mut coordinator, "web3", "one");
    coordinator.take_output();
    observes(&mut coordinator, "web3", "web", InstanceState::Running);
    let back = events(&coordinator.take_output());
    assert!(back.contains("\"let-go\"") && back.contains("web on web3 is running"));
    let web3 = said(&coordinator, "web3").unwrap();
    assert!(web3.contains("web was running"), "{web3}");
    observes(&mut coordinator, "web3", "web", InstanceState::Running);
    assert!(
        !events(&coordinator.take_output()).contains("let-go"),
        "once"
    );
    observes(&mut coordinator, "web3", "web", InstanceState::Stopped);
    assert!(!said(&coordinator, "web3").unwrap().contains("web was"));
}

#[test]
fn what_nobody_has_told_since_the_start_may_run_too() {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    apply(&mut coordinator, WITH);
    let told = coordinator.would_let_go(&spec(WITHOUT));
    assert_eq!(told.len(), 2, "{told:?}");
    let unheard =
        "may run: its agent is not heard (nothing was heard of it since this coordinator began)";
    assert!(told.iter().all(|it| it.contains(unheard)), "{told:?}");
    assert!(coordinator.would_let_go(&spec(WITH)).is_empty());
}

/// What is known of strays on a node when a plan is made.
fn planned(coordinator: &Coordinator, node: &str) -> Vec<String> {
    let seen = coordinator.observations(NOW).nodes;
    let node = &seen[&node.parse::<NodeName>().unwrap()];
    let told = node.let_go.iter();
    told.map(|(service, why)| format!("{service}: {why}"))
        .collect()
}

#[test]
fn plans_are_told_of_it_also_after_a_restart() {
    let mut coordinator = running();
    assert!(planned(&coordinator, "web2").is_empty());
    let output = apply(&mut coordinator, WITHOUT);
    let ran = "mail: mail was running, and generation 2 does not have it";
    assert_eq!(planned(&coordinator, "web2"), [ran]);
    // Silence says nothing.
    coordinator.session_closed(&"web2".parse().unwrap());
    assert_eq!(planned(&coordinator, "web2"), [ran]);

    let kept = output.writes.iter().filter(|it| it.key.starts_with(LET_GO));
    let strays = kept.map(|it| serde_json::from_slice(it.value.as_ref().unwrap()).unwrap());
    let applied = coordinator.applied().unwrap();
    let loaded = Loaded {
        applied: Some(Applied {
            record: applied.record.clone(),
            spec: Arc::clone(&applied.spec),
            breaks: Vec::new(),
        }),
        strays: strays.collect(),
        ..Loaded::default()
    };
    let mut coordinator = Coordinator::recover(Term(2), loaded).unwrap();
    assert_eq!(planned(&coordinator, "web2"), [ran]);
    hello(&mut coordinator, "web2", "one");
    assert_eq!(planned(&coordinator, "web2"), [ran]);

    // The spec has it again: nothing is left of it, in the store either.
    let output = apply(&mut coordinator, WITH);
    assert!(planned(&coordinator, "web2").is_empty());
    let deleted = output.writes.iter().filter(|it| it.value.is_none());
    let deleted: Vec<&str> = deleted.map(|it| it.key.as_str()).collect();
    assert!(deleted.contains(&"/let-go/web2/mail"), "{deleted:?}");
}

/// web3 has another name.
fn renamed() -> String {
    WITH.replace("web3", "web9")
}

/// What is kept of a name, after these writes.
fn keeps_unheard(output: &Output, node: &str) -> Option<bool> {
    let key = format!("{UNHEARD}/{node}");
    let writes = output.writes.iter().rev();
    let of_node = writes
        .filter(|it| it.key == key)
        .map(|it| it.value.is_some());
    of_node.take(1).next()
}

#[test]
fn a_name_that_nobody_was_ever_heard_by_leaves_nothing_behind() {
    let mut coordinator = running();
    let output = apply(&mut coordinator, &renamed());
    assert_eq!(keeps_unheard(&output, "web9"), Some(true));
    assert!(coordinator.would_let_go(&spec(WITH)).is_empty());
    // As another process finds it.
    let applied = coordinator.applied().unwrap();
    let loaded = Loaded {
        applied: Some(Applied {
            record: applied.record.clone(),
            spec: Arc::clone(&applied.spec),
            breaks: Vec::new(),
        }),
        newcomers: [("web9".parse().unwrap(), Generation(2))].into(),
        ..Loaded::default()
    };
    let later = Coordinator::recover(Term(2), loaded).unwrap();
    for mut coordinator in [coordinator, later] {
        let output = apply(&mut coordinator, WITH);
        assert_eq!(keeps_unheard(&output, "web9"), Some(false));
        assert!(!events(&output).contains("web on web9"));
        assert_eq!(said(&coordinator, "web9"), None);
        let web3 = said(&coordinator, "web3").unwrap_or_default();
        assert!(!web3.contains("look on the machine"), "{web3}");
    }
}

#[test]
fn a_name_by_which_somebody_was_heard_and_is_silent_is_told_of() {
    let mut coordinator = running();
    apply(&mut coordinator, &renamed());
    hello(&mut coordinator, "web9", "one");
    assert_eq!(
        keeps_unheard(&coordinator.take_output(), "web9"),
        Some(false),
        "before anything is asked of it"
    );
    coordinator.session_closed(&"web9".parse().unwrap());
    apply(&mut coordinator, WITH);
    let web9 = said(&coordinator, "web9").unwrap();
    assert!(web9.contains("web may run"), "{web9}");
    // By that name something may run, whoever hears of it.
    let output = apply(&mut coordinator, &renamed());
    assert_eq!(keeps_unheard(&output, "web9"), None);
}

#[test]
fn the_names_of_the_first_spec_may_be_those_of_a_store_that_was_lost() {
    let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
    let output = apply(&mut coordinator, WITH);
    assert_eq!(keeps_unheard(&output, "web3"), None);
    apply(&mut coordinator, WITHOUT);
    assert!(said(&coordinator, "web3").unwrap().contains("web may run"));
}
