//! Roles that their holders are asked for.

use super::*;

const MOVE: OperationId = OperationId(7);

fn by_operation() -> Reason {
    Reason::Operation(MOVE)
}

/// db1, which was primary in epoch 1 and is idle.
fn former() -> Standing {
    Standing {
        mark: Some(Epoch(1)),
        ..standing("db1", 0, Some(200))
    }
}

fn db2(position: u64) -> Standing {
    standing("db2", 0, Some(position))
}

fn held_by(record: &LeaseRecord, revision: u64, operation: Option<OperationId>) -> Stored {
    Stored {
        operation,
        ..stored(record, revision)
    }
}

/// A new leader, that may move nothing by itself, and has heard these.
fn at_rest(terms: &Terms, heard: &[Standing]) -> Leader {
    let mut leader = leader(terms);
    leader.handle(Event::Automatic(false), at(1));
    for standing in heard {
        leader.handle(Event::Standing(standing.clone()), at(1000));
    }
    leader
}

/// Who begins the next epoch once this is read.
fn begins(leader: &mut Leader, stored: Stored) -> Option<LeaseRecord> {
    let effects = leader.handle(Event::Read(stored), at(1100));
    transaction(effects)?.record().cloned()
}

fn holder(record: Option<&LeaseRecord>) -> Option<&str> {
    Some(record?.holder()?.node.as_str())
}

#[test]
fn that_a_holder_is_asked_is_written_before_it_is() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = at_rest(&terms, &[db2(100)]);
    leader.set_wall(Timestamp(77));
    leader.handle(Event::Wanted(Some((MOVE, node("db2")))), at(1000));
    let asks = leader.handle(Event::Read(held_by(&record, 7, Some(MOVE))), at(1100));
    let asked = |effects: &[Effect]| {
        let asks = |effect: &Effect| {
            matches!(
                effect,
                Effect::AskRelease {
                    automatic: false,
                    ..
                }
            )
        };
        effects.iter().any(asks)
    };
    assert!(!asked(&asks), "{asks:?}");
    let (id, written) = commit(asks).expect("it is written");
    assert!(written.conditions().contains(&Condition::Operation(MOVE)));
    let record = written.record().expect("a record");
    let expected = HandOver {
        to: node("db2"),
        why: by_operation(),
        since: Timestamp(77),
        within: Duration::from_secs(60),
    };
    assert_eq!(record.hand_over(), Some(&expected));
    leader.handle(Event::Committed(id), at(1110));
    let asks = leader.handle(Event::Read(held_by(record, 8, Some(MOVE))), at(1120));
    assert!(asked(&asks), "{asks:?}");
    assert_eq!(transaction(asks), None, "once for a move");
    // A renewal keeps it, and the first one of the next epoch ends it.
    let renewed = |record: &LeaseRecord, name, epoch, sent| {
        let request = RenewRequest {
            service: "pg".parse().expect("a name"),
            holder: member(name),
            epoch: Epoch(epoch),
            sent: Duration::from_secs(sent),
            terms: None,
            safeguards: Safeguards::default(),
            synchrony: Synchrony::Off,
            position: None,
        };
        match renew(&request, &stored(record, 9)).expect("it holds it") {
            Written::Commit(written) => written.record().expect("a record").clone(),
            Written::Already => panic!("it was renewed before"),
        }
    };
    let record = renewed(record, "db1", 1, 5);
    assert!(record.hand_over().is_some());
    let free = handed(ended_at(Some(100), &terms, Synchrony::Off), by_operation());
    let mut next = at_rest(&terms, &[db2(100)]);
    let next = begins(&mut next, stored(&free, 9)).expect("somebody begins");
    assert!(next.hand_over().is_some(), "nobody has it yet");
    assert_eq!(renewed(&next, "db2", 2, 6).hand_over(), None);
}

#[test]
fn a_role_that_somebody_was_asked_for_is_not_left_to_nobody_by_a_leader_that_may_move_nothing() {
    let terms = terms(ControlLoss::Hold);
    let free = ended_at(Some(200), &terms, Synchrony::Off);
    for why in [by_operation(), unlinked()] {
        let asked = stored(&handed(free.clone(), why), 7);
        let heard = [former(), db2(200)];
        let goes = |heard: &[Standing], stored: &Stored| {
            begins(&mut at_rest(&terms, heard), stored.clone())
        };
        assert_eq!(goes(&heard, &stored(&free, 7)), None, "nobody had asked");
        // Nothing is to move: it is where it was.
        assert_eq!(holder(goes(&heard, &asked).as_ref()), Some("db1"));
        // Where that cannot be, it is where all of it is.
        let not_reached = Standing {
            unlinked: Some("eth0 has no carrier".to_owned()),
            ..former()
        };
        let lacks = [not_reached.clone(), db2(199)];
        assert_eq!(goes(&lacks, &asked), None);
        let has = [not_reached, db2(200)];
        assert_eq!(holder(goes(&has, &asked).as_ref()), Some("db2"));
    }
}

#[test]
fn such_a_role_goes_to_nobody_who_lacks_any_of_it_whoever_is_heard() {
    let terms = terms(ControlLoss::Demote);
    let holder_of = |leader: &mut Leader, record: &LeaseRecord| {
        let begun = begins(leader, stored(record, 7));
        holder(begun.as_ref()).map(str::to_owned)
    };
    let ended = |position, why| handed(ended_at(position, &terms, Synchrony::Off), why);
    for why in [by_operation(), unlinked()] {
        // It may lack ten in a failover, and nobody has heard db1.
        let goes = |heard: Standing, position: Option<u64>| {
            let record = ended(position, why.clone());
            holder_of(&mut at_rest(&terms, &[heard]), &record)
        };
        assert_eq!(goes(db2(199), Some(200)), None, "{why:?}");
        assert_eq!(goes(db2(200), Some(200)).as_deref(), Some("db2"));
        assert_eq!(goes(db2(200), None), None, "{why:?}: nobody knows its end");
        // Nor once the epoch after it came to nothing.
        for (position, lacks) in [(Some(200), 199), (None, 200)] {
            let unused = LeaseRecord {
                epoch: Epoch(2),
                holder: Some(member("db1")),
                renewed: None,
                ..ended(position, why.clone())
            };
            let mut leader = at_rest(&terms, &[]);
            leader.handle(Event::Read(stored(&unused, 7)), at(1000));
            let life = u64::try_from(terms.timings.life().as_millis()).expect("it is short");
            leader.handle(Event::Standing(db2(lacks)), at(2000 + life));
            let read = leader.handle(Event::Read(stored(&unused, 7)), at(2010 + life));
            assert_eq!(transaction(read), None, "{why:?} {position:?}");
            if position.is_some() {
                let has = leader.handle(Event::Standing(db2(200)), at(2020 + life));
                assert!(transaction(has).is_some(), "{why:?}");
            }
        }
    }
    // What may move by itself goes by the limit of a failover if that is what it moves for, and not if it was ordered.
    let lacks = |why| {
        let mut leader = leader(&terms);
        leader.handle(Event::Standing(db2(199)), at(1000));
        holder_of(&mut leader, &ended(Some(200), why))
    };
    assert_eq!(lacks(unlinked()).as_deref(), Some("db2"));
    assert_eq!(lacks(by_operation()), None);
}

#[test]
fn what_rests_is_given_such_a_role_last() {
    let terms = terms(ControlLoss::Demote);
    let free = ended_at(Some(200), &terms, Synchrony::Off);
    let asked = handed(free.clone(), unlinked());
    let rests = |standing| Standing {
        rests: Some("node in maintenance by anna: new disks".to_owned()),
        ..standing
    };
    let goes = |heard: &[Standing], record: &LeaseRecord| {
        let begun = begins(&mut at_rest(&terms, heard), stored(record, 7));
        holder(begun.as_ref()).map(str::to_owned)
    };
    let both = [rests(former()), db2(200)];
    assert_eq!(goes(&both, &asked).as_deref(), Some("db2"));
    let both = [former(), rests(db2(200))];
    assert_eq!(goes(&both, &asked).as_deref(), Some("db1"));
    let alone = [rests(db2(200))];
    assert_eq!(goes(&alone, &asked).as_deref(), Some("db2"));
    let mut leader = leader(&terms);
    leader.handle(Event::Standing(rests(db2(200))), at(1000));
    assert_eq!(begins(&mut leader, stored(&free, 7)), None);
    let reason = leader.reason().unwrap_or_default();
    assert!(reason.contains("new disks"), "{reason}");
}

#[test]
fn what_nobody_can_say_the_end_of_goes_back_to_where_it_was_and_is_not_asked_for_again() {
    let terms = terms(ControlLoss::Demote);
    let free = handed(ended_at(None, &terms, Synchrony::Off), by_operation());
    let mut leader = at_rest(&terms, &[former(), db2(200)]);
    leader.handle(Event::Wanted(Some((MOVE, node("db2")))), at(1000));
    let back = begins(&mut leader, held_by(&free, 7, Some(MOVE))).expect("it goes back");
    assert_eq!(holder(Some(&back)), Some("db1"));
    assert!(back.has_returned_from(MOVE));

    let held = LeaseRecord {
        renewed: Some(Duration::from_secs(9)),
        hand_over: None,
        ..back
    };
    let asks = |operation: OperationId| {
        let mut leader = at_rest(&terms, &[db2(200)]);
        leader.handle(Event::Wanted(Some((operation, node("db2")))), at(1000));
        let begun = begins(&mut leader, held_by(&held, 8, Some(operation)));
        (begun.is_some(), leader.reason().map(str::to_owned))
    };
    let (asked, reason) = asks(MOVE);
    assert!(!asked);
    let reason = reason.unwrap_or_default();
    assert!(reason.contains("how far it had written"), "{reason}");
    assert!(asks(OperationId(8)).0, "another one may try");
}

#[test]
fn a_hand_over_that_nobody_wants_any_more_is_ended_once_a_stop_would_be_over() {
    let terms = terms(ControlLoss::Demote);
    let record = handed(held(&terms, Synchrony::Off), unlinked());
    let mut leader = at_rest(&terms, &[db2(100)]);
    // What an earlier leader asked for, it asked for before this one had read it.
    leader.handle(Event::Read(stored(&record, 7)), at(1000));
    let early = leader.handle(Event::Read(stored(&record, 8)), at(60_999));
    assert_eq!(transaction(early), None);
    let ends = leader.handle(Event::Read(stored(&record, 9)), at(61_000));
    let ends = transaction(ends).expect("it is ended");
    let ended = ends.record().expect("a record");
    assert_eq!((ended.hand_over(), ended.epoch()), (None, Epoch(1)));
    assert_eq!(ended.holder(), record.holder());
}

#[test]
fn who_has_not_begun_to_stop_in_time_is_asked_no_more_so_that_others_do_not_wait_for_it() {
    let terms = terms(ControlLoss::Demote);
    let record = handed(held(&terms, Synchrony::Off), unlinked());
    let mut leader = leader(&terms);
    let not_reached = Standing {
        unlinked: Some("eth0 has no carrier".to_owned()),
        idle: false,
        ..standing("db1", 0, Some(100))
    };
    let mut times = (Vec::new(), None);
    for step in 1..400_u64 {
        let now = at(step * 500);
        let events = [
            Event::Standing(not_reached.clone()),
            Event::Standing(db2(100)),
            Event::Read(stored(&record, step)),
        ];
        for event in events {
            for effect in leader.handle(event, now) {
                match effect {
                    Effect::AskRelease { .. } => times.0.push(step * 500),
                    Effect::Commit { transaction, .. } => {
                        let record = transaction.record().expect("a record");
                        assert_eq!(record.hand_over(), None);
                        times.1.get_or_insert(step * 500);
                    }
                    _ => {}
                }
            }
        }
    }
    let (first, last) = (times.0[0], times.0[times.0.len() - 1]);
    assert!(last - first < 60_000, "{first} {last}");
    let ended = times.1.expect("it is ended");
    assert!((60_000..62_000).contains(&(ended - last)), "{last} {ended}");
}

#[test]
fn timings_that_nobody_keeps_give_way_to_those_that_somebody_has_kept() {
    let old = terms(ControlLoss::Demote);
    let new = Terms {
        timings: Timings::of(Profile::Conservative),
        members: ["db1", "db2", "db3"].map(node).into(),
        ..old.clone()
    };
    let everybody = Synchrony::With(["db1", "db2", "db3"].map(node).into());
    let mut record = ended_at(None, &old, everybody);
    let mut now = 100_000;
    let mut profiles = Vec::new();
    // Nobody renews what is begun: a watchdog is required, and no device suits.
    for revision in 7..11 {
        let mut leader = leader(&new);
        let life = record.terms().timings.life();
        for later in [Duration::ZERO, life] {
            now += u64::try_from(later.as_millis()).expect("it is short");
            let mut effects = Vec::new();
            for name in ["db1", "db2"] {
                let said = Event::Standing(standing(name, 0, None));
                effects.extend(leader.handle(said, at(now)));
            }
            effects.extend(leader.handle(Event::Read(stored(&record, revision)), at(now)));
            if let Some(bump) = transaction(effects) {
                record = bump.record().expect("a record").clone();
                break;
            }
        }
        assert_eq!(record.terms().members, new.members);
        profiles.push(record.terms().timings == new.timings);
        // Never answered, or given back unused.
        if revision == 8 {
            let report = ReleaseReport {
                service: "pg".parse().expect("a name"),
                holder: record.holder().expect("somebody").clone(),
                epoch: record.epoch(),
                began: false,
                position: None,
            };
            let written = release(&report, &stored(&record, revision)).expect("it holds it");
            let Written::Commit(released) = written else {
                panic!("it was released before");
            };
            record = released.record().expect("a record").clone();
        }
    }
    assert_eq!(profiles, [true, false, true, false]);
}

/// The record once this holder has renewed an epoch that nobody had.
fn taken_up(record: &LeaseRecord, name: &str) -> LeaseRecord {
    let request = RenewRequest {
        service: "pg".parse().expect("a name"),
        holder: member(name),
        epoch: record.epoch(),
        sent: Duration::from_secs(6),
        terms: None,
        safeguards: Safeguards::default(),
        synchrony: Synchrony::Off,
        position: Some(200),
    };
    let written = renew(&request, &stored(record, 9)).expect("it holds it");
    let Written::Commit(written) = written else {
        panic!("it was renewed before");
    };
    written.record().expect("a record").clone()
}

/// The record once its holder has given it back.
fn given_back(record: &LeaseRecord, began: bool) -> LeaseRecord {
    let report = ReleaseReport {
        service: "pg".parse().expect("a name"),
        holder: record.holder().expect("somebody").clone(),
        epoch: record.epoch(),
        began,
        position: Some(200),
    };
    let written = release(&report, &stored(record, 10)).expect("it holds it");
    let Written::Commit(written) = written else {
        panic!("it was released before");
    };
    written.record().expect("a record").clone()
}

#[test]
fn what_is_given_back_before_a_promotion_has_begun_is_still_owed() {
    let terms = terms(ControlLoss::Demote);
    let free = handed(ended_at(Some(200), &terms, Synchrony::Off), by_operation());
    let next = begins(&mut at_rest(&terms, &[db2(200)]), stored(&free, 9)).expect("it goes on");
    let held = taken_up(&next, "db2");
    assert_eq!(held.hand_over(), None);
    // Its watchdog could not be armed.
    let back = given_back(&held, false);
    assert_eq!(back.hand_over(), free.hand_over());
    let again = begins(&mut at_rest(&terms, &[former()]), stored(&back, 11));
    assert_eq!(holder(again.as_ref()), Some("db1"));
    assert!(!given_back(&held, true).is_owed(), "it was taken up");
}

#[test]
fn how_far_the_last_primary_had_written_is_kept_over_an_epoch_that_nobody_renewed() {
    let terms = terms(ControlLoss::Demote);
    let free = handed(ended_at(Some(200), &terms, Synchrony::Off), by_operation());
    let next = begins(&mut at_rest(&terms, &[db2(200)]), stored(&free, 9)).expect("it goes on");
    // No answer of the store came in time.
    let report = ReleaseReport {
        service: "pg".parse().expect("a name"),
        holder: next.holder().expect("somebody").clone(),
        epoch: next.epoch(),
        began: false,
        position: None,
    };
    let Ok(Written::Commit(back)) = release(&report, &stored(&next, 10)) else {
        panic!("it holds it");
    };
    let back = back.record().expect("a record").clone();
    // Nor was anything promised: who has everything is not asked for a person's word.
    let again = begins(&mut at_rest(&terms, &[db2(200)]), stored(&back, 11));
    assert_eq!(holder(again.as_ref()), Some("db2"));
    let behind = begins(&mut at_rest(&terms, &[db2(199)]), stored(&back, 11));
    assert_eq!(holder(behind.as_ref()), None);
}

#[test]
fn where_everybody_has_everything_nobody_has_to_say_how_far_it_had_written() {
    let terms = terms(ControlLoss::Demote);
    let everybody = Synchrony::With(["db1", "db2"].map(node).into());
    let free = handed(ended_at(None, &terms, everybody), by_operation());
    let goes = |heard: &[Standing]| {
        let mut leader = at_rest(&terms, heard);
        leader.handle(Event::Wanted(Some((MOVE, node("db2")))), at(1000));
        let begun = begins(&mut leader, held_by(&free, 7, Some(MOVE)));
        holder(begun.as_ref()).map(str::to_owned)
    };
    assert_eq!(goes(&[former()]), None, "db2 was not heard yet");
    assert_eq!(goes(&[former(), db2(0)]).as_deref(), Some("db2"));
}

#[test]
fn people_are_told_of_a_role_that_is_owed_while_an_operation_holds_it_and_wants_nothing() {
    let terms = terms(ControlLoss::Demote);
    let free = handed(ended_at(Some(200), &terms, Synchrony::Off), by_operation());
    let mut leader = at_rest(&terms, &[former(), db2(200)]);
    assert_eq!(begins(&mut leader, held_by(&free, 7, Some(MOVE))), None);
    let reason = leader.reason().unwrap_or_default();
    assert!(reason.contains(&format!("retry {MOVE}")), "{reason}");
    // It is over.
    assert!(begins(&mut leader, stored(&free, 8)).is_some());
}

#[test]
fn an_operation_does_not_go_by_what_another_one_has_asked_for() {
    let terms = terms(ControlLoss::Demote);
    let record = handed(held(&terms, Synchrony::Off), by_operation());
    let other = OperationId(8);
    let mut leader = at_rest(&terms, &[db2(100)]);
    leader.handle(Event::Wanted(Some((other, node("db2")))), at(1000));
    let effects = leader.handle(Event::Read(held_by(&record, 8, Some(other))), at(1100));
    let asks = |effect: &Effect| matches!(effect, Effect::AskRelease { .. });
    assert!(!effects.iter().any(asks), "{effects:?}");
    let written = transaction(effects).expect("it is written first");
    assert!(written.conditions().contains(&Condition::Operation(other)));
    let known = written.record().and_then(LeaseRecord::hand_over);
    assert_eq!(known.map(|it| &it.why), Some(&Reason::Operation(other)));
}

#[test]
fn what_went_back_is_not_asked_for_again_where_a_coordinator_drops_that_it_did() {
    let terms = terms(ControlLoss::Demote);
    let free = handed(ended_at(None, &terms, Synchrony::Off), by_operation());
    // It follows the epoch in which the role is back, so nothing else keeps it from being a candidate.
    let follower = Standing {
        follows: Epoch(2),
        ..db2(200)
    };
    let mut leader = at_rest(&terms, &[former(), follower]);
    leader.handle(Event::Wanted(Some((MOVE, node("db2")))), at(1000));
    let read = leader.handle(Event::Read(held_by(&free, 7, Some(MOVE))), at(1100));
    let (id, back) = commit(read).expect("it goes back");
    leader.handle(Event::Committed(id), at(1110));
    let held = LeaseRecord {
        returned: None,
        ..taken_up(back.record().expect("a record"), "db1")
    };
    let asks = leader.handle(Event::Read(held_by(&held, 9, Some(MOVE))), at(1200));
    assert_eq!(transaction(asks), None);
}
