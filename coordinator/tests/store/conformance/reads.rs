//! Reading: single keys, pages, snapshots.

use std::sync::Arc;

use interlock_coordinator::store::{Entry, Key, PageRequest, Prefix, Revision, Store, Transaction};

use super::{commit, key, prefix, put};

pub(crate) async fn an_empty_store_is_at_revision_zero(store: Arc<dyn Store>) {
    assert_eq!(store.revision().await.unwrap(), Revision(0));
    let all = store.snapshot(&Prefix::root()).await.unwrap();
    assert!(all.entries.is_empty());
    assert!(!store.incarnation().0.is_nil());
}

pub(crate) async fn an_absent_key_reads_as_none(store: Arc<dyn Store>) {
    put(&*store, "/a/b", "1").await;
    assert_eq!(store.get(&key("/a")).await.unwrap(), None);
    let entry = store.get(&key("/a/b")).await.unwrap().unwrap();
    assert_eq!((&entry.key, &*entry.value), (&key("/a/b"), &b"1"[..]));
}

pub(crate) async fn a_page_ends_at_its_limit_and_the_next_goes_on_behind_it(store: Arc<dyn Store>) {
    let journal = key("/op/17/j");
    for number in 0..10 {
        put(&*store, journal.indexed(number).unwrap().as_str(), "entry").await;
    }
    put(&*store, "/op/18", "neighbour").await;
    let below = journal.below();
    let mut seen: Vec<Entry> = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let request = PageRequest {
            after: seen.last().map(|entry| &entry.key),
            limit: 4,
        };
        let page = store.range(&below, request).await.unwrap();
        assert_eq!(page.revision, Revision(11));
        sizes.push((page.entries.len(), page.more));
        seen.extend(page.entries);
        if !page.more {
            break;
        }
    }
    assert_eq!(sizes, [(4, true), (4, true), (2, false)]);
    let expected: Vec<Key> = (0..10).map(|n| journal.indexed(n).unwrap()).collect();
    let keys: Vec<Key> = seen.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, expected);

    // A page that is full to the last entry does not promise more.
    let exact = PageRequest {
        after: None,
        limit: 10,
    };
    assert!(!store.range(&below, exact).await.unwrap().more);
    let none = PageRequest {
        after: None,
        limit: 0,
    };
    assert_eq!(store.range(&below, none).await.unwrap().entries.len(), 1);
}

pub(crate) async fn a_prefix_does_not_reach_into_its_neighbours(store: Arc<dyn Store>) {
    for path in [
        "/op/1",
        "/op/1/a",
        "/op/1/b/c",
        "/op/10/a",
        "/op/1-x",
        "/op/2",
    ] {
        put(&*store, path, "").await;
    }
    let page = store.range(&prefix("/op/1"), PageRequest::first()).await;
    let keys: Vec<Key> = page.unwrap().entries.into_iter().map(|e| e.key).collect();
    assert_eq!(keys, [key("/op/1/a"), key("/op/1/b/c")]);
    // A starting key outside of the prefix changes nothing.
    let after_all = PageRequest {
        after: Some(&key("/z")),
        limit: 5,
    };
    let page = store.range(&prefix("/op"), after_all).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (0, false));
    let before_all = PageRequest {
        after: Some(&key("/a")),
        limit: 5,
    };
    let page = store.range(&prefix("/op/1"), before_all).await.unwrap();
    assert_eq!(page.entries.len(), 2);
}

pub(crate) async fn a_page_goes_on_although_its_last_key_was_deleted(store: Arc<dyn Store>) {
    for path in ["/n/a", "/n/b", "/n/c"] {
        put(&*store, path, "").await;
    }
    let first = PageRequest {
        after: None,
        limit: 2,
    };
    let page = store.range(&prefix("/n"), first).await.unwrap();
    let last = page.entries.last().unwrap().key.clone();
    commit(&*store, Transaction::new().delete(&last)).await;
    let rest = PageRequest {
        after: Some(&last),
        limit: 2,
    };
    let page = store.range(&prefix("/n"), rest).await.unwrap();
    assert_eq!(page.entries[0].key, key("/n/c"));
}

pub(crate) async fn a_snapshot_larger_than_a_page_is_of_one_revision(store: Arc<dyn Store>) {
    let many = PageRequest::MAX + 200;
    let values = key("/n");
    let mut batch = Transaction::new();
    for number in 0..many as u64 {
        batch = batch.put(&values.indexed(number).unwrap(), *b"0");
        if batch.writes.len() == 100 {
            commit(&*store, std::mem::take(&mut batch)).await;
        }
    }
    commit(&*store, batch).await;

    // A writer keeps the first and the last key equal; a snapshot never shows them apart.
    let ends = [
        values.indexed(0).unwrap(),
        values.indexed(many as u64 - 1).unwrap(),
    ];
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for round in 1..=50_u64 {
                let value = round.to_string().into_bytes();
                let both = Transaction::new()
                    .put(&ends[0], value.clone())
                    .put(&ends[1], value);
                commit(&*store, both).await;
            }
        }
    });
    loop {
        let done = writer.is_finished();
        let all = store.snapshot(&values.below()).await.unwrap();
        assert_eq!(all.entries.len(), many);
        let (first, last) = (&all.entries[0], &all.entries[many - 1]);
        assert_eq!(first.value, last.value);
        assert!(all.entries.iter().all(|e| e.modified <= all.revision));
        if done {
            break;
        }
    }
    writer.await.unwrap();
}

pub(crate) async fn ten_thousand_keys_are_read_page_by_page_and_in_one_snapshot(
    store: Arc<dyn Store>,
) {
    const KEYS: u64 = 10_000;
    let many = key("/n");
    let value = |number: u64| format!("{number:0>100}").into_bytes();
    for first in (0..KEYS).step_by(100) {
        let mut batch = Transaction::new();
        for number in first..first + 100 {
            batch = batch.put(&many.indexed(number).unwrap(), value(number));
        }
        commit(&*store, batch).await;
    }
    // Neighbours on both sides.
    put(&*store, "/m/z", "before").await;
    put(&*store, "/n0", "behind").await;
    let (below, mut read) = (many.below(), Vec::new());
    loop {
        let request = PageRequest {
            after: read.last().map(|entry: &Entry| &entry.key),
            limit: PageRequest::MAX + 1,
        };
        let page = store.range(&below, request).await.unwrap();
        assert!(page.entries.len() <= PageRequest::MAX);
        read.extend(page.entries);
        if !page.more {
            break;
        }
    }
    let all = store.snapshot(&below).await.unwrap();
    assert_eq!(read, all.entries);
    assert_eq!(all.revision, Revision(KEYS / 100 + 2));
    assert_eq!(all.entries.len() as u64, KEYS);
    for (number, entry) in (0..KEYS).zip(all.entries) {
        assert_eq!(entry.key, many.indexed(number).unwrap());
        assert_eq!(&*entry.value, value(number), "{}", entry.key);
        assert_eq!(entry.modified, Revision(number / 100 + 1), "{}", entry.key);
    }
}
