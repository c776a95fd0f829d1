//! The coordinator's store: what a commit costs here, and what an operation wrote.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use interlock_coordinator::store::embedded::{Embedded, IfMissing, Options};
use interlock_coordinator::store::{Key, Prefix, Store as _, Transaction};

/// A store for the floor: each commit is one small record.
#[derive(Debug)]
pub(super) struct Floor {
    store: Embedded,
    number: u64,
}

/// Bytes of a record: about those of a journal entry.
const RECORD: usize = 200;

impl Floor {
    pub(super) async fn open(path: PathBuf) -> Result<Self> {
        let if_missing = IfMissing::Create;
        let store = Embedded::open(Options { path, if_missing }).await?;
        Ok(Self { store, number: 0 })
    }

    /// One durable commit.
    pub(super) async fn commit(&mut self) -> Result<Duration> {
        let key = Key::new("/floor")?.indexed(self.number)?;
        self.number += 1;
        let transaction = Transaction::new().put(&key, [7; RECORD]);
        let begin = Instant::now();
        self.store.commit(transaction).await?.committed()?;
        Ok(begin.elapsed())
    }
}

/// What an operation wrote.
#[derive(Debug)]
pub(super) struct Written {
    /// Transactions from its first to its last.
    pub(super) transactions: usize,
    /// Records of its plan, journal and head, and events.
    pub(super) records: usize,
    /// Entries of its journal.
    pub(super) entries: usize,
    /// Bytes of its journal.
    pub(super) bytes: usize,
}

/// Reads what the operation with this number wrote into a store that nobody has open.
pub(super) async fn written(store: &Path, operation: u64) -> Result<Written> {
    let options = Options {
        path: store.to_owned(),
        if_missing: IfMissing::Refuse,
    };
    let store = Embedded::open(options).await?;
    let all = store
        .snapshot(&Prefix::new(format!("/operation/{operation:012}"))?)
        .await?
        .entries;
    let events = store.snapshot(&Prefix::new("/event")?).await?.entries;
    store.close().await;
    let first = all
        .iter()
        .map(|entry| entry.created)
        .min()
        .context("there is no such operation")?;
    let last = all
        .iter()
        .map(|entry| entry.modified)
        .max()
        .unwrap_or(first);
    let events = events
        .iter()
        .filter(|event| (first..=last).contains(&event.modified));
    let events: Vec<_> = events.collect();
    let revisions: BTreeSet<_> = all
        .iter()
        .chain(events.iter().copied())
        .map(|entry| entry.modified)
        .collect();
    let mut entries = 0;
    let mut bytes = 0;
    for batch in all
        .iter()
        .filter(|entry| entry.key.as_str().contains("/journal/"))
    {
        entries += serde_json::from_slice::<Vec<serde_json::Value>>(&batch.value)?.len();
        bytes += batch.value.len();
    }
    Ok(Written {
        transactions: revisions.len(),
        records: all.len() + events.len(),
        entries,
        bytes,
    })
}
