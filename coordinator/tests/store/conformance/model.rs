//! Random transactions against a model that is too simple to be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use interlock_coordinator::store::{
    Change, Condition, Entry, Key, Outcome, Prefix, Revision, Store, Transaction, WatchEvent, Write,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use super::{commit, key};

/// Few paths, so that transactions meet; nested, so that subtrees overlap.
const PATHS: [&str; 6] = ["/a", "/a/x", "/a/x/1", "/a/y", "/ab", "/b/x"];

#[derive(Debug, Default)]
struct Model {
    revision: u64,
    entries: BTreeMap<Key, Entry>,
}

impl Model {
    fn commit(&mut self, transaction: &Transaction) -> Result<u64, usize> {
        let mut conditions = transaction.conditions.iter();
        let failed = conditions.position(|condition| !self.holds(condition));
        if let Some(index) = failed {
            return Err(index);
        }
        let before = self.entries.clone();
        let revision = Revision(self.revision + 1);
        for write in &transaction.writes {
            match write {
                Write::Put(key, value) => {
                    let created = before.get(key).map_or(revision, |e| e.created);
                    let (key, value) = (key.clone(), Arc::clone(value));
                    let modified = revision;
                    let entry = Entry {
                        key,
                        value,
                        created,
                        modified,
                    };
                    self.entries.insert(entry.key.clone(), entry);
                }
                Write::Delete(key) => {
                    self.entries.remove(key);
                }
                Write::DeleteBelow(prefix) => self.entries.retain(|key, _| !prefix.contains(key)),
            }
        }
        if self.entries != before {
            self.revision += 1;
        }
        Ok(self.revision)
    }

    fn holds(&self, condition: &Condition) -> bool {
        let entry = self.entries.get(condition.key());
        match condition {
            Condition::Exists(_) => entry.is_some(),
            Condition::Absent(_) => entry.is_none(),
            Condition::ModifiedAt(_, revision) => entry.map(|e| e.modified) == Some(*revision),
            Condition::ValueIs(_, value) => entry.map(|e| &e.value) == Some(value),
        }
    }
}

fn path() -> impl Strategy<Value = Key> {
    prop::sample::select(&PATHS[..]).prop_map(key)
}

fn value() -> impl Strategy<Value = Arc<[u8]>> {
    prop::collection::vec(0..3_u8, 0..2).prop_map(Arc::from)
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        path().prop_map(Condition::Exists),
        path().prop_map(Condition::Absent),
        (path(), 0..12_u64).prop_map(|(key, at)| Condition::ModifiedAt(key, Revision(at))),
        (path(), value()).prop_map(|(key, value)| Condition::ValueIs(key, value)),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (path(), value()).prop_map(|(key, value)| Write::Put(key, value)),
        2 => path().prop_map(Write::Delete),
        1 => path().prop_map(|key| Write::DeleteBelow(key.below())),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let conditions = prop::collection::vec(condition(), 0..2);
    let writes = prop::collection::vec(write(), 0..4);
    (conditions, writes)
        .prop_map(|(conditions, writes)| Transaction { conditions, writes })
        .prop_filter("a legal transaction", |transaction| {
            transaction.check().is_ok()
        })
}

pub(crate) async fn any_sequence_of_transactions_agrees_with_a_naive_model(store: Arc<dyn Store>) {
    let runtime = Handle::current();
    let check = move || {
        let config = Config {
            cases: 64,
            failure_persistence: None,
            ..Config::default()
        };
        let sequences = prop::collection::vec(transaction(), 1..24);
        TestRunner::new(config).run(&sequences, |sequence| {
            runtime.block_on(agree(&*store, sequence));
            Ok(())
        })
    };
    // The runner is not async, and blocks.
    let checked = tokio::task::spawn_blocking(check).await.unwrap();
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// One sequence. The store is emptied first; its revisions go on from where they are.
async fn agree(store: &dyn Store, sequence: Vec<Transaction>) {
    commit(store, Transaction::new().delete_below(&Prefix::root())).await;
    let mut model = Model {
        revision: store.revision().await.unwrap().0,
        ..Model::default()
    };
    let start = Revision(model.revision + 1);
    let mut replayed = BTreeMap::new();
    for transaction in sequence {
        let transaction = shifted(transaction, start);
        let expected = model.commit(&transaction);
        let outcome = match store.commit(transaction.clone()).await.unwrap() {
            Outcome::Committed { revision } => Ok(revision.0),
            Outcome::Conflict(conflict) => {
                let current = model.entries.get(conflict.condition.key());
                assert_eq!(conflict.current.as_ref(), current);
                Err(conflict.index)
            }
        };
        assert_eq!(outcome, expected, "{transaction:?}");
    }
    let all = store.snapshot(&Prefix::root()).await.unwrap();
    assert_eq!(all.revision.0, model.revision);
    let expected: Vec<Entry> = model.entries.values().cloned().collect();
    assert_eq!(all.entries, expected);
    for path in PATHS.map(key) {
        assert_eq!(
            store.get(&path).await.unwrap().as_ref(),
            model.entries.get(&path)
        );
    }

    // The watch tells the same story.
    let mut watch = store.watch(&Prefix::root(), start).await.unwrap();
    for revision in start.0..=model.revision {
        let WatchEvent::Changed {
            revision: found,
            changes,
        } = watch.next().await.unwrap()
        else {
            panic!("compacted");
        };
        assert_eq!(found, Revision(revision));
        for change in changes {
            match change {
                Change::Put(entry) => replayed.insert(entry.key.clone(), entry),
                Change::Deleted(key) => replayed.remove(&key),
            };
        }
    }
    assert_eq!(replayed, model.entries);
}

/// Revisions in conditions count from the start of the sequence, else they would never hold.
fn shifted(mut transaction: Transaction, start: Revision) -> Transaction {
    for condition in &mut transaction.conditions {
        if let Condition::ModifiedAt(_, revision) = condition {
            revision.0 += start.0;
        }
    }
    transaction
}
