//! A primary whose clients do not reach it, though it is healthy and renews.

use super::*;

/// For how long it has to say so.
const PATIENCE: u64 = 2000;

/// What db1 says, which holds the role.
fn db1(unlinked: bool) -> Event {
    Event::Standing(Standing {
        idle: false,
        unlinked: unlinked.then(|| "nobody reaches 10.1.0.20 here: eth0 has no carrier".to_owned()),
        ..standing("db1", 0, Some(100))
    })
}

fn asks_back(effects: &[Effect]) -> bool {
    effects.contains(&Effect::AskRelease {
        from: member("db1"),
        epoch: Epoch(1),
    })
}

/// Says what both are at each of these times, reads the record, and looks whether db1 was ever asked to give the role back.
fn asked(leader: &mut Leader, record: &LeaseRecord, times: &[u64], said: &[Event]) -> bool {
    let mut asked = false;
    for (number, time) in times.iter().enumerate() {
        // It renews: each reading has another revision.
        let revision = 7 + u64::try_from(number).expect("few") + *time;
        let read = Event::Read(stored(record, revision));
        for event in said.iter().cloned().chain([read]) {
            asked |= asks_back(&leader.handle(event, at(*time)));
        }
    }
    asked
}

#[test]
fn who_is_not_reached_by_its_clients_gives_the_role_to_who_is() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = leader(&terms);
    let db2 = Event::Standing(standing("db2", 0, Some(100)));
    let said = [db1(true), db2];
    let early = [1000, 1000 + PATIENCE - 1];
    assert!(!asked(&mut leader, &record, &early, &said), "too early");
    assert!(
        asked(&mut leader, &record, &[1000 + PATIENCE], &said),
        "{:?}",
        leader.reason()
    );
}

#[test]
fn a_link_that_comes_back_is_counted_anew() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = leader(&terms);
    let db2 = Event::Standing(standing("db2", 0, Some(100)));
    let (out, back) = ([db1(true), db2.clone()], [db1(false), db2]);
    assert!(!asked(&mut leader, &record, &[1000, 2500], &out));
    assert!(!asked(&mut leader, &record, &[2600], &back));
    assert!(!asked(&mut leader, &record, &[2700, 2699 + PATIENCE], &out));
    assert!(asked(&mut leader, &record, &[2700 + PATIENCE], &out));
}

#[test]
fn who_is_not_reached_keeps_the_role_while_nobody_else_could_take_it_or_it_may_not_move() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let fit = standing("db2", 0, Some(100));
    let not_reached = Standing {
        unlinked: Some("nobody reaches 10.1.0.20 here: eth0 is down".to_owned()),
        ..fit.clone()
    };
    let behind = Standing {
        position: Some(89),
        ..fit.clone()
    };
    for (other, automatic) in [(not_reached, true), (behind, true), (fit, false)] {
        let mut leader = leader(&terms);
        leader.handle(Event::Automatic(automatic), at(1));
        let said = [db1(true), Event::Standing(other.clone())];
        assert!(
            !asked(&mut leader, &record, &[1000, 4000, 8000], &said),
            "{other:?}"
        );
    }
}
