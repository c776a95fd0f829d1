//! What a start reads is what is taken along to another store.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use interlock_engine::coordinator::Loaded;

use super::tests::Bench;
use super::*;
use crate::leases::{LEASES, WHY};
use crate::services::PORTABLE;
use crate::store::{
    CommitError, Entry, Error, Incarnation, Key, Outcome, Page, PageRequest, Prefix, Revision,
    Snapshot, Transaction, Watch,
};

/// A store that notes what is read of it.
#[derive(Debug)]
struct Noted {
    inner: Arc<dyn Store>,
    read: Mutex<BTreeSet<String>>,
}

impl Noted {
    fn note(&self, what: &str) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(what.trim_end_matches('/').to_owned());
    }
}

impl Store for Noted {
    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.inner.revision()
    }
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        self.note(key.as_str());
        self.inner.get(key)
    }
    fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        page: PageRequest<'a>,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        self.note(prefix.as_str());
        self.inner.range(prefix, page)
    }
    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, Error>> {
        self.note(prefix.as_str());
        self.inner.snapshot(prefix)
    }
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, CommitError>> {
        self.inner.commit(transaction)
    }
    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        from: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        self.note(prefix.as_str());
        self.inner.watch(prefix, from)
    }
}

#[tokio::test]
async fn whatever_a_start_reads_is_taken_along_to_another_store() {
    let bench = Bench::new().await;
    // An operation that is not over is read to its last entry.
    bench.starts().await;
    let noted = Noted {
        inner: Arc::<super::tests::Filled>::clone(&bench.store),
        read: Mutex::default(),
    };
    let loaded: Loaded = load(&noted).await.unwrap();
    assert_eq!(loaded.operations.len(), 1);
    let read = noted.read.into_inner().unwrap();
    let carried = |read: &str, portable: &str| {
        let below = read.strip_prefix(portable);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for read in &read {
        let is_carried = PORTABLE.iter().any(|portable| carried(read, portable));
        assert!(is_carried, "{read} is read at a start, and stays behind");
    }
    // And what is taken along and not read here is read by those who keep leases.
    for portable in PORTABLE {
        let is_read = read.iter().any(|read| carried(read, portable));
        let of_leases = [LEASES, WHY].contains(portable);
        assert!(is_read != of_leases, "{portable}: {read:?}");
    }
}
