//! Promises among members (safety rule E2).

use std::collections::BTreeSet;

use super::*;

#[test]
fn who_has_promised_a_peer_does_not_claim_until_l_is_over() {
    let policy = terms(ControlLoss::Failsafe, Profile::Fast);
    let (mut holder, _) = started(Facts::default(), None, Found::Standby, 0);
    let asks = Event::PeerAsks {
        from: Member {
            node: node("db2"),
            boot: BootId("x".to_owned()),
        },
        epoch: Epoch(1),
        ask: Duration::from_secs(9),
        life: policy.timings.life(),
    };
    let agrees = holder.handle(asks, at(10_000));
    assert!(matches!(agrees[..], [Effect::Agree { .. }]), "{agrees:?}");
    holder.handle(command(2, &policy), at(12_400));
    assert_eq!(sent(&holder.handle(Event::Committed(1), at(12_410))), None);
    let free = holder.handle(command(2, &policy), at(12_450));
    assert!(sent(&free).is_some(), "{free:?}");
}

#[test]
fn an_agent_that_started_lately_may_have_promised_and_waits() {
    let policy = terms(ControlLoss::Failsafe, Profile::Fast);
    let facts = Facts {
        seen: Epoch(1),
        ..Facts::default()
    };
    let (mut holder, _) = started(facts, None, Found::Standby, 1000);
    assert_eq!(sent(&holder.handle(command(1, &policy), at(3449))), None);
    assert!(sent(&holder.handle(command(1, &policy), at(3450))).is_some());
}

#[test]
fn all_members_must_promise_and_the_holder_counts_from_asking() {
    let policy = terms(ControlLoss::Failsafe, Profile::Fast);
    let mut holder = primary_since(&policy, 10_000);
    let asks = holder.handle(Event::Tick, at(11_800));
    let ask = asks.iter().find_map(|effect| match effect {
        Effect::AskPeers { ask, members, .. } => {
            assert_eq!(*members, BTreeSet::from([node("db2")]));
            Some(*ask)
        }
        _ => None,
    });
    let agrees = Event::PeerAgrees {
        node: node("db2"),
        ask: ask.expect("a question"),
    };
    holder.handle(agrees, at(11_890));
    assert!(!stops(&holder.handle(Event::Tick, at(11_800 + 1899))));
    assert!(stops(&holder.handle(Event::Tick, at(11_800 + 1900))));
}

/// What is asked of the peers among these effects.
fn asked(effects: &[Effect]) -> Option<Duration> {
    effects.iter().find_map(|effect| match effect {
        Effect::AskPeers { ask, .. } => Some(*ask),
        _ => None,
    })
}

#[test]
fn an_answer_that_takes_longer_than_the_next_question_counts_from_its_own() {
    let policy = terms(ControlLoss::Failsafe, Profile::Fast);
    let mut holder = primary_since(&policy, 10_000);
    let first = asked(&holder.handle(Event::Tick, at(11_600))).expect("a question");
    let second = asked(&holder.handle(Event::Tick, at(11_850))).expect("another one");
    assert_ne!(first, second);
    let agrees = |ask| Event::PeerAgrees {
        node: node("db2"),
        ask,
    };
    holder.handle(agrees(first), at(11_890));
    assert!(!stops(&holder.handle(Event::Tick, at(11_600 + 1899))));
    assert!(stops(&holder.handle(Event::Tick, at(11_600 + 1900))));
}

#[test]
fn an_answer_to_a_later_question_counts_for_those_before_it_and_not_the_other_way_round() {
    let mut policy = terms(ControlLoss::Failsafe, Profile::Fast);
    policy.members.insert(node("db3"));
    let mut holder = primary_since(&policy, 10_000);
    let first = asked(&holder.handle(Event::Tick, at(11_000))).expect("a question");
    let second = asked(&holder.handle(Event::Tick, at(11_300))).expect("another one");
    let agrees = |name: &str, ask| Event::PeerAgrees {
        node: node(name),
        ask,
    };
    // What db3 was asked first was lost.
    holder.handle(agrees("db3", second), at(11_310));
    holder.handle(agrees("db2", first), at(11_850));
    assert!(!stops(&holder.handle(Event::Tick, at(11_000 + 1899))));
    assert!(stops(&holder.handle(Event::Tick, at(11_000 + 1900))));
}

#[test]
fn an_agent_that_ends_while_no_coordinator_is_there_goes_on_by_promises() {
    let policy = terms(ControlLoss::Failsafe, Profile::Fast);
    let mut holder = primary_since(&policy, 10_000);
    let ends = holder.handle(Event::Exit, at(10_500));
    assert!(!ends.contains(&Effect::MayExit), "{ends:?}");
    let mut until = 10_500;
    while until < 20_000 {
        until += 250;
        let effects = holder.handle(Event::Tick, at(until));
        assert!(!stops(&effects), "{until}: {effects:?}");
        if let Some(ask) = asked(&effects) {
            let node = node("db2");
            holder.handle(Event::PeerAgrees { node, ask }, at(until + 5));
        }
    }
    // Under terms that end by themselves the members of now may not be all.
    let mut other = policy.clone();
    other.members.insert(node("db3"));
    let mut holder = primary_since(&policy, 10_000);
    holder.handle(Event::Propose(other), at(10_200));
    let effects = holder.handle(Event::Tick, at(10_300));
    assert!(sent(&effects).is_some(), "{effects:?}");
    let effects = holder.handle(Event::Tick, at(11_000));
    assert_eq!(asked(&effects), None);
}

#[test]
fn one_member_that_does_not_promise_is_enough_for_a_primary_to_stop() {
    let mut policy = terms(ControlLoss::Failsafe, Profile::Fast);
    policy.members.insert(node("db3"));
    let mut holder = primary_since(&policy, 10_000);
    let ask = asked(&holder.handle(Event::Tick, at(11_800))).expect("a question");
    let agrees = Event::PeerAgrees {
        node: node("db2"),
        ask,
    };
    holder.handle(agrees, at(11_810));
    assert!(stops(&holder.handle(Event::Tick, at(10_001 + 1900))));
}

#[test]
fn who_has_heard_of_a_later_epoch_promises_nothing_for_an_earlier_one() {
    let facts = Facts {
        seen: Epoch(4),
        ..Facts::default()
    };
    let (mut holder, _) = started(facts, None, Found::Standby, 0);
    let asks = |epoch| Event::PeerAsks {
        from: Member {
            node: node("db2"),
            boot: BootId("x".to_owned()),
        },
        epoch: Epoch(epoch),
        ask: Duration::from_secs(9),
        life: Duration::from_secs(2),
    };
    assert_eq!(holder.handle(asks(3), at(10_000)), []);
    let why = holder.why_no_promise(Epoch(3)).expect("a reason");
    assert_eq!(why, "it has heard of epoch 4, and was asked for epoch 3");
    let agrees = holder.handle(asks(4), at(10_010));
    assert!(matches!(agrees[..], [Effect::Agree { .. }]), "{agrees:?}");
}
