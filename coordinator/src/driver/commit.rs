//! One commit at a time, of everything that has queued up.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use interlock_engine::coordinator::{Send, Write};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::Ended;
use super::refused::{NotKept, Refused};
use crate::store::{Class, CommitError, Condition, Key, Outcome, Store, Transaction, limits};

/// How long to wait before a write that failed is tried again.
pub(super) const AGAIN: Duration = Duration::from_millis(500);

/// A commit that takes longer keeps everything waiting.
const SLOW: Duration = Duration::from_secs(1);

/// A write that takes longer is told to people, although it has not failed: more than one server of a store has for an
/// answer, and more than an election of etcd takes.
const SILENT: Duration = Duration::from_secs(3);

/// How many writes go into one transaction: one place is the guard's.
const ROOM: usize = limits::MAX_OPS - 1;

/// How many bytes go into one transaction, with room for what a store adds to them.
const BYTES: usize = limits::MAX_BYTES / 2;

/// What is released when the writes before it are durable.
pub(super) enum After {
    Send(Send),
    /// Told whether what it speaks of was kept.
    Reply(super::handle::Reply),
}

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(send) => f.debug_tuple("Send").field(&send.to).finish(),
            Self::Reply(_) => f.write_str("Reply"),
        }
    }
}

/// Writes that belong together, and what follows them.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) writes: Vec<Write>,
    pub(super) after: Vec<After>,
}

/// A commit under way, and what follows it.
type Busy = (BoxFuture<'static, Result<(), NotKept>>, Vec<After>);

/// What comes of the head of the queue.
#[derive(Debug)]
pub(super) enum Taken {
    /// The queue is empty, or a commit is under way now.
    Nothing,
    /// This is free without any commit.
    Free(Vec<After>),
    /// No store takes this, and nothing of it was begun.
    Refused(Refused, Vec<After>),
}

/// Commits under the guard of the leadership.
pub(super) struct Committer {
    store: Arc<dyn Store>,
    guard: Condition,
    busy: Option<Busy>,
    /// When the last commit was begun.
    began: Instant,
    trouble: Trouble,
}

/// Why the store takes no writes, told to everybody who asks, and to the log once.
#[derive(Debug, Clone)]
pub(super) struct Trouble(watch::Sender<Option<String>>);

impl Trouble {
    /// It takes none for this reason.
    pub(super) fn is(&self, text: String) {
        if self.0.borrow().as_ref() != Some(&text) {
            warn!(error = %text, "the store takes no writes; nothing new begins until it does");
            self.0.send_replace(Some(text));
        }
    }

    /// A write was begun then. That nothing is heard of it is told; that it failed, and why, is said by the store itself.
    pub(super) fn since(&self, began: Instant) {
        if began.elapsed() >= SILENT && !self.is_some() {
            self.is(format!(
                "nothing has been heard of a write for more than {} s: look whether the disk under the store, or the servers of \
                 etcd, still answer; it goes on by itself when they do",
                SILENT.as_secs()
            ));
        }
    }

    /// Does the store take no writes?
    pub(super) fn is_some(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// For who wants to know.
    pub(super) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }

    /// It took one.
    pub(super) fn is_over(&self) {
        if self.0.borrow().is_some() {
            warn!("the store takes writes again");
            self.0.send_replace(None);
        }
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("busy", &self.busy.is_some())
            .finish_non_exhaustive()
    }
}

impl Committer {
    pub(super) fn new(store: Arc<dyn Store>, guard: Condition) -> Self {
        Self {
            store,
            guard,
            busy: None,
            began: Instant::now(),
            trouble: Trouble(watch::Sender::new(None)),
        }
    }

    /// From now on under this guard.
    pub(super) fn guard(&mut self, guard: Condition) {
        self.guard = guard;
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Does the commit under way not come to its end?
    pub(super) fn is_stuck(&self) -> bool {
        self.is_busy() && (self.trouble.is_some() || self.began.elapsed() >= SLOW)
    }

    /// Tells people of a commit of which nothing is heard.
    pub(super) fn tell_of_silence(&self) {
        if self.is_busy() {
            self.trouble.since(self.began);
        }
    }

    /// Why nothing is being written, if nothing is.
    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// What is written to.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Waits for the commit under way. What follows it is then free, if it was kept.
    pub(super) async fn done(&mut self) -> (Result<(), NotKept>, Vec<After>) {
        let Some((commit, _)) = &mut self.busy else {
            return (Ok(()), Vec::new());
        };
        let result = commit.as_mut().await;
        let after = self.busy.take().map(|(_, after)| after).unwrap_or_default();
        (result, after)
    }

    /// Begins a commit of as much of the queue as fits into one transaction.
    pub(super) fn take(&mut self, queue: &mut VecDeque<Pending>) -> Taken {
        if self.busy.is_some() {
            return Taken::Nothing;
        }
        let Some(first) = queue.pop_front() else {
            return Taken::Nothing;
        };
        if first.writes.is_empty() {
            return Taken::Free(first.after);
        }
        // Before anything of it is written: what belongs together is not kept by half.
        if let Some(refused) = first.writes.iter().find_map(|write| self.refuses(write)) {
            return Taken::Refused(refused, first.after);
        }
        let mut writes = first.writes;
        let mut after = first.after;
        let fits = writes.len().min(ROOM).min(within(&writes));
        if fits < writes.len() {
            // More than a store takes at once. The parts stay in order, and what follows them follows the last.
            let rest = writes.split_off(fits);
            queue.push_front(Pending {
                writes: rest,
                after: std::mem::take(&mut after),
            });
        } else {
            while let Some(next) = queue.front() {
                if writes.len() + next.writes.len() > ROOM
                    || bytes(&writes) + bytes(&next.writes) > BYTES
                {
                    break;
                }
                if let Some(next) = queue.pop_front() {
                    writes.extend(next.writes);
                    after.extend(next.after);
                }
            }
        }
        let store = Arc::clone(&self.store);
        let guard = self.guard.clone();
        let trouble = self.trouble.clone();
        let commit = async move { commit(&*store, &guard, writes, &trouble).await };
        self.began = Instant::now();
        self.busy = Some((Box::pin(commit), after));
        Taken::Nothing
    }

    /// Why no transaction takes this write, not even one of its own.
    fn refuses(&self, write: &Write) -> Option<Refused> {
        let alone = transaction(&self.guard, std::slice::from_ref(write)).ok()?;
        let why = alone.check().err()?;
        Some(Refused::new(std::slice::from_ref(write), &why))
    }
}

fn bytes(writes: &[Write]) -> usize {
    writes
        .iter()
        .map(|write| write.key.len() + write.value.as_ref().map_or(0, Vec::len))
        .sum()
}

/// How many of the first writes fit by their size; at least one.
fn within(writes: &[Write]) -> usize {
    let mut sum = 0;
    let fits = writes.iter().take_while(|write| {
        sum += bytes(std::slice::from_ref(*write));
        sum <= BYTES
    });
    fits.count().max(1)
}

fn transaction(
    guard: &Condition,
    writes: &[Write],
) -> Result<Transaction, crate::store::InvalidKey> {
    let mut transaction = Transaction::new().when(guard.clone());
    for write in writes {
        let key = Key::new(&write.key)?;
        transaction = match &write.value {
            Some(value) => transaction.put(&key, value.as_slice()),
            None => transaction.delete(&key),
        };
    }
    Ok(transaction)
}

/// Commits until it is done or cannot be. Repeating is safe even where the outcome is unknown: the writes are values,
/// not changes of values, and the guard keeps a deposed leader out.
async fn commit(
    store: &dyn Store,
    guard: &Condition,
    writes: Vec<Write>,
    trouble: &Trouble,
) -> Result<(), NotKept> {
    // Later writes of one key in one transaction replace earlier ones.
    let last: BTreeMap<String, Write> = writes
        .into_iter()
        .map(|write| (write.key.clone(), write))
        .collect();
    let writes: Vec<Write> = last.into_values().collect();
    let transaction = transaction(guard, &writes).map_err(|key| NotKept::Ended(Ended::Key(key)))?;
    loop {
        match store.commit(transaction.clone()).await {
            Ok(Outcome::Committed { .. }) => {
                trouble.is_over();
                return Ok(());
            }
            Ok(Outcome::Conflict(_)) => return Err(NotKept::Ended(Ended::NotLeading)),
            Err(error) if error.class() == Class::Retryable => {
                trouble.is(super::chain(&error));
                tokio::time::sleep(AGAIN).await;
            }
            // A limit: of every store, or of the servers of this one if theirs are below their defaults.
            Err(CommitError::NotCommitted(
                error @ (crate::store::Error::Invalid(_) | crate::store::Error::Rejected { .. }),
            )) => {
                return Err(NotKept::Refused(Refused::new(&writes, &error)));
            }
            Err(CommitError::NotCommitted(error) | CommitError::Unknown(error)) => {
                return Err(NotKept::Ended(Ended::Store(error)));
            }
        }
    }
}
