//! Who is a member, and since when: promises were given by those of the record, and by nobody else (safety rule E2).

use super::*;

#[test]
fn a_member_that_is_new_waits_for_as_long_as_promises_that_others_gave_before_it_may_last() {
    for (policy, wait) in [(ControlLoss::Failsafe, L), (ControlLoss::Demote, 0)] {
        let old = terms(policy);
        let record = held(&old, Synchrony::With(old.members.clone()));
        let mut first = leader(&old);
        let bump = after(&mut first, &record, standing("db2", 0, Some(100)), 1000 + L);
        let bump = transaction(bump).expect("the lease of db1 has expired");
        let next = bump.record().expect("a record");
        assert_eq!(next.holder(), Some(&member("db2")));
        // It may have promised db1 to wait, and gives back what it never had: its machine was restarted.
        let report = ReleaseReport {
            service: "pg".parse().expect("a name"),
            holder: member("db2"),
            epoch: Epoch(2),
            began: false,
            position: None,
        };
        let written = release(&report, &stored(next, 8)).expect("it holds it");
        let Written::Commit(freed) = written else {
            panic!("it was given back before");
        };
        let freed = freed.record().expect("a record").clone();

        let mut new = terms(policy);
        new.members.insert(node("db3"));
        let mut leader = leader(&new);
        leader.handle(Event::Standing(standing("db3", 0, Some(100))), at(9000));
        let read = leader.handle(Event::Read(stored(&freed, 9)), at(9000));
        if wait > 0 {
            assert_eq!(transaction(read), None, "{policy}");
            leader.handle(
                Event::Standing(standing("db3", 0, Some(100))),
                at(9000 + wait - 2),
            );
            let early = leader.handle(Event::Read(stored(&freed, 9)), at(9000 + wait - 1));
            assert_eq!(transaction(early), None, "{policy}");
            let then = leader.handle(Event::Tick, at(9000 + wait));
            let bump = transaction(then).expect("promises are over");
            assert_eq!(bump.record().expect("a record").epoch(), Epoch(3));
        } else {
            assert!(
                transaction(read).is_some(),
                "nobody promises under {policy}"
            );
        }
    }
}

#[test]
fn an_epoch_that_nobody_answered_is_followed_by_one_among_those_who_may_have_promised() {
    let old = terms(ControlLoss::Failsafe);
    let mut new = old.clone();
    new.members.insert(node("db3"));
    // Who joins has everything, and more than the others say to have.
    let record = held(&old, Synchrony::With(new.members.clone()));
    let mut first = leader(&old);
    let bump = after(&mut first, &record, standing("db2", 0, Some(100)), 1000 + L);
    let bump = transaction(bump).expect("the lease of db1 has expired");
    let unanswered = bump.record().expect("a record").clone();

    let next = |heard: &[Standing]| {
        let mut leader = leader(&new);
        leader.handle(Event::Read(stored(&unanswered, 9)), at(9000));
        for standing in heard {
            leader.handle(Event::Standing(standing.clone()), at(9000 + L - 1));
        }
        transaction(leader.handle(Event::Read(stored(&unanswered, 9)), at(9000 + L)))
    };
    let (db2, db3) = (standing("db2", 0, Some(100)), standing("db3", 0, Some(200)));
    // db1 may go on by what db2 has promised it; db3 was not asked. And db2 holds what was begun, until it is another one.
    let db2 = Standing {
        holder: Member {
            boot: BootId("b2".to_owned()),
            ..db2.holder
        },
        ..db2
    };
    assert_eq!(next(std::slice::from_ref(&db3)), None);
    let holder = db2.holder.clone();
    let begins = next(&[db2, db3]).expect("db2 is asked again");
    let record = begins.record().expect("a record");
    assert_eq!((record.epoch(), record.holder()), (Epoch(3), Some(&holder)));
    assert_eq!(record.terms().members, old.members);
}
