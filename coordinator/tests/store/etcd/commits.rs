//! Commits through faults: whatever was said of one is true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_coordinator::store::etcd::{Etcd, Options};
use interlock_coordinator::store::{
    Class, CommitError, Condition, Outcome, Prefix, Revision, Store, Transaction,
};

use super::eventually;
use super::server::{Cluster, Version};
use crate::conformance::{key, put};

/// Tells what became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed(Revision),
    Not,
    Unknown,
}

pub(crate) async fn what_is_said_of_a_commit_is_true_through_stops_and_kills(version: Version) {
    const FAULTS: usize = 3;
    let Some(mut cluster) = Cluster::start(version) else {
        return;
    };
    // The only member cannot renew a lease while it is stopped.
    let options = Options {
        lease: Duration::from_secs(30),
        ..cluster.options()
    };
    let store = Arc::new(Etcd::open(options).await.unwrap());
    let stop = tokio_util::sync::CancellationToken::new();
    let writing = tokio::spawn({
        let (store, stop) = (Arc::clone(&store), stop.clone());
        async move {
            let mut told = BTreeMap::new();
            for number in 0.. {
                if stop.is_cancelled() {
                    break;
                }
                let own = key("/c").indexed(number).unwrap();
                // A second application of the same transaction would show as a conflict.
                let transaction = Transaction::new()
                    .when(Condition::Absent(own.clone()))
                    .put(&own, number.to_string().into_bytes());
                let result = match store.commit(transaction).await {
                    Ok(Outcome::Committed { revision }) => Told::Committed(revision),
                    Ok(Outcome::Conflict(conflict)) => panic!("{conflict}"),
                    Err(CommitError::NotCommitted(error)) => {
                        assert_eq!(error.class(), Class::Retryable, "{error}");
                        Told::Not
                    }
                    Err(CommitError::Unknown(error)) => {
                        assert_eq!(error.class(), Class::Retryable, "{error}");
                        Told::Unknown
                    }
                };
                told.insert(own, result);
            }
            told
        }
    });
    let first = key("/c").indexed(0).unwrap();
    eventually("commits are made", async || {
        store.get(&first).await.unwrap()
    })
    .await;
    for _ in 0..FAULTS {
        cluster.stop(0);
        // Long enough that the store gives up on answers, with commits and their settling in the
        // sockets of the server; short enough that it goes on afterwards.
        tokio::time::sleep(Duration::from_millis(2_600)).await;
        cluster.go_on(0);
        put_one(&*store).await;
        cluster.kill(0);
        cluster.restart(0);
        put_one(&*store).await;
    }
    stop.cancel();
    let told = writing.await.unwrap();
    let all = store.snapshot(&Prefix::new("/c").unwrap()).await.unwrap();
    let found: BTreeMap<_, _> = all
        .entries
        .into_iter()
        .map(|e| (e.key, e.modified))
        .collect();
    for (own, told) in &told {
        match told {
            Told::Committed(revision) => assert_eq!(found.get(own), Some(revision), "{own}"),
            Told::Not => assert_eq!(found.get(own), None, "{own}"),
            Told::Unknown => {}
        }
    }
    assert!(found.keys().all(|own| told.contains_key(own)));
    let unknown = told.values().filter(|told| **told == Told::Unknown).count();
    assert!(
        unknown <= FAULTS * 2,
        "{unknown} of {} were left unknown",
        told.len()
    );
}

/// A commit that is tried until it is made.
async fn put_one(store: &dyn Store) {
    eventually("a commit is made", async || {
        let transaction = Transaction::new().put(&key("/marker"), *b"x");
        store.commit(transaction).await.ok()
    })
    .await
    .committed()
    .unwrap();
}

pub(crate) async fn a_member_that_is_stopped_is_left_for_the_next_one(version: Version) {
    let Some(cluster) = Cluster::with(version, 3, &[]) else {
        return;
    };
    let store = cluster.open().await.unwrap();
    put(&store, "/a", "1").await;
    // One after the other: also the one that leads, and each time the one in use.
    for member in 0..3 {
        cluster.stop(member);
        let value = member.to_string();
        let written = put(&store, "/a", &value).await;
        let read = store.get(&key("/a")).await.unwrap().unwrap();
        assert_eq!((&*read.value, read.modified), (value.as_bytes(), written));
        cluster.go_on(member);
    }
}
