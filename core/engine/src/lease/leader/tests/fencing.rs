//! When a holder is switched off, and when what its power source says is a proof.

use super::super::suspicion::NotLost;
use super::*;

/// The hold-down of the fast profile.
const HOLD: u64 = 1000;

fn tried(observer: &str, reached: bool, asked: u64) -> Event {
    Event::Tried {
        observer: node(observer),
        node: node("db1"),
        reached,
        asked: at(asked),
    }
}

fn fences(effects: &[Effect]) -> bool {
    let db1 = Effect::Fence {
        node: node("db1"),
        epoch: Epoch(1),
    };
    effects.contains(&db1)
}

fn probes(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Probe(node("db1")))
}

/// db2 is there, and fit.
fn db2(leader: &mut Leader, now: u64) -> Vec<Effect> {
    leader.handle(Event::Standing(standing("db2", 0, Some(100))), at(now))
}

/// A leader that has read at 1000 who holds the role, and nothing since.
fn silent(terms: &Terms) -> Leader {
    let mut leader = leader(terms);
    let waits = Synchrony::With([node("db2")].into());
    leader.handle(Event::Read(stored(&held(terms, waits), 7)), at(1000));
    db2(&mut leader, 1001);
    leader
}

/// The same, and db2 has said at its end that it does not reach its machine.
fn lost(terms: &Terms) -> Leader {
    let mut leader = silent(terms);
    leader.handle(tried("db2", false, 1900), at(1950));
    assert!(!fences(&db2(&mut leader, 1000 + HOLD - 1)), "too early");
    assert!(
        fences(&db2(&mut leader, 1000 + HOLD)),
        "{:?}",
        leader.reason()
    );
    leader
}

fn off(asked: u64) -> Event {
    Event::PoweredOff {
        node: node("db1"),
        asked: at(asked),
    }
}

fn reason(leader: &Leader) -> String {
    leader.reason().unwrap_or_default().to_owned()
}

#[test]
fn a_holder_that_nobody_reaches_is_switched_off_and_that_is_the_proof() {
    for policy in [ControlLoss::Demote, ControlLoss::Hold] {
        let terms = terms(policy);
        let mut early = silent(&terms);
        assert!(!probes(&early.handle(Event::Tick, at(1500))));
        assert!(
            probes(&early.handle(Event::Tick, at(1700))),
            "others are asked"
        );
        let mut leader = lost(&terms);
        assert!(!fences(&db2(&mut leader, 2100)), "once is enough");
        let bump = transaction(leader.handle(off(1000 + HOLD), at(2300))).expect("a bump");
        let note = bump
            .record()
            .and_then(|record| record.exclusions().get(&Epoch(1)).cloned());
        assert_eq!(note, Some(Exclusion::Fenced { node: node("db1") }));
    }
}

#[test]
fn nobody_is_switched_off_on_one_signal_or_by_a_coordinator_that_doubts_itself() {
    let terms = terms(ControlLoss::Hold);
    let reached = NotLost::Reached(node("db3")).to_string();
    let nobody = NotLost::NobodyTells.to_string();
    let doubt = "3 of 4 are silent";
    let cases: [(&str, Vec<Event>, &str); 6] = [
        ("nobody has tried", vec![], &nobody),
        (
            "what was tried before it fell silent",
            vec![tried("db2", false, 900)],
            &nobody,
        ),
        (
            "one reaches it",
            vec![tried("db2", false, 1900), tried("db3", true, 1900)],
            &reached,
        ),
        (
            "doubt",
            vec![
                tried("db2", false, 1900),
                Event::Doubted(Some(doubt.to_owned())),
            ],
            doubt,
        ),
        (
            "the spec does not say so",
            vec![tried("db2", false, 1900), Event::Fences(false)],
            "hold",
        ),
        (
            "nothing moves by itself",
            vec![tried("db2", false, 1900), Event::Automatic(false)],
            "",
        ),
    ];
    for (what, events, why) in cases {
        let mut leader = silent(&terms);
        for event in events {
            leader.handle(event, at(1950));
        }
        for now in [2000, 2400] {
            assert!(!fences(&db2(&mut leader, now)), "{what}");
        }
        assert!(reason(&leader).contains(why), "{what}: {}", reason(&leader));
    }
    // It speaks, so whatever others find.
    let mut leader = silent(&terms);
    let db1 = Standing {
        idle: false,
        ..standing("db1", 0, Some(100))
    };
    leader.handle(Event::Standing(db1), at(1900));
    leader.handle(tried("db2", false, 1950), at(1960));
    assert!(!fences(&db2(&mut leader, 2000)));
}

#[test]
fn nobody_is_switched_off_for_whom_nobody_could_take_over() {
    let mut leader = silent(&terms(ControlLoss::Hold));
    leader.handle(tried("db2", false, 1900), at(1950));
    let unfit = standing("db2", 0, None);
    let effects = leader.handle(Event::Standing(unfit), at(2000));
    assert!(!fences(&effects));
}

#[test]
fn off_is_no_proof_of_a_boot_that_was_heard_since_that_was_asked() {
    let terms = terms(ControlLoss::Hold);
    let waits = Synchrony::With([node("db2")].into());
    let record = held(&terms, waits.clone());
    let again = RenewRequest {
        service: "pg".parse().expect("a name"),
        holder: member("db1"),
        epoch: Epoch(1),
        sent: Duration::from_secs(2),
        terms: None,
        safeguards: Safeguards::default(),
        synchrony: waits,
        position: Some(100),
    };
    let Ok(Written::Commit(renewed)) = renew(&again, &stored(&record, 7)) else {
        panic!("it holds it");
    };
    let renewed = stored(renewed.record().expect("a record"), 8);
    let speaks = Event::Standing(Standing {
        idle: false,
        ..standing("db1", 0, Some(100))
    });
    for sign in [Event::Read(renewed), speaks] {
        for answered_first in [false, true] {
            let mut leader = lost(&terms);
            // Nobody is ready, so that what is proven is kept.
            let unready = Standing {
                unready: Some("not yet".to_owned()),
                ..standing("db2", 0, Some(100))
            };
            leader.handle(Event::Standing(unready), at(2050));
            let mut both = vec![sign.clone(), off(2000)];
            if answered_first {
                both.reverse();
            }
            for event in both {
                assert_eq!(transaction(leader.handle(event, at(2200))), None);
            }
            assert_eq!(
                transaction(db2(&mut leader, 2210)),
                None,
                "{sign:?} {answered_first}"
            );
            // Silent again, it is asked again.
            leader.handle(tried("db2", false, 3100), at(3150));
            assert!(
                fences(&db2(&mut leader, 2200 + HOLD)),
                "{}",
                reason(&leader)
            );
        }
    }
}

#[test]
fn what_is_known_of_the_data_does_not_grow_old_while_a_power_source_takes_its_time() {
    let terms = terms(ControlLoss::Hold);
    let mut leader = leader(&terms);
    let record = held(&terms, Synchrony::Off);
    leader.handle(Event::Read(Stored::default()), at(900));
    leader.handle(Event::Read(stored(&record, 7)), at(1000));
    db2(&mut leader, 1001);
    leader.handle(tried("db2", false, 1900), at(1950));
    assert!(fences(&db2(&mut leader, 2000)), "{}", reason(&leader));
    db2(&mut leader, 7000);
    let bump = leader.handle(off(2000), at(7100));
    assert!(
        transaction(bump).is_some(),
        "{:?}",
        leader.candidates(at(7100))
    );
}

#[test]
fn a_power_source_that_refuses_leaves_it_to_time_and_is_told() {
    let terms = terms(ControlLoss::Demote);
    let mut leader = lost(&terms);
    let refused = Event::NotFenced {
        node: node("db1"),
        why: "login refused".to_owned(),
        asked: true,
    };
    assert_eq!(transaction(leader.handle(refused, at(2300))), None);
    assert!(
        reason(&leader).contains("not switched off: login refused"),
        "{}",
        reason(&leader)
    );
    assert!(!fences(&db2(&mut leader, 3000)), "not at once again");
    db2(&mut leader, 1000 + L - 1);
    let bump = leader.handle(Event::Tick, at(1000 + L));
    let bump = transaction(bump).expect("the lease is over");
    let note = bump
        .record()
        .and_then(|record| record.exclusions().get(&Epoch(1)).cloned());
    assert!(matches!(note, Some(Exclusion::Expired { .. })), "{note:?}");
}

#[test]
fn who_could_not_be_ordered_to_be_switched_off_is_so_soon_again() {
    let mut leader = lost(&terms(ControlLoss::Hold));
    let refused = Event::NotFenced {
        node: node("db1"),
        why: "its agent was heard 300 ms ago".to_owned(),
        asked: false,
    };
    leader.handle(refused, at(2001));
    leader.handle(tried("db2", false, 2400), at(2450));
    assert!(!fences(&db2(&mut leader, 2499)));
    assert!(fences(&db2(&mut leader, 2500)), "{}", reason(&leader));
}

#[test]
fn a_planned_move_does_not_go_by_the_last_renewal_of_who_could_not_say_how_it_ended() {
    let terms = terms(ControlLoss::Demote);
    let record = ended_at(None, &terms, Synchrony::Off);
    let judged = |planned| {
        let standing = standing("db2", 0, Some(100));
        fitness::judge(&standing, &record, &terms, planned, true, None)
    };
    assert_eq!(judged(true), Err(Unfit::UnknownLag));
    assert_eq!(judged(false), Ok(()));
}

#[test]
fn what_was_asked_for_one_epoch_keeps_nobody_from_asking_for_the_next() {
    let terms = terms(ControlLoss::Hold);
    let mut leader = lost(&terms);
    // Another epoch begins, of the same machine: it was switched on again, or it never was off.
    let waits = Synchrony::With([node("db2")].into());
    let next = LeaseRecord {
        epoch: Epoch(2),
        ..held(&terms, waits)
    };
    leader.handle(Event::Read(stored(&next, 9)), at(2200));
    db2(&mut leader, 3100);
    leader.handle(tried("db2", false, 3100), at(3150));
    let asked = db2(&mut leader, 2200 + HOLD);
    let again = Effect::Fence {
        node: node("db1"),
        epoch: Epoch(2),
    };
    assert!(asked.contains(&again), "{}", reason(&leader));
}
