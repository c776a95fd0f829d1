//! A primary whose clients do not reach it, though it is healthy and renews.

use super::*;

/// For how long it has to say so.
const PATIENCE: u64 = 5000;

/// For how long somebody else has to be reached.
const LINKED: u64 = 5000;

/// When db1 says first that it is not reached; db2 is heard since the beginning.
const OUT: u64 = 10_000;

fn not_reached(standing: Standing) -> Standing {
    Standing {
        unlinked: Some("nobody reaches 10.1.0.20 here: eth0 has no carrier".to_owned()),
        ..standing
    }
}

/// What db1 says, which holds the role.
fn db1(unlinked: bool) -> Standing {
    let here = Standing {
        idle: false,
        ..standing("db1", 0, Some(100))
    };
    if unlinked { not_reached(here) } else { here }
}

fn db2() -> Standing {
    standing("db2", 0, Some(100))
}

/// Does it write down that db1 is asked to give the role back, so that it moves by itself? Then that is written.
fn asks_back(leader: &mut Leader, effects: Vec<Effect>, now: u64) -> bool {
    let Some((id, transaction)) = commit(effects) else {
        return false;
    };
    let begun = transaction.record().and_then(LeaseRecord::hand_over);
    let asks = begun.is_some_and(|begun| begun.why.is_automatic() && begun.to == node("db2"));
    leader.handle(Event::Committed(id), at(now));
    asks
}

/// Says what both are at each of these times, and between them, and looks whether db1 was ever asked to give the role back.
fn asked(leader: &mut Leader, record: &LeaseRecord, times: &[u64], said: &[Standing; 2]) -> bool {
    let (mut now, last) = (times[0], times[times.len() - 1]);
    let mut asked = false;
    loop {
        // It renews: each reading has another revision.
        let read = Event::Read(stored(record, now));
        for event in [read].into_iter().chain(said.clone().map(Event::Standing)) {
            let effects = leader.handle(event, at(now));
            asked |= asks_back(leader, effects, now);
        }
        if now == last {
            return asked;
        }
        let next = times.iter().copied().find(|time| *time > now);
        now = (now + 500).min(next.unwrap_or(last));
    }
}

/// A leader that has heard both well for long, and read a record that does not change any more: it is renewed all the same.
fn watching(terms: &Terms, record: &LeaseRecord, other: Standing) -> Leader {
    let mut leader = leader(terms);
    assert!(!asked(&mut leader, record, &[1000], &[db1(false), other]));
    leader
}

#[test]
fn who_is_not_reached_by_its_clients_gives_the_role_to_who_is() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = watching(&terms, &record, db2());
    let said = [db1(true), db2()];
    let early = [OUT, OUT + PATIENCE - 1];
    assert!(!asked(&mut leader, &record, &early, &said), "too early");
    assert!(
        asked(&mut leader, &record, &[OUT + PATIENCE], &said),
        "{:?}",
        leader.reason()
    );
}

#[test]
fn a_link_that_comes_back_is_counted_anew() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = watching(&terms, &record, db2());
    let (out, back) = ([db1(true), db2()], [db1(false), db2()]);
    assert!(!asked(&mut leader, &record, &[OUT, OUT + 1500], &out));
    assert!(!asked(&mut leader, &record, &[OUT + 1600], &back));
    let again = OUT + 1700;
    let early = [again, again + PATIENCE - 1];
    assert!(!asked(&mut leader, &record, &early, &out));
    assert!(asked(&mut leader, &record, &[again + PATIENCE], &out));
}

#[test]
fn who_is_not_reached_keeps_the_role_while_nobody_else_could_take_it_or_it_may_not_move() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let another_line = Standing {
        follows: Epoch::NONE,
        ..db2()
    };
    let deaf = Standing {
        hears: false,
        ..db2()
    };
    for (other, automatic) in [
        (not_reached(db2()), true),
        (deaf, true),
        (another_line, true),
        (db2(), false),
    ] {
        let mut leader = watching(&terms, &record, other.clone());
        leader.handle(Event::Automatic(automatic), at(1001));
        let times = [OUT, OUT + 6000, OUT + 10_000];
        let said = [db1(true), other.clone()];
        assert!(!asked(&mut leader, &record, &times, &said), "{other:?}");
    }
}

#[test]
fn a_switch_that_is_started_again_moves_no_role_whoever_has_its_link_back_first() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = watching(&terms, &record, db2());
    let nobody = [db1(true), not_reached(db2())];
    assert!(!asked(&mut leader, &record, &[OUT, OUT + 20_000], &nobody));
    let back = OUT + 20_500;
    let first = [db1(true), db2()];
    let early = [back, back + LINKED - 1];
    assert!(!asked(&mut leader, &record, &early, &first));
    // One whose own cable is out, and not that of all.
    assert!(asked(&mut leader, &record, &[back + LINKED], &first));
}

#[test]
fn nothing_is_lost_by_a_move_whose_primary_lives_whatever_a_failover_may_lose() {
    // A failover may lose ten.
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let behind = |position| standing("db2", 0, Some(position));
    let mut leader = watching(&terms, &record, behind(99));
    let said = [db1(true), behind(99)];
    let times = [OUT, OUT + PATIENCE];
    assert!(
        !asked(&mut leader, &record, &times, &said),
        "it does not follow"
    );
    // 190 are written since, and it had what was written three seconds ago.
    let more = held_at(190, &terms, Synchrony::Off);
    let said = [db1(true), behind(100)];
    assert!(asked(&mut leader, &more, &[OUT + PATIENCE + 100], &said));

    let given_back = handed(ended_at(Some(200), &terms, Synchrony::Off), unlinked());
    let mark = Some(Epoch(1));
    let former = |standing| Standing { mark, ..standing };
    let begins = |leader: &mut Leader, db1: Standing, position, now| {
        let read = Event::Read(stored(&given_back, 90_000));
        let events = [
            read,
            Event::Standing(db1),
            Event::Standing(behind(position)),
        ];
        let events = events.into_iter().flat_map(|it| leader.handle(it, at(now)));
        transaction(events.collect())?.record()?.holder().cloned()
    };
    let lives = || former(not_reached(standing("db1", 0, Some(200))));
    let now = OUT + PATIENCE + 1000;
    assert_eq!(begins(&mut leader, lives(), 199, now), None);
    // Its link is back, and what it has written is still there.
    let linked = former(Standing {
        unready: Some("its server is just stopping".to_owned()),
        ..standing("db1", 0, Some(200))
    });
    assert_eq!(begins(&mut leader, linked, 199, now + 50), None);
    let reason = leader.reason().unwrap_or_default();
    assert!(reason.contains("it is 1 behind, more than 0"), "{reason}");
    let all = begins(&mut leader, lives(), 200, now + 100);
    assert_eq!(all, Some(member("db2")));
}

#[test]
fn once_the_one_that_gave_it_back_is_not_heard_any_more_it_is_a_failover() {
    let terms = terms(ControlLoss::Demote);
    let record = ended_at(Some(200), &terms, Synchrony::Off);
    let mut leader = leader(&terms);
    let lives = Standing {
        mark: Some(Epoch(1)),
        ..not_reached(standing("db1", 0, Some(200)))
    };
    leader.handle(Event::Standing(lives), at(1000));
    let mut begins = |now| {
        let read = Event::Read(stored(&record, 7));
        let events = [read, Event::Standing(standing("db2", 0, Some(195)))];
        let events = events.into_iter().flat_map(|it| leader.handle(it, at(now)));
        transaction(events.collect()).is_some()
    };
    assert!(!begins(1100));
    assert!(begins(1000 + 1900));
}
