//! What people did at agents' doors: one event for each act (invariant I11).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::time::Duration;

use interlock_engine::by_hand::{Act, ActId};
use interlock_engine::coordinator::{Coordinator, Event, FromAgent, Loaded, Output, ToAgent};
use interlock_model::attempt::AttemptState;
use interlock_model::ids::Term;
use interlock_model::names::NodeName;
use interlock_model::time::{Now, Timestamp};

fn now() -> Now {
    Now {
        mono: Duration::from_secs(9),
        wall: Timestamp(9000),
    }
}

fn node() -> NodeName {
    "web1".parse().unwrap()
}

fn id(number: u64, begun: u64) -> ActId {
    ActId {
        number,
        begun: Timestamp(begun),
    }
}

fn act(id: ActId) -> Act {
    Act {
        id,
        who: "operator anna".into(),
        why: "disk replaced".into(),
        what: "stop web".into(),
        service: Some("web".parse().unwrap()),
        state: AttemptState::Done,
        evidence: "it is down".into(),
    }
}

/// A coordinator that an agent has just said hello to, and what it asked the agent for.
fn greeted(loaded: Loaded) -> (Coordinator, Vec<ActId>) {
    let mut coordinator = Coordinator::recover(Term(1), loaded).unwrap();
    coordinator.agent(&node(), FromAgent::Hello(Box::default()), now());
    let asked = coordinator
        .take_output()
        .sends
        .into_iter()
        .find_map(|send| match send.message {
            ToAgent::KnownActs(known) => Some(known),
            _ => None,
        });
    (coordinator, asked.unwrap())
}

fn tell(coordinator: &mut Coordinator, acts: &[ActId]) -> Output {
    let acts = acts.iter().copied().map(act).collect();
    coordinator.agent(&node(), FromAgent::ByHand(acts), now());
    coordinator.take_output()
}

fn events(output: &Output) -> Vec<Event> {
    let written = output
        .writes
        .iter()
        .filter(|write| write.key.starts_with("/event/"));
    written
        .map(|write| serde_json::from_slice(write.value.as_deref().unwrap()).unwrap())
        .collect()
}

#[test]
fn an_act_is_one_event_with_who_when_why_and_what_came_of_it() {
    let (mut coordinator, known) = greeted(Loaded::default());
    assert_eq!(known, []);
    let output = tell(&mut coordinator, &[id(1, 5000)]);
    let [event] = events(&output).try_into().unwrap();
    assert_eq!(
        (event.kind.as_str(), event.who.as_str()),
        ("by-hand", "operator anna")
    );
    assert_eq!(
        (event.node.as_str(), event.service.as_str()),
        ("web1", "web")
    );
    assert_eq!((event.at, event.act), (Timestamp(9000), Some(id(1, 5000))));
    assert_eq!(
        event.text,
        "stop web on web1 by hand: done: it is down (reason: disk replaced)"
    );
}

#[test]
fn an_act_that_is_told_again_is_not_another_one_and_what_is_known_is_said() {
    let (mut coordinator, _) = greeted(Loaded::default());
    let first = tell(&mut coordinator, &[id(1, 5000), id(1, 5000)]);
    assert_eq!(events(&first).len(), 1);
    assert!(tell(&mut coordinator, &[id(1, 5000)]).is_empty());
    // Of a ledger that counts anew.
    let more = tell(&mut coordinator, &[id(1, 5000), id(1, 7000), id(2, 5500)]);
    assert_eq!(events(&more).len(), 2);

    let record = more.writes.last().unwrap();
    assert_eq!(record.key, "/by-hand/web1");
    let known: Vec<ActId> = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    let mut loaded = Loaded::default();
    loaded.acts.insert(node(), known);
    let (mut later, known) = greeted(loaded);
    assert_eq!(known, [id(1, 5000), id(1, 7000), id(2, 5500)]);
    assert!(tell(&mut later, &known).is_empty(), "also after a restart");
}

#[test]
fn of_very_many_acts_the_last_are_known() {
    let (mut coordinator, _) = greeted(Loaded::default());
    for number in 1..=600 {
        tell(&mut coordinator, &[id(number, number)]);
    }
    let record = tell(&mut coordinator, &[id(601, 601)]);
    let known = record.writes.last().unwrap().value.as_deref().unwrap();
    let known: Vec<ActId> = serde_json::from_slice(known).unwrap();
    assert_eq!(known.len(), 512);
    assert_eq!(known.last(), Some(&id(601, 601)));
}
