//! Whose turn it is, how many are under way, and what an answer belongs to.

use std::collections::BTreeMap;

use interlock_model::action::FenceAction;
use interlock_model::time::Timestamp;

use super::*;

fn at(seconds: u64) -> Now {
    Now {
        mono: Duration::from_secs(seconds),
        wall: Timestamp(seconds * 1000),
    }
}

fn about(name: &str) -> About {
    About::Node(name.parse().unwrap())
}

fn device(name: &str) -> PowerName {
    name.parse().unwrap()
}

fn via() -> NodeName {
    "mgmt".parse().unwrap()
}

/// A view with a session with the agent that is asked.
fn view() -> View {
    let mut view = View::default();
    view.opened(&via(), at(0));
    view
}

/// A question to this device of which nothing is heard for 25 s at most.
fn asked(name: &str, of: &str, seconds: u64) -> Asked {
    let call = FenceCall {
        device: device(of),
        agent: "fence_sim".into(),
        action: FenceAction::Status,
        node: name.parse().unwrap(),
        plug: name.into(),
        options: BTreeMap::new(),
        limit: Duration::from_secs(20),
    };
    Asked {
        about: about(name),
        call,
        via: via(),
        at: at(seconds).mono,
        limit: Duration::from_secs(25),
        why: Why::ToKnow,
    }
}

fn turns(askings: &Askings) -> Vec<String> {
    let name = |about| match about {
        About::Node(node) => node.to_string(),
        About::Plugs(device) => format!("plugs of {device}"),
    };
    askings.turns().into_iter().map(name).collect()
}

#[test]
fn a_step_goes_before_what_was_asked_within_a_minute_before_and_idle_questions_after_what_is_asked_within_one()
 {
    let mut askings = Askings::default();
    let want = |askings: &mut Askings, name: &str, urgency, seconds| {
        askings.want(&about(name), Why::ToKnow, urgency, at(seconds));
    };
    // In the first minute of a clock as well.
    want(&mut askings, "idle", Urgency::Idle, 0);
    want(&mut askings, "early", Urgency::Wanted, 1);
    want(&mut askings, "wanted", Urgency::Wanted, 30);
    want(&mut askings, "before", Urgency::Wanted, 59);
    want(&mut askings, "step", Urgency::Step, 62);
    want(&mut askings, "later", Urgency::Wanted, 61);
    want(&mut askings, "last", Urgency::Step, 122);
    let order = ["early", "step", "wanted", "before", "idle", "later", "last"];
    assert_eq!(turns(&askings), order);
    // The earliest turn that anybody wants is its turn.
    want(&mut askings, "idle", Urgency::Wanted, 40);
    want(&mut askings, "early", Urgency::Idle, 100);
    let order = ["early", "step", "wanted", "idle", "before", "later", "last"];
    assert_eq!(turns(&askings), order);
    want(&mut askings, "later", Urgency::Step, 60);
    assert_eq!(turns(&askings)[0], "later");
}

#[test]
fn who_wants_to_know_is_not_served_with_what_was_asked_to_verify() {
    let mut askings = Askings::default();
    for why in [Why::ToVerify, Why::ToKnow, Why::ToVerify] {
        askings.want(&about("a"), why, Urgency::Wanted, at(1));
    }
    assert_eq!(askings.drop_waiting(&about("a")), Some(Why::ToKnow));
    assert!(!askings.waits(&about("a")));
}

#[test]
fn a_device_has_one_question_under_way_and_an_agent_four() {
    let (mut askings, mut view) = (Askings::default(), view());
    let room = |askings: &Askings, view: &View, of, seconds| {
        askings.has_room(&via(), &device(of), view, at(seconds))
    };
    for (number, of) in ["d1", "d2", "d3", "d4"].into_iter().enumerate() {
        assert!(room(&askings, &view, of, 10), "{of}");
        askings.sent(number as u64, asked("a", of, 10));
        assert!(!room(&askings, &view, of, 10), "{of} has one");
    }
    assert!(!room(&askings, &view, "d5", 10), "four at an agent");
    assert!(askings.answered(&via(), 2).is_some());
    assert!(room(&askings, &view, "d5", 10) && !room(&askings, &view, "d2", 10));
    // Nobody waits for longer than a call may take, nor for an agent that has gone.
    assert!(!room(&askings, &view, "d1", 34));
    assert!(room(&askings, &view, "d1", 35));
    assert!(askings.about(&about("a"), &view, at(34)).is_some());
    view.closed(&via());
    assert!(askings.about(&about("a"), &view, at(34)).is_none());
    view.opened(&via(), at(11));
    assert!(
        room(&askings, &view, "d1", 34),
        "it was asked of another session"
    );
}

#[test]
fn a_busy_agent_is_left_alone_for_a_second_and_then_that_question_is_the_first() {
    let (mut askings, view) = (Askings::default(), view());
    askings.sent(1, asked("z", "d1", 100));
    askings.want(&about("a"), Why::ToKnow, Urgency::Step, at(1));
    askings.is_busy(&"other".parse().unwrap(), 1, at(101));
    assert_eq!(turns(&askings), ["a"], "nobody says so for another");
    askings.is_busy(&via(), 1, at(101));
    assert_eq!(turns(&askings), ["z", "a"]);
    let room = |askings: &Askings, now| askings.has_room(&via(), &device("d1"), &view, now);
    let nearly = Now {
        mono: at(102).mono - Duration::from_millis(1),
        ..at(102)
    };
    assert!(!room(&askings, nearly));
    assert!(room(&askings, at(102)));
    assert!(askings.answered(&via(), 1).is_none(), "it was not asked");
}

#[test]
fn an_answer_belongs_to_its_question_for_ten_minutes() {
    for (forgotten, is_known) in [(699, true), (700, false)] {
        let mut askings = Askings::default();
        askings.sent(7, asked("a", "d1", 100));
        askings.forget(at(forgotten));
        assert!(askings.answered(&"other".parse().unwrap(), 7).is_none());
        assert!(askings.answered(&via(), 8).is_none());
        assert_eq!(askings.answered(&via(), 7).is_some(), is_known);
        assert!(askings.answered(&via(), 7).is_none(), "it counts once");
    }
}
