//! A leader whose watch ends with a compaction while its store does not answer, over the embedded store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use interlock_coordinator::leadership::{Candidate, Leadership, Sole};
use interlock_coordinator::store::embedded::Embedded;
use interlock_coordinator::store::{
    CommitError, Entry, Error as StoreError, Incarnation, Key, Outcome, Page, PageRequest, Prefix,
    Revision, Snapshot, Store, Transaction, Watch, WatchEvent,
};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

use crate::conformance::key;
use crate::embedded::create;

fn candidate() -> Candidate {
    Candidate {
        coordinator: "mgmt1".to_owned(),
        process: Uuid::new_v4(),
    }
}

/// A store whose first watch is over because of a compaction, and that does not answer for a while then.
#[derive(Debug)]
struct Away {
    inner: Embedded,
    /// How many watches were asked for.
    watches: watch::Sender<u32>,
    /// How many questions go unanswered.
    left: AtomicU32,
}

impl Store for Away {
    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }
    fn revision(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let lower = |left: u32| left.checked_sub(1);
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
        if left.is_err() {
            return self.inner.revision();
        }
        let source = Arc::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let place = "the store".to_owned();
        Box::pin(async { Err(StoreError::Unavailable { place, source }) })
    }
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.inner.get(key)
    }
    fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        page: PageRequest<'a>,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.inner.range(prefix, page)
    }
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        self.inner.snapshot(prefix)
    }
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, CommitError>> {
        self.inner.commit(transaction)
    }
    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        from: Revision,
    ) -> BoxFuture<'a, Result<Watch, StoreError>> {
        self.watches.send_modify(|count| *count += 1);
        if *self.watches.borrow() > 1 {
            return self.inner.watch(prefix, from);
        }
        let over = WatchEvent::Compacted { oldest: from };
        Box::pin(async { Ok(Box::pin(futures_util::stream::iter([over])) as Watch) })
    }
}

#[tokio::test]
async fn a_leader_whose_watch_ended_while_the_store_does_not_answer_still_leads() {
    let directory = TempDir::new().unwrap();
    let inner = create(&directory.path().join("store")).await.unwrap();
    let (watches, left) = (watch::Sender::new(0), AtomicU32::new(2));
    let mut asked = watches.subscribe();
    let store = inner.clone();
    let away = Sole::new(Arc::new(Away {
        inner,
        watches,
        left,
    }));
    let leading = away.campaign(candidate()).await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(30), asked.wait_for(|count| *count > 1));
    again.await.expect("the watch is taken up").unwrap();
    assert!(!leading.is_lost());
    let decision = Transaction::new().when(leading.guard());
    let decided = store.commit(decision.put(&key("/decision"), *b"x")).await;
    decided.unwrap().committed().unwrap();
    // And it is told when it leads no more.
    let next = Sole::new(Arc::new(store)).campaign(candidate()).await;
    leading.lost().await;
    drop(next.unwrap());
}
