//! The primary turns, and another one is promoted: no acknowledged write is lost, and never do two take writes.

use std::error::Error as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use interlock_agent::mariadb::{Relation, Source};
use rustix::process::Signal;

use crate::bed::{Mariadb, SOON, client, pair, refusal};

/// A client that writes as fast as it can, and remembers what was acknowledged.
fn writer(
    port: u16,
    from: u64,
    stop: &Arc<AtomicBool>,
    count: &Arc<AtomicUsize>,
) -> thread::JoinHandle<Vec<u64>> {
    let (ends, counts) = (Arc::clone(stop), Arc::clone(count));
    thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for row in from.. {
            if ends.load(Ordering::Relaxed) {
                break;
            }
            let written = client(port, &format!("INSERT INTO app.t VALUES ({row})")).output();
            if written.unwrap().status.success() {
                acknowledged.push(row);
                counts.store(acknowledged.len(), Ordering::Relaxed);
            }
        }
        acknowledged
    })
}

/// Moves the role from one to the other under a writer; returns what was acknowledged.
async fn moved(from: &Mariadb, to: &Mariadb, first: u64) -> Vec<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let writer = writer(from.port(), first, &stop, &count);
    let written = async {
        while count.load(Ordering::Relaxed) <= 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, written).await.unwrap();
    let begun = Instant::now();
    let demoted = from.server.demote(SOON).await.unwrap();
    println!("turned within {:?}", begun.elapsed());
    assert!(demoted.was_primary);
    let mut late = from.client(&format!("INSERT INTO app.t VALUES ({})", first + 90_000));
    let said = refusal(&late.output().unwrap());
    assert!(said.contains("read-only"), "{said}");
    // It goes on sending: whoever takes over gets the last of it.
    let ended = demoted.facts.position().unwrap();
    let level = |facts: &interlock_agent::mariadb::Facts| facts.position() == Ok(ended);
    to.until("to have all of it", level).await;
    let promoted = to.server.promote(SOON).await.unwrap();
    assert!(
        !promoted.read_only && promoted.sources.is_empty(),
        "{promoted:?}"
    );
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.join().unwrap();
    assert_eq!(
        from.facts().await.position(),
        Ok(ended),
        "nothing was written since"
    );

    // The former one follows without a copy: it goes on where it was.
    let relation = Relation::of(&from.facts().await, &to.facts().await);
    assert!(relation.is_safe(), "{relation:?}");
    from.server.follow(&to.upstream(), SOON).await.unwrap();
    from.until_linked().await;
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_when_the_role_goes_over_and_back() {
    let Some((one, two)) = pair().await else {
        return;
    };
    let there = moved(&one, &two, 1).await;
    let back = moved(&two, &one, 100_000).await;
    two.until_level(&one).await;
    let rows = one.rows();
    assert_eq!(two.rows(), rows);
    let lost: Vec<&u64> = there
        .iter()
        .chain(&back)
        .filter(|row| !rows.contains(row))
        .collect();
    assert!(lost.is_empty(), "acknowledged, and gone: {lost:?}");
}

#[tokio::test]
async fn what_is_open_when_writing_ends_is_undone_and_nothing_of_it_comes_later() {
    let Some((one, _two)) = pair().await else {
        return;
    };
    one.sql("INSERT INTO app.t VALUES (1)");
    let slow =
        |row: u64| format!("BEGIN; INSERT INTO app.t VALUES ({row}); SELECT SLEEP(20); COMMIT");
    let begin = |mut command: std::process::Command| -> Child {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    // Of a user, of whoever may write although it is read-only, and a statement that goes on for longer than anybody waits.
    let mut clients = vec![
        begin(one.client(&slow(10))),
        begin(one.administrator(&slow(11))),
        begin(one.client("INSERT INTO app.t SELECT 12 + SLEEP(20)")),
    ];
    let sessions = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(20)%' AND id <> CONNECTION_ID()";
    let begun = Instant::now();
    while one.sql(sessions).trim() != "3" {
        assert!(begun.elapsed() < SOON, "{}", one.sql("SHOW PROCESSLIST"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = one.facts().await.position().unwrap();
    let demoted = one.server.demote(Duration::from_secs(15)).await.unwrap();
    assert!(demoted.was_primary && demoted.ended >= 3, "{demoted:?}");
    for client in &mut clients {
        assert!(
            !client.wait().unwrap().success(),
            "it was not told that it failed"
        );
    }
    let facts = one.facts().await;
    assert!(facts.read_only);
    assert_eq!(facts.position(), Ok(before));
    assert_eq!(one.rows(), [1]);

    // One that refuses writes already was no primary.
    let again = one.server.demote(SOON).await.unwrap();
    assert!(!again.was_primary);
}

#[tokio::test]
async fn a_promotion_waits_for_what_was_received_and_is_refused_where_that_is_not_applied() {
    let Some((mut one, two)) = pair().await else {
        return;
    };
    // What happens at the source is applied a while later.
    two.sql("STOP SLAVE; CHANGE MASTER TO master_delay=4; START SLAVE");
    two.until_linked().await;
    one.sql("INSERT INTO app.t VALUES (1)");
    one.sql("INSERT INTO app.t VALUES (2)");
    let last = one.facts().await.position().unwrap();
    let received = |source: &Source| {
        source
            .received
            .last_of(0)
            .is_some_and(|it| it.number == last)
    };
    let facts = two
        .until("to have received it", |facts| {
            facts.source().is_some_and(received)
        })
        .await;
    assert!(facts.position().unwrap() < last, "{facts:?}");
    one.end(Signal::KILL);

    two.sql("STOP SLAVE SQL_THREAD");
    let error = two.server.promote(SOON).await.unwrap_err();
    let said = error.source().unwrap().to_string();
    assert!(said.contains("does not apply it"), "{said}");
    assert!(two.facts().await.read_only);

    two.sql("START SLAVE SQL_THREAD");
    let promoted = two.server.promote(SOON).await.unwrap();
    assert!(
        promoted.position().unwrap() >= last && !promoted.read_only,
        "{promoted:?}"
    );
    assert_eq!(two.rows(), [1, 2]);
}
