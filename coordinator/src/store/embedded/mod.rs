//! The embedded store: one file, one process.
//!
//! For one coordinator without etcd. The file is a redb database that one thread writes; all
//! entries are also in memory, where they are read.
//!
//! ```text
//!  get, range, snapshot, watch ──────────────► state (memory)
//!                                                ▲ publish, after fsync
//!  commit ──► bounded queue ──► writer thread ───┤
//!                                groups, decides └► engine ──► redb ──► file (0600, locked)
//! ```
//!
//! * A commit is durable (fsync) before it is answered and before a read or a watch shows it.
//! * A read waits for no disk and works while the disk is full or broken; writing resumes by
//!   itself (`engine` says how, and what it may say of a commit that failed).
//! * One process has the file; the lock ends with the process, however it ends.
//! * A file that is not a sound store is refused, never replaced by an empty one.
//!
//! Limits: the live data must fit in memory, and a transaction in redb's cache.

mod database;
mod engine;
#[cfg(test)]
mod faults;
mod file;
mod holder;
mod medium;
mod open_error;
mod state;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{
    CommitError, Entry, Error, Incarnation, Key, Outcome, Page, PageRequest, Prefix, Revision,
    Snapshot, Store, Transaction, Watch, WatchEvent,
};
use engine::Engine;
use medium::DiskFile;
use state::State;
use writer::{Request, Writer};

pub use open_error::OpenError;

/// What to open.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file. Its directory must exist.
    pub path: PathBuf,
    /// What to do if there is no file.
    pub if_missing: IfMissing,
}

/// What to do if the store's file does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Make an empty store with a new incarnation.
    Create,
    /// Fail: a store is expected, and its absence is worth a person's attention.
    Refuse,
}

/// A handle to an open store. Clones share it; the file is closed when the last one is dropped or
/// one is [closed](Self::close).
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    place: String,
    incarnation: Incarnation,
    state: Arc<RwLock<State>>,
    head: watch::Receiver<Revision>,
    requests: mpsc::Sender<Request>,
}

impl Embedded {
    /// Opens the store, or makes it if that is wanted.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let (opened, opening) = oneshot::channel();
        let spawned = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(&options, opened));
        if let Err(error) = spawned {
            return Err(file::refused(&path, error));
        }
        opening.await.unwrap_or_else(|_| {
            let gone = std::io::Error::other("the store's thread ended while opening it");
            Err(file::refused(&path, gone))
        })
    }

    /// Ends the store after all commits that were begun before; returns when the file is closed
    /// and unlocked. Every handle then answers [`Error::Closed`], and watches end.
    pub async fn close(&self) {
        let (closed, closing) = oneshot::channel();
        if self.0.requests.send(Request::Close(closed)).await.is_ok() {
            // An error means that the thread ended before: closed as well.
            let _ = closing.await;
        }
    }

    /// The state for reading, unless the store is closed.
    fn read(&self) -> Result<RwLockReadGuard<'_, State>, Error> {
        // The head's sender lives as long as the writer does.
        if self.0.head.has_changed().is_err() {
            return Err(self.0.closed());
        }
        Ok(self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn closed(&self) -> Error {
        let place = self.place.clone();
        Error::Closed { place }
    }
}

/// The body of the store's thread.
fn serve(options: &Options, opened: oneshot::Sender<Result<Embedded, OpenError>>) {
    let (engine, state) = match open(options) {
        Ok(parts) => parts,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let (head, watched) = watch::channel(state.revision());
    let (sender, requests) = mpsc::channel(writer::QUEUE);
    let state = Arc::new(RwLock::new(state));
    let handle = Embedded(Arc::new(Inner {
        place: format!("the store {}", options.path.display()),
        incarnation: engine.incarnation(),
        state: Arc::clone(&state),
        head: watched,
        requests: sender,
    }));
    if opened.send(Ok(handle)).is_ok() {
        let writer = Writer {
            engine,
            state: &state,
            head,
            requests,
        };
        writer.run();
    }
}

fn open(options: &Options) -> Result<(Engine<DiskFile>, State), OpenError> {
    let path = &options.path;
    match file::find(path, options.if_missing)? {
        file::Found::Existing(file) => {
            let medium = DiskFile::new(file);
            let parts = Engine::open(medium.clone(), path)?;
            file::make_private(path, medium.file())?;
            Ok(parts)
        }
        file::Found::Draft(file, draft) => {
            let medium = DiskFile::new(file);
            let incarnation = Incarnation(Uuid::new_v4());
            let parts = Engine::create(medium.clone(), path, incarnation)?;
            draft.publish(medium.file())?;
            Ok(parts)
        }
    }
}

impl Store for Embedded {
    fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(async { Ok(self.read()?.revision()) })
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async { Ok(self.read()?.get(key)) })
    }

    fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        page: PageRequest<'a>,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { Ok(self.read()?.page(prefix, &page)) })
    }

    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, Error>> {
        Box::pin(async { Ok(self.read()?.snapshot(prefix)) })
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, CommitError>> {
        Box::pin(async {
            transaction
                .check()
                .map_err(|invalid| CommitError::NotCommitted(Error::Invalid(invalid)))?;
            let (answer, answered) = oneshot::channel();
            let request = Request::Commit(transaction, answer);
            if self.0.requests.send(request).await.is_err() {
                return Err(CommitError::NotCommitted(self.0.closed()));
            }
            // Without an answer the thread ended somewhere in between.
            let lost = |_| Err(CommitError::Unknown(self.0.closed()));
            answered.await.unwrap_or_else(lost)
        })
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        from: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        Box::pin(async move {
            drop(self.read()?);
            let watcher = Watcher {
                state: Arc::clone(&self.0.state),
                head: self.0.head.clone(),
                prefix: prefix.clone(),
                next: from,
                ended: false,
            };
            let events = futures_util::stream::unfold(watcher, Watcher::event);
            Ok(Box::pin(events) as Watch)
        })
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("place", &self.0.place)
            .field("incarnation", &self.0.incarnation)
            .finish_non_exhaustive()
    }
}

/// One watch. It holds no queue: it asks the shared backlog for what comes next, so a slow watcher
/// costs nothing and finds out by itself that it is too slow.
struct Watcher {
    state: Arc<RwLock<State>>,
    head: watch::Receiver<Revision>,
    prefix: Prefix,
    next: Revision,
    ended: bool,
}

impl Watcher {
    async fn event(mut self) -> Option<(WatchEvent, Self)> {
        while !self.ended {
            // Marked before looking: what is published after the look wakes the wait below.
            self.head.mark_unchanged();
            let found = self
                .state
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .event(&self.prefix, self.next);
            match found {
                Ok(event) => {
                    match &event {
                        WatchEvent::Changed { revision, .. } => self.next = revision.next(),
                        WatchEvent::Compacted { .. } => self.ended = true,
                    }
                    return Some((event, self));
                }
                Err(next) => self.next = next,
            }
            self.ended = self.head.changed().await.is_err();
        }
        None
    }
}
