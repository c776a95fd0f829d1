use std::os::unix::fs::PermissionsExt as _;

use interlock_engine::agent::ledger::{Record, Slot, Write};
use interlock_model::ids::{OperationId, Term};
use interlock_model::observation::Wanted;

use super::*;

fn wanted(service: &str) -> Record {
    Record::Wanted {
        service: service.parse().unwrap(),
        wanted: Wanted::Running,
    }
}

#[tokio::test]
async fn what_was_reported_durable_is_there_after_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let (mut recorder, kept) = Recorder::open(&path).unwrap();
    assert!(kept.records.is_empty() && kept.assignment.is_none());
    recorder.commit(
        1,
        vec![Write::Put(Record::Term(Term(3))), Write::Put(wanted("web"))],
    );
    recorder.commit(
        2,
        vec![
            Write::Put(Record::Term(Term(4))),
            Write::Remove(Slot::Wanted("web".parse().unwrap())),
        ],
    );
    recorder.save_assignment(b"{}".to_vec());
    recorder.commit(3, vec![Write::Put(Record::ClosedBelow(OperationId(9)))]);
    while recorder.durable().await < 3 {}
    recorder.close().await;

    let (_, kept) = Recorder::open(&path).unwrap();
    assert_eq!(
        kept.records,
        [Record::ClosedBelow(OperationId(9)), Record::Term(Term(4))]
    );
    assert_eq!(kept.assignment.as_deref(), Some(&b"{}"[..]));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn a_second_agent_is_told_to_use_a_directory_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let (first, _) = Recorder::open(&path).unwrap();
    let error = Recorder::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    first.close().await;
    Recorder::open(&path).unwrap();
}

#[test]
fn a_file_that_is_no_ledger_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    std::fs::write(
        &path,
        "not a database, but long enough to look like the header of one".repeat(200),
    )
    .unwrap();
    let error = Recorder::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("move it away"), "{error}");
}
