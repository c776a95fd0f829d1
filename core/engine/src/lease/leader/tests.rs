//! Rules of the leader's side, one by one.

mod accepted;
mod fencing;
mod handed;
mod members;
mod restarted;
mod scores;
mod unlinked;

use std::time::Duration;

use interlock_model::ids::{BootId, OperationId};
use interlock_model::lease::{
    ControlLoss, Epoch, Exclusion, Holder as Member, Profile, Synchrony, Terms, Timings, VmPause,
};
use interlock_model::names::NodeName;
use interlock_model::time::Timestamp;

use super::fitness::{self, Unfit};
use super::{Clock, Config, Effect, Event, Leader, Standing};
use crate::lease::{
    Change, Condition, Excluded, HandOver, LeaseRecord, NotRenewed, Reason, ReleaseReport,
    RenewRequest, Safeguards, Stored, Transaction, Written, release, renew,
};

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn member(name: &str) -> Member {
    Member {
        node: node(name),
        boot: BootId("b1".to_owned()),
    }
}

fn terms(on_control_loss: ControlLoss) -> Terms {
    Terms {
        timings: Timings::of(Profile::Fast),
        on_control_loss,
        vm_pause: VmPause::Accepted,
        members: ["db1", "db2"].map(node).into(),
        max_lag: 10,
    }
}

fn at(millis: u64) -> Clock {
    let both = Duration::from_millis(millis);
    Clock {
        boottime: both,
        raw: both,
    }
}

fn leader(terms: &Terms) -> Leader {
    let mut leader = Leader::new(Config {
        service: "pg".parse().expect("a name"),
        incarnation: "s1".to_owned(),
        terms: terms.clone(),
        fence: true,
        stop_within: Duration::from_secs(60),
        boot_dead: Duration::from_secs(60),
    });
    leader.handle(Event::Automatic(true), at(0));
    leader
}

fn standing(name: &str, epoch: u64, position: Option<u64>) -> Standing {
    Standing {
        holder: member(name),
        seen: Epoch(epoch),
        reverted: false,
        holding: None,
        mark: None,
        follows: Epoch(1),
        up: None,
        idle: true,
        promised: false,
        position,
        unready: None,
        rests: None,
        unlinked: None,
        hears: true,
        score: None,
    }
}

/// The transaction among these effects, and its number.
fn commit(effects: Vec<Effect>) -> Option<(u64, Transaction)> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Commit { id, transaction } => Some((id, transaction)),
        _ => None,
    })
}

/// The transaction among these effects.
fn transaction(effects: Vec<Effect>) -> Option<Transaction> {
    commit(effects).map(|(_, transaction)| transaction)
}

/// The same record, whose holder is asked to give the role back, or was.
fn handed(record: LeaseRecord, why: Reason) -> LeaseRecord {
    let hand_over = Some(HandOver {
        to: node("db2"),
        why,
        since: Timestamp(1),
        within: Duration::from_secs(60),
    });
    LeaseRecord {
        hand_over,
        ..record
    }
}

fn unlinked() -> Reason {
    Reason::Unlinked("eth0 has no carrier".to_owned())
}

fn stored(record: &LeaseRecord, revision: u64) -> Stored {
    Stored {
        record: Some((record.clone(), revision)),
        ..Stored::default()
    }
}

/// The first epoch of all, of db1.
fn first(terms: &Terms) -> LeaseRecord {
    let mut leader = leader(terms);
    leader.handle(Event::Read(Stored::default()), at(1));
    let waits = leader.handle(Event::Standing(standing("db1", 0, Some(5))), at(2));
    assert_eq!(transaction(waits), None, "the others have not spoken");
    let others = terms.members.iter().filter(|name| **name != node("db1"));
    let said = others.map(|name| Event::Standing(standing(name.as_str(), 0, Some(0))));
    let begins = said.flat_map(|said| leader.handle(said, at(3))).collect();
    let begins = transaction(begins).expect("the first epoch takes nothing from anybody");
    let record = begins.record().expect("a record").clone();
    assert_eq!(
        (record.epoch(), record.holder()),
        (Epoch(1), Some(&member("db1")))
    );
    record
}

/// The same, renewed with a watchdog armed and its rows at 100.
fn held(terms: &Terms, synchrony: Synchrony) -> LeaseRecord {
    held_at(100, terms, synchrony)
}

/// The same with so many rows.
fn held_at(position: u64, terms: &Terms, synchrony: Synchrony) -> LeaseRecord {
    let request = RenewRequest {
        service: "pg".parse().expect("a name"),
        holder: member("db1"),
        epoch: Epoch(1),
        sent: Duration::from_secs(1),
        terms: None,
        safeguards: Safeguards {
            watchdog: true,
            client_path: false,
        },
        synchrony,
        position: Some(position),
    };
    let written = renew(&request, &stored(&first(terms), 1)).expect("it holds it");
    let Written::Commit(transaction) = written else {
        panic!("it was renewed before");
    };
    transaction.record().expect("a record").clone()
}

/// Reads the record at `from` and again at `then`, with both nodes heard of before; what the leader does then.
fn after(leader: &mut Leader, record: &LeaseRecord, db2: Standing, then: u64) -> Vec<Effect> {
    leader.handle(Event::Read(stored(record, 7)), at(1000));
    leader.handle(Event::Standing(db2), at(then - 1));
    leader.handle(Event::Read(stored(record, 7)), at(then))
}

const L: u64 = 2450;

#[test]
fn a_lease_expires_l_after_the_leaders_own_reading_and_the_bump_is_bound_to_what_was_counted() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut early = leader(&terms);
    let db2 = standing("db2", 0, Some(95));
    assert_eq!(
        transaction(after(&mut early, &record, db2.clone(), 1000 + L - 1)),
        None
    );
    let bump = early.handle(Event::Tick, at(1000 + L));
    let bump = transaction(bump).expect("a bump");
    for condition in [
        Condition::Leading,
        Condition::Revision(7),
        Condition::NoOperation,
    ] {
        assert!(bump.conditions().contains(&condition), "{condition:?}");
    }
    assert!(bump.changes().contains(&Change::Claim(Epoch(2))));
    let next = bump.record().expect("a record");
    assert_eq!(next.holder(), Some(&member("db2")));
    let note = next.exclusions().get(&Epoch(1));
    assert!(
        matches!(note, Some(Exclusion::Expired { revision: 7, .. })),
        "{note:?}"
    );
}

#[test]
fn a_revision_that_moved_is_counted_anew() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = leader(&terms);
    after(&mut leader, &record, standing("db2", 0, Some(95)), 3000);
    leader.handle(Event::Read(stored(&record, 8)), at(3001));
    let db2 = Event::Standing(standing("db2", 0, Some(95)));
    let early = leader.handle(db2, at(3001 + L - 1));
    assert_eq!(transaction(early), None);
    assert!(transaction(leader.handle(Event::Tick, at(3001 + L))).is_some());
}

#[test]
fn the_leader_goes_by_the_clock_that_says_less() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = leader(&terms);
    after(&mut leader, &record, standing("db2", 0, Some(95)), 1500);
    let slewed = Clock {
        boottime: Duration::from_millis(9000),
        raw: Duration::from_millis(1000 + L - 1),
    };
    assert_eq!(transaction(leader.handle(Event::Tick, slewed)), None);
}

#[test]
fn time_proves_nothing_where_a_holder_holds_on_nothing_acts_or_a_machine_may_be_paused() {
    let possible = Terms {
        vm_pause: VmPause::Possible,
        ..terms(ControlLoss::Demote)
    };
    for terms in [terms(ControlLoss::Hold), possible] {
        let mut leader = leader(&terms);
        let record = held(&terms, Synchrony::With([node("db2")].into()));
        let effects = after(&mut leader, &record, standing("db2", 0, Some(100)), 60_000);
        assert_eq!(transaction(effects), None);
        assert!(leader.reason().is_some());
    }
}

#[test]
fn a_power_device_proves_it_if_it_was_asked_after_the_holder_was_known() {
    let terms = terms(ControlLoss::Hold);
    let record = held(&terms, Synchrony::With([node("db2")].into()));
    let mut leader = leader(&terms);
    after(&mut leader, &record, standing("db2", 0, Some(100)), 2000);
    let off = |asked| Event::PoweredOff {
        node: node("db1"),
        asked,
    };
    assert_eq!(transaction(leader.handle(off(at(999)), at(2001))), None);
    let bump = transaction(leader.handle(off(at(1500)), at(2002))).expect("a bump");
    let note = bump
        .record()
        .and_then(|record| record.exclusions().get(&Epoch(1)));
    assert_eq!(note, Some(&Exclusion::Fenced { node: node("db1") }));
}

#[test]
fn who_is_seen_to_accept_writes_is_not_expired() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = leader(&terms);
    let sighted = |writable| Event::Sighted {
        observer: node("db2"),
        node: node("db1"),
        writable,
    };
    leader.handle(sighted(true), at(3000));
    let effects = after(&mut leader, &record, standing("db2", 0, Some(95)), 4000);
    assert_eq!(transaction(effects), None);
    assert!(transaction(leader.handle(sighted(false), at(4001))).is_some());
}

#[test]
fn automation_leaves_alone_what_an_operation_holds() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = leader(&terms);
    after(&mut leader, &record, standing("db2", 0, Some(95)), 2000);
    let claimed = Stored {
        operation: Some(OperationId(3)),
        ..stored(&record, 7)
    };
    assert_eq!(
        transaction(leader.handle(Event::Read(claimed), at(60_000))),
        None
    );
}

#[test]
fn who_lacks_rows_or_does_not_know_does_not_take_over() {
    let terms = terms(ControlLoss::Demote);
    let others = Synchrony::With([node("db3")].into());
    let cases = [
        (Synchrony::Off, Some(89), "it is 11 behind, more than 10"),
        (Synchrony::Off, None, "nobody knows how far it is behind"),
        (others, Some(100), "writes waited for others and not for it"),
    ];
    for (synchrony, position, why) in cases {
        let report = ReleaseReport {
            service: "pg".parse().expect("a name"),
            holder: member("db1"),
            epoch: Epoch(1),
            began: true,
            position: None,
        };
        let written = release(&report, &stored(&held(&terms, synchrony), 6)).expect("it holds it");
        let Written::Commit(released) = written else {
            panic!("it was released before");
        };
        let record = released.record().expect("a record").clone();
        let mut leader = leader(&terms);
        let effects = after(&mut leader, &record, standing("db2", 0, position), 2000);
        assert_eq!(transaction(effects), None);
        let reason = leader.reason().unwrap_or_default();
        assert!(reason.contains(why), "{reason}");
    }
}

#[test]
fn a_store_that_went_back_is_not_acted_on_before_every_member_has_spoken() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = Leader::new(Config {
        service: "pg".parse().expect("a name"),
        incarnation: "s2".to_owned(),
        terms,
        fence: true,
        stop_within: Duration::from_secs(60),
        boot_dead: Duration::from_secs(60),
    });
    leader.handle(Event::Automatic(true), at(0));
    let last = Standing {
        mark: Some(Epoch(4)),
        ..standing("db2", 4, Some(7))
    };
    let effects = after(&mut leader, &record, last, 60_000);
    assert_eq!(transaction(effects), None);
    let other = standing("db1", 3, Some(9));
    let bump = transaction(leader.handle(Event::Standing(other), at(60_001))).expect("a bump");
    let next = bump.record().expect("a record");
    assert_eq!(
        (next.epoch(), next.holder()),
        (Epoch(5), Some(&member("db2")))
    );
}

#[test]
fn no_epoch_begins_without_a_proof_for_the_one_before() {
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let missing = Excluded::all_of(&record, None).expect_err("it is held");
    assert_eq!(missing.0, Epoch(1));
}

#[test]
fn renewals_are_taken_in_the_order_in_which_they_were_sent() {
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let older = RenewRequest {
        service: "pg".parse().expect("a name"),
        holder: member("db1"),
        epoch: Epoch(1),
        sent: Duration::from_millis(999),
        terms: None,
        safeguards: Safeguards::default(),
        synchrony: Synchrony::Off,
        position: None,
    };
    assert_eq!(
        renew(&older, &stored(&record, 6)),
        Err(NotRenewed::Outdated)
    );
    let same = RenewRequest {
        sent: Duration::from_secs(1),
        ..older.clone()
    };
    assert_eq!(renew(&same, &stored(&record, 6)), Ok(Written::Already));
    let other_boot = RenewRequest {
        holder: Member {
            boot: BootId("b2".to_owned()),
            ..member("db1")
        },
        sent: Duration::from_secs(9),
        ..older
    };
    let refused = renew(&other_boot, &stored(&record, 6));
    assert!(
        matches!(refused, Err(NotRenewed::Superseded { .. })),
        "{refused:?}"
    );
}

#[test]
fn why_nothing_is_decided_is_not_said_any_more_when_it_is_over() {
    let mut leader = leader(&terms(ControlLoss::Demote));
    leader.handle(Event::Automatic(false), at(0));
    leader.handle(Event::Read(Stored::default()), at(1));
    leader.handle(Event::Standing(standing("db1", 0, Some(0))), at(2));
    let reason = leader.reason().expect("db2 has not spoken");
    assert!(reason.contains("db2"), "{reason}");
    leader.handle(Event::Standing(standing("db2", 0, Some(0))), at(3));
    assert_eq!(leader.reason(), None, "nobody wants a primary");
}

#[test]
fn people_are_told_of_each_member_why_it_could_not_take_over() {
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let mut leader = leader(record.terms());
    leader.handle(Event::Read(stored(&record, 1)), at(0));
    leader.handle(Event::Standing(standing("db2", 1, None)), at(1));
    let why = |leader: &Leader, now| leader.candidates(now)[&node("db2")].clone();
    assert_eq!(
        why(&leader, at(2)).as_deref(),
        Some("nobody knows how far it is behind")
    );
    leader.handle(Event::Standing(standing("db2", 1, Some(100))), at(3));
    assert_eq!(why(&leader, at(4)), None);
    assert_eq!(
        why(&leader, at(60_000)).as_deref(),
        Some("it has not been heard of lately")
    );
}

#[test]
fn nobody_is_a_candidate_by_what_was_read_before_a_commit_or_judged_by_what_is_newer_than_it_said()
{
    let record = given_back(&terms(ControlLoss::Demote), Synchrony::Off);
    let mut leader = leader(record.terms());
    leader.handle(Event::Standing(standing("db2", 0, Some(100))), at(1000));
    let begins = leader.handle(Event::Read(stored(&record, 1)), at(1300));
    let age = |millis| Duration::from_millis(millis);
    let judged = |leader: &Leader, now| leader.movable(at(now))[&node("db2")].clone();
    assert_eq!(judged(&leader, 1500), (age(500), None));
    let (id, _) = commit(begins).expect("db2 begins");
    leader.handle(Event::Committed(id), at(1600));
    let (_, why) = judged(&leader, 1600);
    assert!(
        why.is_some_and(|why| why.contains("not read")),
        "{leader:?}"
    );
}

#[test]
fn a_role_can_be_moved_on_purpose_to_who_has_what_was_written_some_time_ago() {
    // 100 are written, and ten may be missing.
    let record = held(&terms(ControlLoss::Demote), Synchrony::Off);
    let mut leader = leader(record.terms());
    leader.handle(Event::Read(stored(&record, 1)), at(0));
    let why = |leader: &mut Leader, position, now| {
        leader.handle(Event::Standing(standing("db2", 1, Some(position))), now);
        let by_itself = leader.candidates(now)[&node("db2")].is_none();
        (by_itself, leader.movable(now)[&node("db2")].1.is_none())
    };
    assert_eq!(why(&mut leader, 95, at(1)), (true, true));
    assert_eq!(why(&mut leader, 80, at(1)), (false, false));
    let more = held_at(190, record.terms(), Synchrony::Off);
    leader.handle(Event::Read(stored(&more, 2)), at(3000));
    assert_eq!(why(&mut leader, 100, at(3001)), (false, true));
    assert_eq!(why(&mut leader, 99, at(3001)), (false, false));
    let of_another_line = Standing {
        follows: Epoch::NONE,
        ..standing("db2", 1, Some(100))
    };
    leader.handle(Event::Standing(of_another_line), at(3002));
    let (_, why) = leader.movable(at(3003))[&node("db2")].clone();
    assert!(why.is_some_and(|why| why.contains("not seen to follow")));
}

/// Given back by db1, whose writes waited for these.
fn given_back(terms: &Terms, synchrony: Synchrony) -> LeaseRecord {
    ended_at(None, terms, synchrony)
}

/// The same, which had written this far.
fn ended_at(position: Option<u64>, terms: &Terms, synchrony: Synchrony) -> LeaseRecord {
    let report = ReleaseReport {
        service: "pg".parse().expect("a name"),
        holder: member("db1"),
        epoch: Epoch(1),
        began: true,
        position,
    };
    let written = release(&report, &stored(&held(terms, synchrony), 6)).expect("it holds it");
    let Written::Commit(released) = written else {
        panic!("it was released before");
    };
    released.record().expect("a record").clone()
}

#[test]
fn who_has_given_a_role_back_gets_it_again_only_if_nobody_else_has_all_there_is() {
    let terms = terms(ControlLoss::Demote);
    let was_primary = Standing {
        mark: Some(Epoch(1)),
        ..standing("db1", 0, Some(100))
    };
    let everybody = Synchrony::With(terms.members.clone());
    for (synchrony, expected) in [(everybody, "db2"), (Synchrony::Off, "db1")] {
        let record = given_back(&terms, synchrony);
        let mut leader = leader(&terms);
        for standing in [was_primary.clone(), standing("db2", 0, Some(95))] {
            leader.handle(Event::Standing(standing), at(1999));
        }
        let effects = leader.handle(Event::Read(stored(&record, 7)), at(2000));
        let begun = transaction(effects).expect("somebody is fit");
        let holder = begun.record().and_then(LeaseRecord::holder).cloned();
        assert_eq!(holder, Some(member(expected)));
    }
}

#[test]
fn what_nobody_holds_begins_under_the_terms_of_the_spec_and_among_its_members() {
    let old = terms(ControlLoss::Demote);
    let record = given_back(
        &old,
        Synchrony::With(["db1", "db2", "db3"].map(node).into()),
    );
    let new = Terms {
        members: ["db2", "db3"].map(node).into(),
        ..old.clone()
    };
    let mut leader = leader(&new);
    leader.handle(Event::Standing(standing("db3", 0, Some(95))), at(1999));
    let effects = leader.handle(Event::Read(stored(&record, 7)), at(2000));
    let begun = transaction(effects).expect("a new member is fit");
    let record = begun.record().expect("a record");
    assert_eq!(record.holder(), Some(&member("db3")));
    assert_eq!(record.terms(), &new);
    // What somebody holds goes on under what its holder has accepted.
    let kept = held(&old, Synchrony::Off);
    assert_eq!(*leader.terms_after(&kept), old);
}

#[test]
fn nobodys_word_that_a_node_is_down_outlasts_what_the_node_says() {
    let terms = terms(ControlLoss::Hold);
    let record = held(&terms, Synchrony::With(terms.members.clone()));
    for speaks in [false, true] {
        let mut leader = leader(&terms);
        leader.handle(Event::Read(stored(&record, 7)), at(1000));
        let word = Event::Attest {
            node: node("db1"),
            by: "anna".to_owned(),
            why: "unplugged".to_owned(),
        };
        leader.handle(word, at(1001));
        if speaks {
            leader.handle(Event::Standing(standing("db1", 0, None)), at(1002));
        }
        let effects = leader.handle(Event::Standing(standing("db2", 0, None)), at(1003));
        assert_eq!(transaction(effects).is_some(), !speaks);
    }
}

#[test]
fn who_received_the_writes_takes_over_only_if_its_data_follow_who_wrote_them() {
    let terms = terms(ControlLoss::Demote);
    let waited = Synchrony::With([node("db2")].into());
    let judged = |record: &LeaseRecord, follows: u64| {
        let standing = Standing {
            follows: Epoch(follows),
            ..standing("db2", 0, Some(100))
        };
        fitness::judge(&standing, record, &terms, false, true, None)
    };
    let record = given_back(&terms, waited);
    assert_eq!(judged(&record, 1), Ok(()));
    assert_eq!(
        judged(&record, 0),
        Err(Unfit::NotFollowing { since: Epoch(1) }),
        "it may have received them beside data of another line"
    );
    let nothing_to_follow = given_back(&terms, Synchrony::With(terms.members.clone()));
    assert_eq!(judged(&nothing_to_follow, 0), Ok(()));
}

#[test]
fn where_there_are_no_data_a_member_that_came_later_does_not_make_the_others_unfit() {
    let old = terms(ControlLoss::Demote);
    let record = given_back(&old, Synchrony::With(old.members.clone()));
    let terms = Terms {
        members: ["db2", "db3"].map(node).into(),
        ..old
    };
    let record = LeaseRecord {
        terms: terms.clone(),
        ..record
    };
    let standing = Standing {
        follows: Epoch::NONE,
        ..standing("db2", 0, None)
    };
    assert_eq!(
        fitness::judge(&standing, &record, &terms, false, true, None),
        Ok(())
    );
}

#[test]
fn a_planned_move_waits_for_all_that_was_written_whomever_commits_waited_for() {
    let terms = terms(ControlLoss::Demote);
    for synchrony in [Synchrony::With([node("db2")].into()), Synchrony::Off] {
        let record = ended_at(Some(110), &terms, synchrony.clone());
        let judged = |position, planned| {
            let standing = standing("db2", 0, position);
            fitness::judge(&standing, &record, &terms, planned, true, None)
        };
        assert_eq!(judged(Some(110), true), Ok(()));
        let behind = Unfit::Behind { lag: 1, limit: 0 };
        assert_eq!(judged(Some(109), true), Err(behind), "{synchrony:?}");
        assert_eq!(judged(None, true), Err(Unfit::UnknownLag), "{synchrony:?}");
        assert_eq!(judged(Some(109), false), Ok(()), "{synchrony:?}");
    }
}

#[test]
fn who_the_writes_waited_for_takes_over_only_with_what_it_was_known_to_have() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::With([node("db2")].into()));
    let judged = |position| {
        let standing = standing("db2", 0, position);
        fitness::judge(&standing, &record, &terms, false, true, None)
    };
    assert_eq!(record.position(), Some(100));
    assert_eq!(judged(Some(100)), Ok(()));
    for older in [Some(99), None] {
        assert_eq!(judged(older), Err(Unfit::OlderThanItself), "{older:?}");
    }
}
