//! One story per rule.

use std::time::Duration;

use interlock_model::action::{Command, ShutdownBy};
use interlock_model::attempt::AttemptState;
use interlock_model::ids::{OperationId, Term};
use interlock_model::observation::Wanted;

use super::testing::{Node, ask, dispatch, executes, finished, id, start, stop};
use super::*;

#[test]
fn nothing_is_answered_or_begun_before_it_is_durable() {
    let mut node = Node::new();
    let now = node.now();
    let effects = node.ledger.handle(dispatch(1, id(1, "s", 1), start()), now);
    let [Effect::Commit { batch, writes }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    for slot in [
        Slot::Term,
        Slot::Wanted("web".parse().unwrap()),
        Slot::Entry(id(1, "s", 1)),
    ] {
        let written = |write: &Write| matches!(write, Write::Put(record) if record.slot() == slot);
        assert!(writes.iter().any(written), "{slot:?}");
    }
    let now = node.now();
    let later = node.ledger.handle(Event::Query(ask(1, id(1, "s", 1))), now);
    assert_eq!(
        later,
        [],
        "an answer that speaks of what is not durable waits too"
    );
    let released = node.ledger.committed(*batch);
    assert!(
        matches!(
            released.as_slice(),
            [
                Effect::Reply { .. },
                Effect::Execute { .. },
                Effect::Reply { .. }
            ]
        ),
        "{released:?}"
    );
}

#[test]
fn a_repeated_attempt_is_answered_from_memory_even_after_a_restart() {
    let mut node = Node::new();
    assert_eq!(executes(&node.tell(dispatch(1, id(1, "s", 1), start()))), 1);
    let again = node.tell(dispatch(1, id(1, "s", 1), start()));
    assert!(
        matches!(again.as_slice(), [Effect::Reply { report, .. }] if report.state == AttemptState::Accepted)
    );
    node.tell(finished(id(1, "s", 1)));
    node.restart();
    let again = node.tell(dispatch(2, id(1, "s", 1), start()));
    assert!(
        matches!(again.as_slice(), [Effect::Reply { report, .. }]
            if report.state == AttemptState::Done && report.evidence == "running since 12:00"),
        "{again:?}"
    );
}

#[test]
fn an_older_term_is_refused_also_after_a_restart_and_changes_nothing() {
    let mut node = Node::new();
    node.tell(dispatch(5, id(1, "s", 1), start()));
    node.restart();
    let refused = node.ask(dispatch(4, id(1, "t", 1), stop()));
    assert_eq!(refused.state, AttemptState::Refused);
    assert!(
        refused.evidence.contains("term 4") && refused.evidence.contains("term 5"),
        "{}",
        refused.evidence
    );
    assert_eq!(
        node.ledger.wanted(&"web".parse().unwrap()),
        Some(Wanted::Running)
    );
    assert_eq!(
        node.tell(Event::Cancel(ask(4, id(1, "s", 1)))).len(),
        1,
        "answered, and nothing killed"
    );
    node.tell(Event::CloseOperations {
        term: Term(4),
        below: OperationId(9),
    });
    assert_eq!(node.ledger.closed_below(), OperationId(1));
    let open = node.ask(Event::Query(ask(4, id(1, "s", 1))));
    assert_eq!(
        open.state,
        AttemptState::Accepted,
        "never told that it was not begun"
    );
}

#[test]
fn a_query_closes_what_was_never_seen() {
    let mut node = Node::new();
    assert_eq!(
        node.ask(Event::Query(ask(2, id(1, "s", 1)))).state,
        AttemptState::NeverSeen
    );
    node.restart();
    let late = node.tell(dispatch(2, id(1, "s", 1), start()));
    assert_eq!(executes(&late), 0);
    assert_eq!(
        node.ledger.term(),
        Term(2),
        "the term of a query is remembered"
    );
    assert_eq!(
        executes(&node.tell(dispatch(2, id(1, "s", 2), start()))),
        1,
        "the next attempt is not closed"
    );
}

#[test]
fn an_attempt_closes_the_lower_ones_of_its_step_and_of_no_other() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(1, "s", 2), start()));
    node.tell(finished(id(1, "s", 2)));
    assert_eq!(
        node.ask(dispatch(1, id(1, "s", 1), start())).state,
        AttemptState::Refused
    );
    assert_eq!(
        executes(&node.tell(dispatch(1, id(1, "s1", 1), start()))),
        1
    );
}

#[test]
fn what_is_below_the_closed_mark_is_forgotten_and_refused() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(3, "s", 1), start()));
    node.tell(finished(id(3, "s", 1)));
    node.tell(Event::CloseOperations {
        term: Term(1),
        below: OperationId(4),
    });
    node.restart();
    assert_eq!(node.greeting().attempts, []);
    assert_eq!(
        node.ask(dispatch(1, id(3, "s", 1), start())).state,
        AttemptState::Refused
    );
    assert_eq!(
        node.ask(Event::Query(ask(1, id(3, "s", 1)))).state,
        AttemptState::Unknown
    );
    assert_eq!(node.ledger.highest_operation(), OperationId(3));
}

#[test]
fn an_attempt_that_outlives_its_operation_is_told_and_then_history() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(3, "s", 1), start()));
    node.tell(Event::CloseOperations {
        term: Term(1),
        below: OperationId(4),
    });
    assert!(
        node.ledger
            .open_on_instance(&"web".parse().unwrap())
            .is_some()
    );
    assert_eq!(node.ask(finished(id(3, "s", 1))).state, AttemptState::Done);
    assert!(node.ledger.entry(&id(3, "s", 1)).is_none());
    assert_eq!(node.ledger.entries().count(), 1);
}

#[test]
fn what_closed_operations_came_to_is_told_to_people_and_decides_nothing() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(3, "s", 1), start()));
    node.tell(finished(id(3, "s", 1)));
    node.tell(Event::CloseOperations {
        term: Term(1),
        below: OperationId(4),
    });
    node.restart();
    let told: Vec<_> = node.ledger.entries().map(|entry| entry.state).collect();
    assert_eq!(told, [AttemptState::Done]);
    assert_eq!(
        node.ask(dispatch(1, id(3, "s", 1), start())).state,
        AttemptState::Refused,
        "its operation is over"
    );
}

#[test]
fn the_history_is_bounded_also_on_the_disk() {
    let mut node = Node::new();
    let count = MAX_HISTORY as u64 + 10;
    for operation in 1..=count {
        node.tell(dispatch(1, id(operation, "s", 1), start()));
        node.tell(finished(id(operation, "s", 1)));
        node.tell(Event::CloseOperations {
            term: Term(1),
            below: OperationId(operation + 1),
        });
    }
    node.restart();
    let kept: Vec<_> = node
        .ledger
        .entries()
        .map(|entry| entry.id.operation)
        .collect();
    assert_eq!(kept.len(), MAX_HISTORY);
    assert_eq!(kept.last(), Some(&OperationId(count)));
}

#[test]
fn a_second_attempt_on_an_instance_is_refused_for_good_while_the_first_is_open() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(1, "s", 1), start()));
    let refused = node.ask(dispatch(1, id(2, "t", 1), stop()));
    assert_eq!(refused.state, AttemptState::Refused);
    assert!(
        refused.evidence.contains("op-1 s #1"),
        "{}",
        refused.evidence
    );
    assert_eq!(
        node.ledger.wanted(&"web".parse().unwrap()),
        Some(Wanted::Running)
    );
    let machine = dispatch(
        1,
        id(2, "off", 1),
        Command::Shutdown {
            by: ShutdownBy::Agent,
        },
    );
    assert_eq!(executes(&node.tell(machine)), 1, "another target");
    node.tell(finished(id(1, "s", 1)));
    assert_eq!(
        node.ask(dispatch(1, id(2, "t", 1), stop())).state,
        AttemptState::Refused,
        "its outcome is durable"
    );
    assert_eq!(executes(&node.tell(dispatch(1, id(2, "t", 2), stop()))), 1);
}

#[test]
fn what_the_allow_list_denies_is_refused_recorded_and_not_wanted() {
    let mut node = Node::new();
    let permit = Permit::Denied("add `processes = [\"web\"]`".into());
    let event = Event::Dispatch {
        ask: ask(1, id(1, "s", 1)),
        command: start(),
        limit: Duration::ZERO,
        permit,
    };
    let refused = node.ask(event);
    assert_eq!(
        (refused.state, refused.evidence.as_str()),
        (AttemptState::Refused, "add `processes = [\"web\"]`")
    );
    node.restart();
    let recorded: Vec<_> = node
        .ledger
        .refusals()
        .map(|refusal| (refusal.what.as_str(), refusal.term))
        .collect();
    assert_eq!(recorded, [("start web", Term(1))]);
    assert_eq!(node.ledger.wanted(&"web".parse().unwrap()), None);
}

#[test]
fn the_oldest_refusals_go_and_the_rest_survive_a_restart_in_order() {
    let mut node = Node::new();
    node.tell(Event::Heard {
        term: Term(9),
        incarnation: Some("store-a".into()),
    });
    for n in 0..300 {
        node.tell(dispatch(1, id(1, &format!("s{n}"), 1), start()));
    }
    node.restart();
    let numbers: Vec<u64> = node
        .ledger
        .refusals()
        .map(|refusal| refusal.number)
        .collect();
    assert_eq!(numbers, (45..=300).collect::<Vec<_>>());
    assert_eq!(
        node.disk
            .keys()
            .filter(|slot| matches!(slot, Slot::Refusal(_)))
            .count(),
        MAX_REFUSALS
    );
    assert_eq!(node.ledger.incarnation(), Some("store-a"));
}

#[test]
fn a_cancel_kills_what_is_open_and_closes_what_never_was() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(1, "s", 1), start()));
    assert_eq!(
        node.tell(Event::Cancel(ask(1, id(1, "s", 1)))),
        [Effect::Kill(id(1, "s", 1))]
    );
    let outcome = Outcome::failed("cancelled; nothing of it is left");
    assert_eq!(
        node.ask(Event::Finished {
            id: id(1, "s", 1),
            outcome
        })
        .state,
        AttemptState::Failed
    );
    assert_eq!(
        node.ask(Event::Cancel(ask(1, id(1, "s", 1)))).state,
        AttemptState::Failed
    );
    assert_eq!(
        node.ask(Event::Cancel(ask(1, id(1, "t", 1)))).state,
        AttemptState::NeverSeen
    );
    assert_eq!(executes(&node.tell(dispatch(1, id(1, "t", 1), start()))), 0);
}

#[test]
fn an_outcome_never_changes() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(1, "s", 1), stop()));
    let down = Event::GoingDown {
        id: id(1, "s", 1),
        evidence: "SIGTERM sent".into(),
    };
    assert_eq!(node.ask(down.clone()).state, AttemptState::GoingDown);
    node.tell(finished(id(1, "s", 1)));
    assert_eq!(node.tell(down), []);
    assert_eq!(
        node.tell(Event::Finished {
            id: id(1, "s", 1),
            outcome: Outcome::failed("late")
        }),
        []
    );
    assert_eq!(
        node.ledger.entry(&id(1, "s", 1)).unwrap().state,
        AttemptState::Done
    );
}

#[test]
fn after_a_restart_an_open_attempt_waits_for_what_became_of_it() {
    let mut node = Node::new();
    node.tell(dispatch(1, id(1, "s", 1), start()));
    node.restart();
    let open: Vec<_> = node.ledger.open().map(|entry| entry.id.clone()).collect();
    assert_eq!(open, [id(1, "s", 1)]);
    assert_eq!(
        node.ask(dispatch(1, id(2, "t", 1), stop())).state,
        AttemptState::Refused
    );
    let outcome = Outcome::Unknown {
        evidence: "not known".into(),
        repeatable: true,
    };
    let report = node.ask(Event::Finished {
        id: id(1, "s", 1),
        outcome,
    });
    assert!(report.state == AttemptState::Unknown && report.repeatable);
}

#[test]
fn an_act_by_hand_is_recorded_with_who_and_why_and_belongs_to_no_operation() {
    let mut node = Node::new();
    let act = |permit| ByHand {
        who: "operator anna (operator)".into(),
        why: "disk replaced".into(),
        command: start(),
        limit: Duration::from_secs(30),
        permit,
    };
    let now = node.now();
    let (denied, effects) = node
        .ledger
        .by_hand(act(Permit::Denied("exclusive".into())), now);
    assert_eq!(denied, Err(Obstacle::Denied("exclusive".into())));
    node.settle(effects);
    let (accepted, effects) = node.ledger.by_hand(act(Permit::Granted), now);
    let effects = node.settle(effects);
    assert_eq!(executes(&effects), 1);
    let (busy, effects) = node.ledger.by_hand(act(Permit::Granted), now);
    assert!(
        matches!(&busy, Err(Obstacle::ByHand(whose)) if whose.contains("anna")),
        "{busy:?}"
    );
    node.settle(effects);
    node.tell(finished(accepted.unwrap()));
    node.tell(Event::CloseOperations {
        term: Term(1),
        below: OperationId(7),
    });
    node.restart();
    let lines: Vec<_> = node.ledger.entries().map(Entry::line).collect();
    assert_eq!(
        lines,
        ["start web by operator anna (operator) (disk replaced)"]
    );
    assert_eq!(node.greeting().attempts, []);
    assert_eq!(node.ledger.refusals().count(), 2);
    assert_eq!(
        node.ledger.wanted(&"web".parse().unwrap()),
        None,
        "only operations say what is wanted"
    );
}
