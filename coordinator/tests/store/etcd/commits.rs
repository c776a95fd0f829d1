//! Commits through faults: whatever was said of one is true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_coordinator::store::etcd::{Etcd, Options};
use interlock_coordinator::store::{
    Class, CommitError, Condition, Key, Outcome, Prefix, Revision, Store, Transaction,
};

use super::eventually;
use super::server::{Cluster, PATIENCE, Version};
use crate::conformance::{key, next, put};

/// Tells what became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed(Revision),
    Not,
    Unknown,
}

/// Makes one commit after the other, each of a key of its own below `/c`, until it is to stop.
async fn write_on(
    store: Arc<Etcd>,
    stop: tokio_util::sync::CancellationToken,
) -> BTreeMap<Key, Told> {
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

/// Is what was told of commits what is found?
fn agree(told: &BTreeMap<Key, Told>, found: &BTreeMap<Key, Revision>) {
    for (own, told) in told {
        match told {
            Told::Committed(revision) => assert_eq!(found.get(own), Some(revision), "{own}"),
            Told::Not => assert_eq!(found.get(own), None, "{own}"),
            Told::Unknown => {}
        }
    }
    assert!(found.keys().all(|own| told.contains_key(own)));
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
    let writing = tokio::spawn(write_on(Arc::clone(&store), stop.clone()));
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
    agree(&told, &found);
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

/// Each member in turn works for a moment, and then does not for longer: once less than the store waits for an answer, once more.
/// The others go on, so there always is a majority.
pub(crate) async fn members_that_are_slow_by_turns_cost_time_and_no_truth(version: Version) {
    const ROUNDS: usize = 6;
    let Some(cluster) = Cluster::with(version, 3, &[]) else {
        return;
    };
    let options = Options {
        lease: Duration::from_secs(30),
        ..cluster.options()
    };
    let store = Arc::new(Etcd::open(options).await.unwrap());
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let writing = tokio::spawn(write_on(Arc::clone(&store), stop.clone()));
    let following = tokio::spawn(async move {
        let mut followed = BTreeMap::new();
        loop {
            let (revision, changes) = next(&mut watch).await;
            for change in changes {
                let (path, _) = change.split_once('=').unwrap();
                if path == "/marker" {
                    return followed;
                }
                let before = followed.insert(key(path), Revision(revision));
                assert_eq!(before, None, "{path} is told twice");
            }
        }
    });
    for round in 0..ROUNDS {
        for silence in [1_200, 2_600] {
            cluster.stop(round % 3);
            tokio::time::sleep(Duration::from_millis(silence)).await;
            cluster.go_on(round % 3);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    stop.cancel();
    let told = writing.await.unwrap();
    put_one(&*store).await;
    let followed = tokio::time::timeout(PATIENCE, following).await;
    let followed = followed.expect("everything is told").unwrap();
    let all = store.snapshot(&Prefix::new("/c").unwrap()).await.unwrap();
    let entries = all.entries.into_iter();
    let found: BTreeMap<_, _> = entries.map(|it| (it.key, it.modified)).collect();
    agree(&told, &found);
    assert_eq!(followed, found, "what is told is what there is");
    let committed = told.values().filter(|it| matches!(it, Told::Committed(_)));
    assert!(committed.count() > ROUNDS, "{told:?}");
}
