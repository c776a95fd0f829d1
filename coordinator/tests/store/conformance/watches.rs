//! Watches: order, no loss, or an honest word about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use interlock_coordinator::store::{
    Change, Entry, Key, Prefix, Revision, Store, Transaction, WatchEvent,
};

use super::{commit, key, next, prefix, put};

pub(crate) async fn a_watch_delivers_past_and_future_changes_once_and_in_order(
    store: Arc<dyn Store>,
) {
    put(&*store, "/a", "1").await;
    put(&*store, "/b", "2").await;
    let mut watch = store.watch(&Prefix::root(), Revision(2)).await.unwrap();
    assert_eq!(next(&mut watch).await, (2, vec!["/b=2".to_owned()]));
    assert!(
        watch.next().now_or_never().is_none(),
        "nothing has happened yet"
    );
    put(&*store, "/a", "3").await;
    commit(&*store, Transaction::new().delete(&key("/b"))).await;
    assert_eq!(next(&mut watch).await, (3, vec!["/a=3".to_owned()]));
    assert_eq!(next(&mut watch).await, (4, vec!["/b gone".to_owned()]));
}

pub(crate) async fn a_watch_sees_only_its_prefix_and_each_transaction_whole(store: Arc<dyn Store>) {
    let mut watch = store.watch(&prefix("/op/1"), Revision(1)).await.unwrap();
    put(&*store, "/op/1", "not below").await;
    put(&*store, "/op/10/a", "neighbour").await;
    let several = Transaction::new()
        .put(&key("/op/1/b"), *b"2")
        .put(&key("/op/2/x"), *b"-")
        .put(&key("/op/1/a"), *b"1");
    commit(&*store, several).await;
    let cleared = Transaction::new().delete_below(&prefix("/op"));
    commit(&*store, cleared).await;
    let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
    let both = texts(["/op/1/a=1", "/op/1/b=2"]);
    assert_eq!(next(&mut watch).await, (3, both));
    let gone = texts(["/op/1/a gone", "/op/1/b gone"]);
    assert_eq!(next(&mut watch).await, (4, gone));
}

pub(crate) async fn a_watch_from_the_future_begins_there(store: Arc<dyn Store>) {
    let mut watch = store.watch(&Prefix::root(), Revision(3)).await.unwrap();
    for number in 1..=4 {
        put(&*store, "/a", &number.to_string()).await;
    }
    assert_eq!(next(&mut watch).await, (3, vec!["/a=3".to_owned()]));
    assert_eq!(next(&mut watch).await, (4, vec!["/a=4".to_owned()]));
}

pub(crate) async fn a_slow_watch_misses_nothing_or_is_told(store: Arc<dyn Store>) {
    // More than a bounded backlog will hold: 40 MiB of values.
    const ROUNDS: u64 = 40;
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    for round in 1..=ROUNDS {
        let value = vec![u8::try_from(round).unwrap(); 1024 * 1024];
        commit(&*store, Transaction::new().put(&key("/large"), value)).await;
    }
    let mut expected = 1;
    while expected <= ROUNDS {
        match watch.next().await.unwrap() {
            WatchEvent::Changed { revision, .. } => {
                assert_eq!(revision, Revision(expected), "skipped in silence");
                expected += 1;
            }
            WatchEvent::Compacted { oldest } => {
                assert!(oldest > Revision(expected) && oldest <= Revision(ROUNDS));
                assert!(watch.next().await.is_none(), "compacted is the last event");
                break;
            }
        }
    }
    // From where the store is now, a new watch works.
    let here = store.revision().await.unwrap().next();
    let mut watch = store.watch(&Prefix::root(), here).await.unwrap();
    put(&*store, "/a", "1").await;
    assert_eq!(next(&mut watch).await, (here.0, vec!["/a=1".to_owned()]));
}

pub(crate) async fn a_snapshot_and_a_watch_from_there_follow_concurrent_writers(
    store: Arc<dyn Store>,
) {
    const WRITERS: u64 = 4;
    const EACH: u64 = 60;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let own = key("/w").indexed(writer).unwrap();
            for round in 0..EACH {
                let at = own.indexed(round % 7).unwrap();
                let transaction = match round % 5 {
                    4 => Transaction::new().delete_below(&own.below()),
                    _ => Transaction::new().put(&at, round.to_string().into_bytes()),
                };
                commit(&*store, transaction).await;
            }
            commit(&*store, Transaction::new().put(&own, *b"done")).await;
        });
    }
    let start = store.snapshot(&Prefix::root()).await.unwrap();
    let mut at = start.revision;
    let mut copy: BTreeMap<Key, Entry> = BTreeMap::new();
    copy.extend(start.entries.into_iter().map(|e| (e.key.clone(), e)));
    let mut watch = store.watch(&Prefix::root(), at.next()).await.unwrap();
    let finished = |copy: &BTreeMap<Key, Entry>| {
        let done = |writer: u64| copy.contains_key(&key("/w").indexed(writer).unwrap());
        (0..WRITERS).all(done)
    };
    while !finished(&copy) {
        match watch.next().await.unwrap() {
            WatchEvent::Changed { revision, changes } => {
                assert_eq!(revision, at.next());
                at = revision;
                for change in changes {
                    match change {
                        Change::Put(entry) => copy.insert(entry.key.clone(), entry),
                        Change::Deleted(key) => copy.remove(&key),
                    };
                }
            }
            compacted @ WatchEvent::Compacted { .. } => panic!("{compacted:?}"),
        }
    }
    writers.join_all().await;
    let end = store.snapshot(&Prefix::root()).await.unwrap();
    assert_eq!(at, end.revision);
    assert_eq!(copy.into_values().collect::<Vec<_>>(), end.entries);
}
