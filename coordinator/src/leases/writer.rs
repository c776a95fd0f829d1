//! Renewals and releases: written as they come, past the driver.
//!
//! A holder that is not answered stops itself, so nothing may stand between a renewal and the store: neither a commit of
//! journals that waits for its turn, nor a session whose stream is busy. Each service has a line of its own. One request
//! of it is written at a time, for two would only conflict on its record, and of what waits only the last that a node has
//! sent counts: a renewal says everything that the one before it said.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use interlock_engine::lease::{
    NotRenewed, ReleaseReport, RenewRequest, Stored, Transaction, Written, release, renew,
};
use interlock_model::names::{NodeName, ServiceName};
use tracing::{debug, warn};

use super::Leases;
use super::book::{Fate, may_pass};
use super::scribe::Note;
use super::wire::Word;
use crate::driver::chain;

/// How often a request is tried on a record that others change meanwhile. Its holder sends another one within R.
const TRIES: u32 = 5;

/// What waits for one service.
#[derive(Debug, Default)]
struct Line {
    renewals: BTreeMap<NodeName, RenewRequest>,
    releases: BTreeMap<NodeName, ReleaseReport>,
}

/// The lines of the services that something is being written of.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<BTreeMap<ServiceName, Line>>);

/// A request.
enum Request {
    Renew(RenewRequest),
    Release(ReleaseReport),
}

impl Lines {
    /// Puts something into the line of a service. True if there was none, so that somebody has to serve it.
    fn put(&self, service: &ServiceName, put: impl FnOnce(&mut Line)) -> bool {
        let mut lines = self.lock();
        let is_new = !lines.contains_key(service);
        put(lines.entry(service.clone()).or_default());
        is_new
    }

    /// What is next in a line; the line ends if that is nothing.
    fn next(&self, service: &ServiceName) -> Option<Request> {
        let mut lines = self.lock();
        let line = lines.get_mut(service)?;
        // A release first: whoever gives a role back has nothing to renew.
        let next = match line.releases.pop_first() {
            Some((_, release)) => Some(Request::Release(release)),
            None => line.renewals.pop_first().map(|(_, it)| Request::Renew(it)),
        };
        if next.is_none() {
            lines.remove(service);
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Line>> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leases {
    /// Takes a renewal. It is answered when it is durable, or when the epoch is over; else not at all.
    pub(super) fn renewal(&self, request: RenewRequest) {
        let service = request.service.clone();
        self.line(service, |line| {
            let waits = line.renewals.get(&request.holder.node);
            let is_older = waits
                .is_some_and(|waits| waits.holder == request.holder && waits.sent > request.sent);
            if !is_older {
                line.renewals.insert(request.holder.node.clone(), request);
            }
        });
    }

    /// Takes a release. It is answered when it is durable.
    pub(super) fn release(&self, report: ReleaseReport) {
        let service = report.service.clone();
        self.line(service, |line| {
            line.releases.insert(report.holder.node.clone(), report);
        });
    }

    fn line(&self, service: ServiceName, put: impl FnOnce(&mut Line)) {
        if self.lines().put(&service, put) {
            tokio::spawn(serve(self.clone(), service));
        }
    }

    /// Commits one that neither needs the leader's key nor tells anybody of it.
    async fn write(&self, service: &ServiceName, transaction: &Transaction) -> Fate {
        let guard = self.driver().leading().guard();
        self.book().commit(service, transaction, &guard, &[]).await
    }

    async fn read(&self, service: &ServiceName) -> Option<Stored> {
        match self.book().read(service).await {
            Ok(stored) => Some(stored),
            Err(error) => {
                let error_text = chain(&error);
                if may_pass(&error) {
                    debug!(%service, error = error_text, "a lease cannot be read");
                } else {
                    warn!(%service, error = error_text, "a lease cannot be read");
                }
                None
            }
        }
    }
}

/// Serves a line until it is empty.
async fn serve(leases: Leases, service: ServiceName) {
    while let Some(request) = leases.lines().next(&service) {
        match request {
            Request::Renew(request) => write_renewal(&leases, &request).await,
            Request::Release(report) => write_release(&leases, &report).await,
        }
    }
}

async fn write_renewal(leases: &Leases, request: &RenewRequest) {
    let service = &request.service;
    let mut read_again = false;
    for _ in 0..TRIES {
        let Some(stored) = leases.read(service).await else {
            return;
        };
        let written = match renew(request, &stored) {
            Ok(written) => written,
            Err(NotRenewed::Superseded { asked, .. }) => {
                leases.tell(&request.holder.node, service, &Word::Over(asked));
                return;
            }
            Err(NotRenewed::Behind { .. }) if !read_again => {
                read_again = true;
                continue;
            }
            Err(why @ (NotRenewed::Behind { .. } | NotRenewed::Outdated)) => {
                debug!(%service, node = %request.holder.node, %why, "a renewal is not written");
                return;
            }
        };
        let terms = written.terms(&stored).cloned();
        if is_written(leases, service, &written).await {
            if let Some(terms) = terms {
                let (epoch, sent) = (request.epoch, request.sent);
                let renewed = Word::Renewed { epoch, sent, terms };
                leases.tell(&request.holder.node, service, &renewed);
            }
            return;
        }
    }
}

async fn write_release(leases: &Leases, report: &ReleaseReport) {
    let (service, holder) = (&report.service, &report.holder);
    for _ in 0..TRIES {
        let Some(stored) = leases.read(service).await else {
            return;
        };
        let written = match release(report, &stored) {
            Ok(written) => written,
            Err(why) => {
                debug!(%service, node = %holder.node, %why, "a release is not written");
                return;
            }
        };
        if is_written(leases, service, &written).await {
            if matches!(written, Written::Commit(_)) {
                leases.note(Note::released(report));
                leases.pokes().of(service).notify_one();
            }
            leases.tell(&holder.node, service, &Word::ReleaseWritten(report.epoch));
            return;
        }
    }
}

/// Is it in the store now? If not, or if nobody knows, it is read again: a request that was written is then there already.
async fn is_written(leases: &Leases, service: &ServiceName, written: &Written) -> bool {
    let transaction = match written {
        Written::Already => return true,
        Written::Commit(transaction) => transaction,
    };
    match leases.write(service, transaction).await {
        Fate::Committed => true,
        Fate::Not(why) | Fate::Unknown(why) => {
            debug!(%service, why, "a lease was not written, and is read again");
            false
        }
    }
}
