//! Several that are fit, of whom their agents think differently.

use super::*;

const NAMES: [&str; 3] = ["db1", "db2", "db3"];

/// A role without data among three.
fn of_three() -> Terms {
    Terms {
        members: NAMES.map(node).into(),
        ..terms(ControlLoss::Demote)
    }
}

fn scored(name: &str, score: Option<i64>) -> Standing {
    Standing {
        score,
        ..standing(name, 0, Some(100))
    }
}

fn unready(standing: Standing) -> Standing {
    Standing {
        unready: Some("its agent has failed".to_owned()),
        ..standing
    }
}

fn marked(standing: Standing) -> Standing {
    Standing {
        mark: Some(Epoch(1)),
        ..standing
    }
}

/// Who has the next epoch of this record, whose holder has given it back.
fn next(terms: &Terms, synchrony: Synchrony, said: [Standing; 3]) -> Option<NodeName> {
    let record = ended_at(None, terms, synchrony);
    let mut leader = leader(terms);
    for standing in said {
        leader.handle(Event::Standing(standing), at(1000));
    }
    let begins = leader.handle(Event::Read(stored(&record, 7)), at(1001));
    let next = transaction(begins)?.record()?.holder()?.node.clone();
    Some(next)
}

fn everybody() -> Synchrony {
    Synchrony::With(NAMES.map(node).into())
}

#[test]
fn of_those_that_are_fit_the_one_with_the_highest_score_takes_over() {
    let terms = of_three();
    for (scores, expected) in [
        ([0, 5, 100], "db3"),
        ([0, 100, 5], "db2"),
        ([0, 5, 5], "db2"),
    ] {
        let [one, two, three] = scores.map(Some);
        let said = [
            marked(scored("db1", one)),
            scored("db2", two),
            scored("db3", three),
        ];
        assert_eq!(next(&terms, everybody(), said), Some(node(expected)));
    }
}

#[test]
fn a_score_makes_nobody_fit_and_nobody_is_preferred_for_it_to_who_has_more() {
    let terms = of_three();
    let sick = [
        marked(scored("db1", Some(0))),
        scored("db2", Some(5)),
        unready(scored("db3", Some(1_000_000))),
    ];
    assert_eq!(next(&terms, everybody(), sick), Some(node("db2")));
    // Who has just given the role back may be unable to keep it.
    let back = [
        marked(scored("db1", Some(1000))),
        scored("db2", Some(5)),
        scored("db3", Some(4)),
    ];
    assert_eq!(next(&terms, everybody(), back), Some(node("db2")));
    // An agent of an earlier version says nothing.
    let silent = [
        marked(scored("db1", None)),
        scored("db2", None),
        scored("db3", Some(0)),
    ];
    assert_eq!(next(&terms, everybody(), silent), Some(node("db3")));
    // What has data goes by those.
    let lags = |name, position, score| Standing {
        position: Some(position),
        ..scored(name, Some(score))
    };
    let rows = [
        unready(marked(scored("db1", Some(0)))),
        lags("db2", 99, 1),
        lags("db3", 95, 100),
    ];
    let record = ended_at(Some(100), &terms, Synchrony::Off);
    let mut leader = leader(&terms);
    for standing in rows {
        leader.handle(Event::Standing(standing), at(1000));
    }
    let begins = leader.handle(Event::Read(stored(&record, 7)), at(1001));
    let next = transaction(begins).expect("a bump");
    let holder = next.record().and_then(LeaseRecord::holder).cloned();
    assert_eq!(holder, Some(member("db2")));
}

#[test]
fn the_first_epoch_goes_to_the_highest_score_too() {
    let terms = of_three();
    let mut leader = leader(&terms);
    leader.handle(Event::Read(Stored::default()), at(1));
    leader.handle(Event::Standing(scored("db1", Some(5))), at(2));
    leader.handle(Event::Standing(scored("db2", Some(50))), at(2));
    let begins = leader.handle(Event::Standing(scored("db3", Some(10))), at(3));
    let begins = transaction(begins).expect("the first epoch takes nothing from anybody");
    let holder = begins.record().and_then(LeaseRecord::holder).cloned();
    assert_eq!(holder, Some(member("db2")));
}
