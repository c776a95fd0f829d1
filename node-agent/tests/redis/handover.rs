//! The primary turns, and another one is promoted: no acknowledged write is lost, and never do two take writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use interlock_agent::redis::Role;

use crate::bed::{SOON, pair, say};

/// How long replicas are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_when_the_other_one_takes_over() {
    let Some((one, two)) = pair().await else {
        return;
    };
    let port = one.upstream().port;
    let stop = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&stop);
    let count = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&count);
    // A client that writes as fast as it can, and remembers what was acknowledged.
    let writer = thread::spawn(move || {
        let mut acknowledged = Vec::new();
        let mut number = 0;
        while !ends.load(Ordering::Relaxed) {
            number += 1;
            // It hangs up on who has not seen that it turned.
            let answer = say(port, &format!("SADD rows row-{number}"));
            if answer.is_ok_and(|answer| answer == ":1") {
                acknowledged.push(number);
                counts.store(acknowledged.len(), Ordering::Relaxed);
            }
        }
        acknowledged
    });
    let written = async {
        while count.load(Ordering::Relaxed) <= 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, written).await.unwrap();
    let begun = Instant::now();
    let demoted = one
        .server
        .demote(&[two.upstream()], PATIENCE, SOON)
        .await
        .unwrap();
    println!("turned within {:?}", begun.elapsed());
    assert!(one.say("SADD rows late").starts_with("-READONLY"));
    assert_eq!(demoted.complete, [two.upstream().node]);
    assert!(demoted.was_primary && demoted.run_id == one.facts().await.run_id);
    let data = demoted.data.unwrap();
    assert_eq!(two.facts().await.data().unwrap(), data);
    let promoted = two.server.promote(SOON).await.unwrap();
    assert_eq!(promoted.before, Some((data.line, data.offset)));
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.join().unwrap();
    for number in acknowledged {
        let there = two.say(&format!("SISMEMBER rows row-{number}"));
        assert_eq!(there, ":1", "row-{number} was acknowledged");
    }

    // The former one follows without a copy: it goes on where it was.
    let (own, other) = (one.facts().await, two.facts().await);
    assert!(interlock_agent::redis::Relation::of(&own, &other).is_safe());
    one.server.follow(&two.upstream(), SOON).await.unwrap();
    one.until_linked().await;
    assert_eq!(two.say("INFO stats").matches("sync_full:0").count(), 1);
}

#[tokio::test]
async fn a_primary_turns_although_its_replica_does_not_get_the_last_writes_and_says_so() {
    let Some((one, two)) = pair().await else {
        return;
    };
    two.freeze();
    assert_eq!(one.say("SET a 1"), "+OK");
    let patience = Duration::from_millis(300);
    let demoted = one
        .server
        .demote(&[two.upstream()], patience, SOON)
        .await
        .unwrap();
    two.thaw();
    assert!(demoted.complete.is_empty(), "{demoted:?}");
    assert!(one.say("SET a 2").starts_with("-READONLY"));
    // It goes on with all that it has: it can be the primary again.
    one.server.promote(SOON).await.unwrap();
    assert_eq!(one.say("GET a"), "1");
    assert_eq!(one.say("SET a 2"), "+OK");
}

#[tokio::test]
async fn one_that_is_a_replica_already_was_no_primary() {
    let Some((_one, two)) = pair().await else {
        return;
    };
    let demoted = two.server.demote(&[], PATIENCE, SOON).await.unwrap();
    assert!(demoted.complete.is_empty() && !demoted.was_primary);
    let facts = two.facts().await;
    assert!(matches!(facts.role, Role::Replica(_)), "{facts:?}");
}
