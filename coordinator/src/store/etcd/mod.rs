//! The etcd store: a cluster of etcd 3.4 or later, and this process as its one writer.
//!
//! For coordinators on machines that may be lost. The protocol is `etcd-client`'s; what is here
//! turns it into the promises of [`Store`].
//!
//! ```text
//!  get, range, snapshot ─────────► endpoints ──TLS──► member, or the next one
//!  commit ──► queue ──► writer ───────┤    one at a time, under the guard of the hold
//!  watch ────────────► watcher ───────┤    taken up again where it broke off
//!                      hold ──────────┘    the lease that says: this process, no other
//! ```
//!
//! | module | does |
//! |---|---|
//! | `endpoints` | several members, one in use; deadlines, credentials |
//! | `fault` | what a failure means: retryable, terminal, maybe applied |
//! | `layout` | keys and revisions |
//! | `hold` | one holder at a time |
//! | `writer`, `translate` | commits, and commits whose answer was lost |
//! | `watcher` | watches |
//! | `compaction` | old revisions are forgotten |
//!
//! Reads are linearizable: a member that lags or is cut off answers nothing rather than something
//! old. Nothing is cached.

mod compaction;
mod endpoints;
mod fault;
mod hold;
mod layout;
mod open_error;
mod translate;
mod watcher;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, GetOptions, GetResponse};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    CommitError, Entry, Error, Incarnation, Key, Outcome, Page, PageRequest, Prefix, Revision,
    Snapshot, Store, Transaction, Watch,
};
use endpoints::{CALL, Endpoints};
use fault::{Fault, Kind};
use layout::{Layout, Reading};
use watcher::Watcher;
use writer::{Request, Writer};

pub use endpoints::{Access, Login};
pub use open_error::OpenError;

/// How long a hold outlives a process that was killed, unless [`Options`] says otherwise. It is
/// renewed every 2 s, one endpoint has 2 s to answer, and of five members two may be dead: 6.2 s
/// after the last renewal the next one is sent. Also far longer than an election of etcd with its
/// defaults (1.1 to 1.6 s).
pub const LEASE: Duration = Duration::from_secs(8);

/// After which time etcd forgets old revisions, unless [`Options`] says otherwise.
pub const COMPACT: Duration = Duration::from_secs(300);

/// How many entries of a snapshot are asked for at once. Plans are stored in parts of some 100 KiB;
/// this many make an answer that a slow member still gets out in time.
const SNAPSHOT_PAGE: usize = 100;

/// What to open.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where etcd is, and how to get in.
    pub access: Access,
    /// The cluster's place in it, an absolute path: `/interlock/acd-prod`.
    pub prefix: String,
    /// The name of this coordinator, for those who find the store held.
    pub coordinator: String,
    /// What to do if another process has the store.
    pub if_held: IfHeld,
    /// How long the hold lasts without renewal; whole seconds, at least 2. etcd makes it longer
    /// than its own election time-out.
    pub lease: Duration,
    /// How often old revisions are forgotten; `None` leaves it to etcd.
    pub compact: Option<Duration>,
}

/// What to do if another process has the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfHeld {
    /// Wait until it has not.
    Wait,
    /// Fail.
    Refuse,
}

/// A handle to an open store. Clones share it; the hold is given back when one is
/// [closed](Self::close), and runs out when the last one is dropped.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    endpoints: Arc<Endpoints>,
    reading: Arc<Reading>,
    incarnation: Incarnation,
    lease: i64,
    requests: mpsc::Sender<Request>,
    /// The hold is lost.
    ended: CancellationToken,
    /// Ended, closed, or dropped.
    closed: CancellationToken,
    _stop: DropGuard,
}

impl Etcd {
    /// Takes the store, and makes it if there is none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let wrong = |url: &&String| url.strip_prefix("https://").is_none_or(str::is_empty);
        if let Some(endpoint) = options.access.endpoints.iter().find(wrong) {
            return Err(OpenError::Endpoint {
                endpoint: endpoint.clone(),
            });
        }
        if options.access.endpoints.is_empty() {
            let endpoint = String::new();
            return Err(OpenError::Endpoint { endpoint });
        }
        let layout = Layout::new(&options.prefix).ok_or_else(|| OpenError::Prefix {
            prefix: options.prefix.clone(),
        })?;
        let endpoints = Arc::new(Endpoints::new(options.access.clone()));
        let hold = hold::take(&endpoints, &layout, &options).await?;
        let closed = CancellationToken::new();
        // What ends the hold ends the store; the two are apart so that a loss can be told from a close.
        let ended = CancellationToken::new();
        let reading = Arc::new(Reading {
            place: endpoints.place().to_owned(),
            layout,
            revisions: hold.revisions,
        });
        let keeping = hold::keep(
            Arc::clone(&endpoints),
            hold.lease,
            options.lease,
            ended.clone(),
        );
        tokio::spawn(until(closed.clone(), keeping));
        if let Some(period) = options.compact {
            let key = reading.layout.format.clone();
            let compacting = compaction::run(Arc::clone(&endpoints), key, period, ended.clone());
            tokio::spawn(until(closed.clone(), compacting));
        }
        tokio::spawn({
            let (ended, closed) = (ended.clone(), closed.clone());
            async move {
                tokio::select! {
                    () = ended.cancelled() => closed.cancel(),
                    () = closed.cancelled() => {}
                }
            }
        });
        let (requests, receiver) = mpsc::channel(writer::QUEUE);
        let writer = Writer {
            endpoints: Arc::clone(&endpoints),
            reading: Arc::clone(&reading),
            guard: hold.guard,
            doubt: None,
            requests: receiver,
            ended: ended.clone(),
        };
        tokio::spawn(writer.run());
        Ok(Self(Arc::new(Inner {
            endpoints,
            reading,
            incarnation: hold.incarnation,
            lease: hold.lease,
            requests,
            ended,
            _stop: closed.clone().drop_guard(),
            closed,
        })))
    }

    /// Ends the store after all commits that were begun before, and gives the hold back. Every
    /// handle then answers [`Error::Closed`], and watches end.
    pub async fn close(&self) {
        let (closed, closing) = oneshot::channel();
        if self.0.requests.send(Request::Close(closed)).await.is_ok() {
            // An error means that the writer ended before: closed as well.
            let _ = closing.await;
        }
        self.0.closed.cancel();
        hold::revoke(&self.0.endpoints, self.0.lease).await;
    }

    /// Completes when this process has lost its hold of the store. It then has to end: what it
    /// knows may be old.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.ended.clone().cancelled_owned()
    }

    fn open_still(&self) -> Result<(), Error> {
        if self.0.ended.is_cancelled() {
            let place = self.0.endpoints.place().to_owned();
            return Err(Error::Superseded { place });
        }
        if self.0.closed.is_cancelled() {
            return Err(self.0.is_closed());
        }
        Ok(())
    }

    /// Entries of a range, at `revision` if that is not 0.
    async fn entries(
        &self,
        start: String,
        end: Option<String>,
        limit: usize,
        revision: i64,
    ) -> Result<(Revision, Vec<Entry>, GetResponse), Fault> {
        let mut options = GetOptions::new()
            .with_limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .with_revision(revision);
        if let Some(end) = end {
            options = options.with_range(end);
        }
        let get = |client: Client| {
            let (start, options) = (start.clone(), options.clone());
            let mut client = client.kv_client().max_decoding_message_size(usize::MAX);
            async move { client.get(start, Some(options)).await }
        };
        let answer = self.0.endpoints.call(get).await?;
        let reading = &self.0.reading;
        let at = answer
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let entries: Result<Vec<Entry>, Error> = answer
            .kvs()
            .iter()
            .map(|found| reading.entry(found))
            .collect();
        let entries = entries.map_err(|error| Fault::nonsense(&crate::driver::chain(&error)))?;
        Ok((reading.revisions.ours(at), entries, answer))
    }

    fn failed(&self, fault: Fault) -> Error {
        fault.at(self.0.endpoints.place())
    }

    /// All pages at the revision of the first, unless that is compacted in between.
    async fn pages(&self, prefix: &Prefix) -> Result<Snapshot, Fault> {
        let (start, end) = self.0.reading.layout.range(prefix);
        let (revision, mut all, mut answer) = self
            .entries(start, Some(end.clone()), SNAPSHOT_PAGE, 0)
            .await?;
        let at = self.0.reading.revisions.theirs(revision);
        while let (true, Some(last)) = (answer.more(), all.last()) {
            let behind = format!("{}\0", self.0.reading.layout.key(&last.key));
            let (_, entries, next) = self
                .entries(behind, Some(end.clone()), SNAPSHOT_PAGE, at)
                .await?;
            all.extend(entries);
            answer = next;
        }
        Ok(Snapshot {
            revision,
            entries: all,
        })
    }
}

impl Inner {
    fn is_closed(&self) -> Error {
        let place = self.endpoints.place().to_owned();
        Error::Closed { place }
    }
}

/// `work` until `closed`.
async fn until(closed: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = closed.cancelled() => {}
    }
}

impl Store for Etcd {
    fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(async {
            self.open_still()?;
            let key = self.0.reading.layout.format.clone();
            let read = self.0.endpoints.read(|mut client| {
                let key = key.clone();
                async move { client.get(key, None).await }
            });
            let header = read.await?.take_header();
            let at = header.map_or(0, |header| header.revision());
            Ok(self.0.reading.revisions.ours(at))
        })
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async {
            self.open_still()?;
            let key = self.0.reading.layout.key(key);
            let found = self.entries(key, None, 1, 0).await;
            let (_, mut entries, _) = found.map_err(|fault| self.failed(fault))?;
            Ok(entries.pop())
        })
    }

    fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        page: PageRequest<'a>,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            self.open_still()?;
            let layout = &self.0.reading.layout;
            let (first, end) = layout.range(prefix);
            let start = match page.after {
                Some(after) => first.max(format!("{}\0", layout.key(after))),
                None => first,
            };
            if start >= end {
                let revision = self.revision().await?;
                return Ok(Page {
                    revision,
                    entries: Vec::new(),
                    more: false,
                });
            }
            let found = self.entries(start, Some(end), page.clamped(), 0).await;
            let (revision, entries, answer) = found.map_err(|fault| self.failed(fault))?;
            Ok(Page {
                revision,
                entries,
                more: answer.more(),
            })
        })
    }

    fn snapshot<'a>(&'a self, prefix: &'a Prefix) -> BoxFuture<'a, Result<Snapshot, Error>> {
        Box::pin(async move {
            self.open_still()?;
            let reading = async {
                loop {
                    match self.pages(prefix).await {
                        Err(fault) if fault.kind() == Kind::Compacted => {}
                        result => return result.map_err(|fault| self.failed(fault)),
                    }
                }
            };
            // Compacted again and again: somebody compacts far more often than is sensible.
            timeout(4 * CALL, reading).await.unwrap_or_else(|_| {
                let late = Fault::nonsense("a snapshot could not be read between two compactions");
                Err(self.failed(late))
            })
        })
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, CommitError>> {
        Box::pin(async {
            transaction
                .check()
                .map_err(|invalid| CommitError::NotCommitted(Error::Invalid(invalid)))?;
            self.open_still().map_err(CommitError::NotCommitted)?;
            let (answer, answered) = oneshot::channel();
            let request = Request::Commit(transaction, answer);
            if self.0.requests.send(request).await.is_err() {
                return Err(CommitError::NotCommitted(self.0.is_closed()));
            }
            // Without an answer the writer ended somewhere in between.
            let lost = |_| Err(CommitError::Unknown(self.0.is_closed()));
            answered.await.unwrap_or_else(lost)
        })
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a Prefix,
        from: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        Box::pin(async move {
            self.open_still()?;
            let watcher = Watcher {
                endpoints: Arc::clone(&self.0.endpoints),
                reading: Arc::clone(&self.0.reading),
                prefix: prefix.clone(),
                next: self.0.reading.revisions.theirs(from),
                stream: None,
                events: VecDeque::new(),
                closed: self.0.closed.clone(),
                over: false,
            };
            let events = futures_util::stream::unfold(watcher, Watcher::event);
            Ok(Box::pin(events) as Watch)
        })
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("place", &self.0.endpoints.place())
            .field("incarnation", &self.0.incarnation)
            .finish_non_exhaustive()
    }
}
