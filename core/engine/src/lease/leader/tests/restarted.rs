//! Machines that have just been started.

use super::*;

/// Up for so many seconds.
fn up(seconds: u64, standing: Standing) -> Standing {
    Standing {
        up: Some(Duration::from_secs(seconds)),
        ..standing
    }
}

/// Given back by a new boot of db1, in the name of the one before.
fn freed_at_boot(terms: &Terms, synchrony: Synchrony) -> LeaseRecord {
    given_back(terms, synchrony)
}

/// What a later boot of db1 says, once its agent is there.
fn owner(unready: Option<&str>) -> Standing {
    Standing {
        holder: Member {
            boot: BootId("b2".to_owned()),
            ..member("db1")
        },
        mark: Some(Epoch(1)),
        unready: unready.map(str::to_owned),
        ..standing("db1", 0, Some(100))
    }
}

/// Who begins the next epoch when these are heard; else why nobody does.
fn begins(record: &LeaseRecord, heard: &[Standing], now: u64) -> Result<String, String> {
    let mut leader = leader(record.terms());
    for standing in heard {
        leader.handle(Event::Standing(standing.clone()), at(now));
    }
    let read = leader.handle(Event::Read(stored(record, 7)), at(now));
    let begun = transaction(read);
    let begun = begun.as_ref().and_then(Transaction::record);
    match begun.and_then(LeaseRecord::holder) {
        Some(holder) => Ok(holder.node.to_string()),
        None => Err(leader.reason().unwrap_or_default().to_owned()),
    }
}

#[test]
fn a_machine_that_was_just_started_takes_over_only_what_it_is_proven_to_have() {
    let terms = terms(ControlLoss::Demote);
    // It may lack ten, and has what was last heard of: how much was written after that, nobody knows.
    let loose = freed_at_boot(&terms, Synchrony::Off);
    let sure = freed_at_boot(&terms, Synchrony::With([node("db2")].into()));
    let db2 = |seconds| up(seconds, standing("db2", 0, Some(100)));
    assert_eq!(begins(&sure, &[db2(5)], 1000), Ok("db2".to_owned()));
    assert_eq!(begins(&loose, &[db2(60)], 1000), Ok("db2".to_owned()));
    let silent = standing("db2", 0, Some(100));
    assert_eq!(begins(&loose, &[silent], 1000), Ok("db2".to_owned()));
    let why = begins(&loose, &[db2(18)], 1000).expect_err("it waits");
    assert!(
        why.contains("just been started") && why.contains("42s"),
        "{why}"
    );
    let everything = ended_at(Some(100), &terms, Synchrony::Off);
    assert_eq!(begins(&everything, &[db2(5)], 1000), Ok("db2".to_owned()));
}

#[test]
fn it_grows_old_while_it_is_heard_and_people_are_told_for_how_long_it_waits() {
    let terms = terms(ControlLoss::Demote);
    let record = held(&terms, Synchrony::Off);
    let mut leader = leader(&terms);
    leader.handle(Event::Read(stored(&record, 7)), at(1000));
    let mut begun = None;
    for second in 2..100_u64 {
        let said = up(second, standing("db2", 0, Some(100)));
        let mut effects = leader.handle(Event::Standing(said), at(second * 1000));
        effects.extend(leader.handle(Event::Read(stored(&record, 7)), at(second * 1000)));
        if transaction(effects).is_some() {
            begun = Some(second);
            break;
        }
        let told = leader.candidates(at(second * 1000))[&node("db2")].clone();
        let left = format!("{}s more", 60 - second);
        assert!(told.is_some_and(|told| told.contains(&left)), "{second}");
    }
    assert_eq!(begun, Some(60));
}

#[test]
fn who_was_primary_last_is_primary_again_where_both_were_restarted() {
    let terms = terms(ControlLoss::Demote);
    let with_data = Synchrony::With([node("db2")].into());
    let without = Synchrony::With(terms.members.clone());
    for synchrony in [with_data, without] {
        let record = freed_at_boot(&terms, synchrony);
        let db2 = up(20, standing("db2", 0, Some(100)));
        let starting = up(18, owner(Some("its server does not run")));
        let why = begins(&record, &[starting.clone(), db2.clone()], 1000);
        let why = why.expect_err("db2 waits for db1");
        assert!(
            why.contains("db1 was primary last") && why.contains("42s"),
            "{why}"
        );
        let ready = up(25, owner(None));
        let both = [ready, db2.clone()];
        assert_eq!(begins(&record, &both, 1000), Ok("db1".to_owned()));
        // Not for ever, not where only one of both was restarted, and not for who is not there.
        let late = [up(60, owner(Some("its server does not run"))), db2.clone()];
        assert_eq!(begins(&record, &late, 1000), Ok("db2".to_owned()));
        let old = [starting, up(600, standing("db2", 0, Some(100)))];
        assert_eq!(begins(&record, &old, 1000), Ok("db2".to_owned()));
        assert_eq!(begins(&record, &[db2], 1000), Ok("db2".to_owned()));
    }
}
