//! Watches and snapshots through faults.

use std::sync::Arc;

use futures_util::StreamExt;
use interlock_coordinator::store::{Prefix, Revision, Store, Transaction, WatchEvent};

use super::eventually;
use super::server::{Cluster, PATIENCE, Version};
use crate::conformance::{commit, key, next, put};

/// Commits until it is done, through faults.
async fn put_anyway(store: &dyn Store, path: &str, value: &str) {
    eventually("a commit is made", async || {
        let transaction = Transaction::new().put(&key(path), value.as_bytes());
        store.commit(transaction).await.ok()
    })
    .await
    .committed()
    .unwrap();
}

pub(crate) async fn a_watch_goes_on_over_a_killed_member_and_skips_nothing(version: Version) {
    let Some(mut cluster) = Cluster::start(version) else {
        return;
    };
    let store = cluster.open().await.unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    for round in 1..=3_u64 {
        let value = round.to_string();
        put_anyway(&store, "/a", &value).await;
        if round == 1 {
            // Connected, with something told, before the connection breaks.
            assert_eq!(next(&mut watch).await.1, ["/a=1"]);
        }
        cluster.kill(0);
        cluster.restart(0);
    }
    let mut expected = vec!["/a=3", "/a=2"];
    while let Some(value) = expected.pop() {
        let told = tokio::time::timeout(PATIENCE, next(&mut watch)).await;
        assert_eq!(told.unwrap().1, [value]);
    }
}

pub(crate) async fn a_watch_on_a_stopped_member_goes_on_at_another(version: Version) {
    let Some(cluster) = Cluster::with(version, 3, &[]) else {
        return;
    };
    let store = cluster.open().await.unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    put(&store, "/a", "1").await;
    assert_eq!(next(&mut watch).await.1, ["/a=1"]);
    // The one in use. Its connections stay, and nothing comes over them.
    cluster.stop(0);
    put(&store, "/a", "2").await;
    let told = tokio::time::timeout(PATIENCE, next(&mut watch)).await;
    assert_eq!(told.unwrap().1, ["/a=2"]);
    cluster.go_on(0);
}

pub(crate) async fn a_watch_of_what_is_compacted_says_so(version: Version) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let store = cluster.open().await.unwrap();
    let mut following = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    for value in ["1", "2", "3"] {
        put(&store, "/a", value).await;
    }
    for value in ["/a=1", "/a=2", "/a=3"] {
        assert_eq!(next(&mut following).await.1, [value]);
    }
    let mut client = cluster.client(None).await;
    let now = client.get("/", None).await.unwrap();
    let now = now.header().unwrap().revision();
    client.compact(now, None).await.unwrap();

    // Who had been told everything notices nothing.
    put(&store, "/a", "4").await;
    assert_eq!(next(&mut following).await, (4, vec!["/a=4".to_owned()]));
    // Who had not is told, once.
    let mut late = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    let told = late.next().await.unwrap();
    assert_eq!(
        told,
        WatchEvent::Compacted {
            oldest: Revision(3)
        }
    );
    assert!(late.next().await.is_none());
    let mut oldest = store.watch(&Prefix::root(), Revision(3)).await.unwrap();
    assert_eq!(next(&mut oldest).await, (3, vec!["/a=3".to_owned()]));
}

pub(crate) async fn a_watch_that_was_cut_off_over_a_compaction_is_told_when_it_is_taken_up(
    version: Version,
) {
    let Some(mut cluster) = Cluster::start(version) else {
        return;
    };
    let store = cluster.open().await.unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    put(&store, "/a", "1").await;
    assert_eq!(next(&mut watch).await.1, ["/a=1"]);
    // Its connection goes. Nobody waits for the watch meanwhile, so it is taken up only below; etcd then cancels it without
    // an error.
    cluster.kill(0);
    cluster.restart(0);
    for value in ["2", "3"] {
        put_anyway(&store, "/a", value).await;
    }
    let mut client = cluster.client(None).await;
    let now = client.get("/", None).await.unwrap();
    let now = now.header().unwrap().revision();
    client.compact(now, None).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    let oldest = store.revision().await.unwrap();
    let compacted = WatchEvent::Compacted { oldest };
    assert_eq!(told, Some(compacted), "a change is skipped");
    let over = tokio::time::timeout(PATIENCE, watch.next()).await;
    assert_eq!(over.unwrap(), None);
    // What was missed is in a snapshot, and another watch goes on behind it.
    let all = store.snapshot(&Prefix::root()).await.unwrap();
    assert_eq!(&*all.entries[0].value, b"3");
    let mut watch = store
        .watch(&Prefix::root(), all.revision.next())
        .await
        .unwrap();
    put_anyway(&store, "/a", "4").await;
    let told = tokio::time::timeout(PATIENCE, next(&mut watch)).await;
    assert_eq!(told.unwrap().1, ["/a=4"]);
}

pub(crate) async fn a_snapshot_is_of_one_revision_while_others_compact(version: Version) {
    const KEYS: u64 = 350;
    const ROUNDS: u64 = 200;
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let store = Arc::new(cluster.open().await.unwrap());
    let keys = key("/n");
    for first in (0..KEYS).step_by(100) {
        let mut batch = Transaction::new();
        for number in first..KEYS.min(first + 100) {
            batch = batch.put(&keys.indexed(number).unwrap(), *b"0");
        }
        commit(&*store, batch).await;
    }
    let mut client = cluster.client(None).await;
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        let ends = [keys.indexed(0).unwrap(), keys.indexed(KEYS - 1).unwrap()];
        async move {
            for round in 1..=ROUNDS {
                let value = round.to_string().into_bytes();
                let both = Transaction::new()
                    .put(&ends[0], value.clone())
                    .put(&ends[1], value);
                commit(&*store, both).await;
                let now = client.get("/", None).await.unwrap();
                let now = now.header().unwrap().revision();
                if round % 20 == 0 {
                    client.compact(now, None).await.unwrap();
                }
            }
        }
    });
    loop {
        let done = writer.is_finished();
        let all = store.snapshot(&keys.below()).await.unwrap();
        assert_eq!(all.entries.len() as u64, KEYS);
        let (first, last) = (&all.entries[0], &all.entries[all.entries.len() - 1]);
        assert_eq!(first.value, last.value);
        if done {
            break;
        }
    }
    writer.await.unwrap();
}
