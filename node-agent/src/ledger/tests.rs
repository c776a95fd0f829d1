use std::os::unix::fs::PermissionsExt as _;

use interlock_engine::agent::ledger::{Record, Slot, Write};
use interlock_model::ids::{OperationId, Term};
use interlock_model::observation::Wanted;

use super::*;

const OWN: &str = "interlock://shop/agent/a";

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
    let (mut recorder, kept) = Recorder::open(&path, OWN).unwrap();
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
    recorder.save(Kind::Assignment, b"{}".to_vec());
    recorder.save(Kind::Claims, b"[]".to_vec());
    recorder.commit(3, vec![Write::Put(Record::ClosedBelow(OperationId(9)))]);
    while recorder.report().await != Report::Durable(3) {}
    recorder.close().await;

    let (_, kept) = Recorder::open(&path, OWN).unwrap();
    assert_eq!(
        kept.records,
        [Record::ClosedBelow(OperationId(9)), Record::Term(Term(4))]
    );
    assert_eq!(kept.assignment.as_deref(), Some(&b"{}"[..]));
    assert_eq!(kept.claims.as_deref(), Some(&b"[]"[..]));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn a_second_agent_is_told_to_use_a_directory_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let (first, _) = Recorder::open(&path, OWN).unwrap();
    let error = Recorder::open(&path, OWN).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    first.close().await;
    Recorder::open(&path, OWN).unwrap();
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
    let error = Recorder::open(&path, OWN).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[test]
fn an_empty_file_is_damage_and_not_a_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    std::fs::write(&path, "").unwrap();
    let error = Recorder::open(&path, OWN).unwrap_err();
    assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("is empty") && text.contains("move it away"),
        "{text}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "left as it was");
}

#[tokio::test]
async fn what_a_crash_left_of_a_ledger_that_was_being_made_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    std::fs::write(dir.path().join("ledger.redb.new"), "half of").unwrap();
    let (recorder, kept) = Recorder::open(&path, OWN).unwrap();
    assert!(kept.records.is_empty());
    recorder.close().await;
    let names = std::fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["ledger.redb"]);
}

#[tokio::test]
async fn the_ledger_of_another_agent_is_refused_also_where_nothing_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let (recorder, _) = Recorder::open(&path, OWN).unwrap();
    recorder.close().await;
    for other in ["interlock://shop/agent/b", "interlock://other/agent/a"] {
        let error = Recorder::open(&path, other).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, OpenError::Foreign { .. })
                && text.contains(OWN)
                && text.contains(other),
            "{text}"
        );
    }
    let (recorder, _) = Recorder::open(&path, OWN).unwrap();
    recorder.close().await;
}

#[tokio::test]
async fn a_ledger_of_an_earlier_version_becomes_that_of_the_agent_that_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let (recorder, _) = Recorder::open(&path, OWN).unwrap();
    recorder.close().await;
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let owner: redb::TableDefinition<'_, &str, &str> = redb::TableDefinition::new("owner");
    assert!(transaction.delete_table(owner).unwrap());
    transaction.commit().unwrap();
    drop(database);

    let (mut recorder, _) = Recorder::open(&path, OWN).unwrap();
    recorder.commit(1, vec![Write::Put(Record::Term(Term(3)))]);
    assert_eq!(recorder.report().await, Report::Durable(1));
    recorder.close().await;
    let error = Recorder::open(&path, "interlock://shop/agent/b").unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

/// What is in the place of a ledger that is written by an agent which does not end.
#[tokio::test]
async fn a_ledger_that_was_emptied_or_replaced_is_not_written_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let aside = dir.path().join("aside");
    let other = dir.path().join("other.redb");
    let (recorder, _) = Recorder::open(&other, "interlock://shop/agent/b").unwrap();
    recorder.close().await;
    let (mut recorder, _) = Recorder::open(&path, OWN).unwrap();
    let mut number = 0;
    for (what, told) in [
        ("taken away", "was taken away or replaced"),
        ("another's", "was taken away or replaced"),
        ("a copy", "was taken away or replaced"),
    ] {
        std::fs::rename(&path, &aside).unwrap();
        match what {
            "another's" => drop(std::fs::copy(&other, &path).unwrap()),
            "a copy" => drop(std::fs::copy(&aside, &path).unwrap()),
            _ => {}
        }
        let was = std::fs::read(&path).ok();
        number += 1;
        recorder.commit(number, fat(number));
        let Report::Refused(why) = recorder.report().await else {
            panic!("{what}: it was written")
        };
        assert!(
            why.contains(told) && why.contains("Put the agent's own file back"),
            "{why}"
        );
        assert_eq!(std::fs::read(&path).ok(), was, "{what}: left as it was");
        std::fs::rename(&aside, &path).unwrap();
        number += 1;
        recorder.commit_again(number, fat(number));
        assert_eq!(recorder.report().await, Report::Durable(number), "{what}");
    }
    std::fs::write(&path, "").unwrap();
    recorder.commit(number + 1, fat(number + 1));
    let Report::Refused(why) = recorder.report().await else {
        panic!("it was written")
    };
    assert!(why.contains("is empty"), "{why}");
}

/// A small file system, mounted in a directory. Unmounted at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .arg(dir.path())
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            crate::skip::skip(
                "a ledger on a full disk",
                "cannot mount a tmpfs (needs root)",
            );
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

/// Writes until the disk refuses; returns the last batch that was durable.
async fn fill(recorder: &mut Recorder) -> u64 {
    let mut last = 0;
    for number in 1..=10_000 {
        recorder.commit(number, fat(number));
        match recorder.report().await {
            Report::Durable(durable) => last = durable,
            Report::Refused(why) => {
                assert!(why.contains("No space left"), "{why}");
                return last;
            }
        }
    }
    panic!("the disk does not get full")
}

/// A record that takes room, in a slot of its own.
fn fat(number: u64) -> Vec<Write> {
    vec![Write::Put(Record::Wanted {
        service: format!("{number}-{}", "x".repeat(50)).parse().unwrap(),
        wanted: Wanted::Running,
    })]
}

#[tokio::test]
async fn a_full_disk_is_told_nothing_of_a_refused_batch_is_written_and_with_room_it_goes_on() {
    let Some(small) = Small::mount() else {
        return;
    };
    let path = small.0.path().join("ledger.redb");
    let (mut recorder, _) = Recorder::open(&path, OWN).unwrap();
    // As much as is left beside the file as it is now.
    let filler = small.0.path().join("filler");
    std::fs::write(&filler, vec![0; 4 << 20]).unwrap_err();
    let durable = fill(&mut recorder).await;
    // Sent before the ledger knows: not to be written, for it may rely on what was refused.
    recorder.commit(20_000, fat(20_000));
    recorder.save(Kind::Assignment, b"{}".to_vec());
    recorder.save(Kind::Claims, b"[]".to_vec());
    recorder.commit_again(20_001, fat(20_001));
    assert!(matches!(recorder.report().await, Report::Refused(_)));
    std::fs::remove_file(&filler).unwrap();
    recorder.commit_again(20_002, fat(20_002));
    recorder.commit(20_003, fat(20_003));
    while recorder.report().await != Report::Durable(20_003) {}
    recorder.close().await;

    let (recorder, kept) = Recorder::open(&path, OWN).unwrap();
    let mut expected: Vec<Record> = (1..=durable)
        .chain([20_002, 20_003])
        .flat_map(fat)
        .filter_map(|write| match write {
            Write::Put(record) => Some(record),
            Write::Remove(_) => None,
        })
        .collect();
    expected.sort_by_key(|record| serde_json::to_string(&record.slot()).unwrap());
    assert_eq!(kept.records, expected);
    assert_eq!(kept.assignment.as_deref(), Some(&b"{}"[..]));
    assert_eq!(kept.claims.as_deref(), Some(&b"[]"[..]));
    recorder.close().await;

    // An agent that is restarted on a full disk knows what it knew, and says at the first write that there is no room.
    std::fs::write(&filler, vec![0; 4 << 20]).unwrap_err();
    let (mut recorder, again) = Recorder::open(&path, OWN).unwrap();
    assert_eq!(again.records, kept.records);
    fill(&mut recorder).await;
}
