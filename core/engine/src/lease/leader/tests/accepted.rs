//! Writes that are lost by a person's word.

use interlock_model::lease::Shortfall;

use super::*;

const BY_HAND: OperationId = OperationId(7);

/// Who begins the next epoch for an operation that wants db2, while the machine of db1 is down by a person's word.
fn begins(
    record: &LeaseRecord,
    db2: &Standing,
    accepted: Option<(OperationId, Shortfall)>,
) -> Option<LeaseRecord> {
    let mut leader = leader(record.terms());
    leader.handle(Event::Automatic(false), at(1));
    leader.handle(Event::Accepts(accepted), at(1));
    leader.handle(Event::Wanted(Some((BY_HAND, node("db2")))), at(2));
    let stored = Stored {
        operation: Some(BY_HAND),
        ..stored(record, 7)
    };
    leader.handle(Event::Read(stored.clone()), at(1000));
    let (by, why) = ("anna".to_owned(), "it burnt".to_owned());
    let down = Event::Attest {
        node: node("db1"),
        by,
        why,
    };
    leader.handle(down, at(1000));
    let mut effects = leader.handle(Event::Standing(db2.clone()), at(1001));
    effects.extend(leader.handle(Event::Read(stored), at(1002)));
    let begun = transaction(effects)?.record().cloned();
    begun.filter(|begun| begun.epoch() > record.epoch())
}

#[test]
fn what_a_standby_lacks_is_lost_only_as_far_as_who_ordered_it_has_accepted() {
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let db2 = standing("db2", 0, Some(93));
    let accepts = |lost| Some((BY_HAND, lost));
    let goes = |accepted| begins(&record, &db2, accepted).is_some();
    // Seven of a hundred. A failover by itself may lose ten; a person is asked.
    assert!(!goes(None));
    assert!(!goes(accepts(Shortfall::AtLeast(6))));
    assert!(goes(accepts(Shortfall::AtLeast(7))));
    assert!(goes(accepts(Shortfall::Unknown)));
    assert!(
        !goes(Some((OperationId(8), Shortfall::Unknown))),
        "another operation"
    );

    let unknown = standing("db2", 0, None);
    assert_eq!(
        begins(&record, &unknown, accepts(Shortfall::AtLeast(100))),
        None
    );
    let next = begins(&record, &unknown, accepts(Shortfall::Unknown)).expect("it is accepted");
    assert_eq!(next.holder(), Some(&member("db2")));
    let word = next.exclusions().get(&Epoch(1));
    assert!(matches!(word, Some(Exclusion::Attested { .. })), "{word:?}");
}

#[test]
fn a_persons_word_for_a_loss_stands_for_no_proof_and_for_nothing_else_that_is_wrong() {
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let accepts = Some((BY_HAND, Shortfall::Unknown));
    let fit = standing("db2", 0, Some(93));
    for wrong in [
        Standing {
            mark: Some(Epoch::NONE),
            ..fit.clone()
        },
        Standing {
            reverted: true,
            ..fit.clone()
        },
        Standing {
            promised: true,
            ..fit.clone()
        },
        Standing {
            idle: false,
            ..fit.clone()
        },
        Standing {
            unready: Some("it is down".to_owned()),
            ..fit.clone()
        },
    ] {
        assert_eq!(begins(&record, &wrong, accepts), None, "{wrong:?}");
    }
    // Its primary is not down by anybody's word, and its lease runs.
    let mut leader = leader(record.terms());
    leader.handle(Event::Accepts(accepts), at(1));
    leader.handle(Event::Wanted(Some((BY_HAND, node("db2")))), at(2));
    let stored = Stored {
        operation: Some(BY_HAND),
        ..stored(&record, 7)
    };
    leader.handle(Event::Standing(fit), at(1000));
    let effects = leader.handle(Event::Read(stored), at(1001));
    let begun = transaction(effects);
    let epoch = begun
        .as_ref()
        .and_then(Transaction::record)
        .map(LeaseRecord::epoch);
    assert!(epoch.is_none_or(|epoch| epoch == Epoch(1)), "{begun:?}");
}

#[test]
fn a_primary_that_is_heard_again_is_waited_for_whatever_a_person_has_accepted() {
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let mut leader = leader(record.terms());
    leader.handle(Event::Accepts(Some((BY_HAND, Shortfall::Unknown))), at(1));
    leader.handle(Event::Wanted(Some((BY_HAND, node("db2")))), at(2));
    let stored = Stored {
        operation: Some(BY_HAND),
        ..stored(&record, 7)
    };
    leader.handle(Event::Read(stored.clone()), at(1000));
    let back = Standing {
        mark: Some(record.epoch()),
        ..standing("db1", 0, Some(100))
    };
    leader.handle(Event::Standing(back), at(1001));
    // By far too little.
    let far = Event::Standing(standing("db2", 0, Some(3)));
    let mut effects = leader.handle(far, at(1001));
    effects.extend(leader.handle(Event::Read(stored), at(1002)));
    assert_eq!(transaction(effects), None, "it is not asked for its role");
    assert!(leader.lacking(at(1002)).is_empty());
}

#[test]
fn what_each_member_would_lose_is_told_while_no_primary_is_heard() {
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let mut leader = leader(record.terms());
    let mut revision = 7;
    let mut lacks = |leader: &mut Leader, record: &LeaseRecord, db2: Standing| {
        revision += 1;
        leader.handle(Event::Read(stored(record, revision)), at(60_000));
        leader.handle(Event::Standing(db2), at(60_001));
        let lacking = leader.lacking(at(60_002));
        lacking.get(&node("db2")).map(|(lacks, _)| *lacks)
    };
    let lost = |position| standing("db2", 0, position);
    assert_eq!(
        lacks(&mut leader, &record, lost(Some(93))),
        Some(Shortfall::AtLeast(7))
    );
    assert_eq!(lacks(&mut leader, &record, lost(Some(100))), None);
    assert_eq!(
        lacks(&mut leader, &record, lost(None)),
        Some(Shortfall::Unknown)
    );
    let of_another_line = Standing {
        follows: Epoch::NONE,
        ..lost(Some(100))
    };
    assert_eq!(
        lacks(&mut leader, &record, of_another_line),
        Some(Shortfall::Unknown)
    );
    let down = Standing {
        unready: Some("it is down".to_owned()),
        ..lost(Some(93))
    };
    assert_eq!(lacks(&mut leader, &record, down), None);
    let free = ended_at(Some(120), record.terms(), Synchrony::Off);
    assert_eq!(
        lacks(&mut leader, &free, lost(Some(93))),
        Some(Shortfall::Exactly(27))
    );

    // While it is heard it can be waited for.
    leader.handle(Event::Read(stored(&record, 99)), at(60_010));
    leader.handle(Event::Standing(standing("db1", 1, Some(100))), at(60_011));
    leader.handle(Event::Standing(lost(Some(93))), at(60_012));
    assert_eq!(leader.lacking(at(60_013)), [].into());
}
