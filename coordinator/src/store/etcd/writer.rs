//! Commits, one at a time, and what became of one whose answer is lost.
//!
//! # An answer that is lost
//! A request that got no answer may have been applied, may never be, or may still be on its way: in
//! the socket of a member that is stopped, for example. Time does not tell. So each commit that
//! puts something also rewrites the holder's key with an id of its own, and is conditional on that
//! key being as the commit before left it. After a failure the writer *settles*: one transaction
//! either rewrites the holder's key once more, or finds that it has changed.
//!
//! | the holder's key | the commit |
//! |---|---|
//! | has its id | was applied, at the key's revision |
//! | was as before; rewritten now | was not applied, and never will be: its condition is gone |
//! | is another process's, or gone | **unknown**, and this process no longer holds the store |
//! | cannot be asked for, or not rewritten for lack of space | **unknown**; settled before the next commit |
//!
//! What was certainly not applied is sent again, to the next endpoint, as long as there is time.
//! A transaction that puts nothing leaves no id, lest a commit that changes nothing gets a
//! revision; if its answer is lost it is unknown, but after settling it will not appear later.
//!
//! One at a time is what the promise costs. Nothing waits that could go together: the driver has
//! one commit under way, and puts everything that came meanwhile into the next.

use std::sync::Arc;

use etcd_client::{Client, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::{CommitError, Error, Outcome, Revision, Transaction, Write};
use super::endpoints::{CALL, Endpoints, PAUSE};
use super::fault::{Fault, Kind};
use super::hold::Guard;
use super::layout::{Holder, Reading};
use super::translate::{self, Answer};

/// How many commits may wait.
pub(crate) const QUEUE: usize = 64;

/// What the writer is asked for.
pub(crate) enum Request {
    Commit(Transaction, oneshot::Sender<Result<Outcome, CommitError>>),
    /// No more after this.
    Close(oneshot::Sender<()>),
}

/// The only one that writes with this hold.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) reading: Arc<Reading>,
    pub(crate) guard: Guard,
    /// The commit of which it is not known whether it was applied.
    pub(crate) doubt: Option<Uuid>,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Set when the hold is lost.
    pub(crate) ended: CancellationToken,
}

/// What settling found.
enum Settled {
    Applied(Revision),
    /// And will not be.
    NotApplied,
}

impl Writer {
    /// Serves until it is told to close, or no handle is left.
    pub(crate) async fn run(mut self) {
        while let Some(request) = self.requests.recv().await {
            match request {
                Request::Commit(transaction, answer) => {
                    // Nobody may wait any more: the transaction stands all the same.
                    let _ = answer.send(self.commit(transaction).await);
                }
                Request::Close(closed) => {
                    let _ = closed.send(());
                    return;
                }
            }
        }
    }

    async fn commit(&mut self, transaction: Transaction) -> Result<Outcome, CommitError> {
        let give_up = Instant::now() + CALL;
        if self.doubt.is_some() {
            self.settle(give_up)
                .await
                .map_err(CommitError::NotCommitted)?;
        }
        let mut refusals = self.endpoints.refusals();
        loop {
            if self.ended.is_cancelled() {
                return Err(CommitError::NotCommitted(self.superseded()));
            }
            let id = Uuid::new_v4();
            let marks = transaction
                .writes
                .iter()
                .any(|write| matches!(write, Write::Put(..)));
            let mark = marks.then(|| self.guard.mark(id));
            let txn = translate::request(&self.reading, &self.guard, &transaction, mark);
            let send = |mut client: Client| async move { client.txn(txn).await };
            let fault = match self.endpoints.once(send).await {
                Ok(response) => {
                    return match translate::answer(
                        &self.reading,
                        &self.guard,
                        transaction,
                        &response,
                    ) {
                        Ok(Answer::Decided(outcome)) => {
                            if let (true, Outcome::Committed { revision }) = (marks, &outcome) {
                                self.marked(id, self.reading.revisions.theirs(*revision));
                            }
                            Ok(outcome)
                        }
                        Ok(Answer::NotHolding) => {
                            self.lost();
                            Err(CommitError::NotCommitted(self.superseded()))
                        }
                        Err(error) => Err(CommitError::NotCommitted(error)),
                    };
                }
                Err(fault) => fault,
            };
            if !fault.is_before_applying() {
                self.doubt = Some(id);
                match self.settle(give_up).await {
                    Ok(Settled::Applied(revision)) => return Ok(Outcome::Committed { revision }),
                    Ok(Settled::NotApplied) if marks => {}
                    Ok(Settled::NotApplied) => {
                        return Err(CommitError::Unknown(self.error(fault)));
                    }
                    Err(error) => return Err(CommitError::Unknown(error)),
                }
            }
            let is_refused = fault.kind() == Kind::Refused;
            if !fault.is_of_the_endpoint()
                || Instant::now() >= give_up
                || is_refused && refusals == 0
            {
                return Err(CommitError::NotCommitted(self.error(fault)));
            }
            refusals -= usize::from(is_refused);
            sleep(PAUSE).await;
        }
    }

    /// Finds out what became of the commit in doubt, and makes sure that it stays so.
    async fn settle(&mut self, give_up: Instant) -> Result<Settled, Error> {
        let Some(doubt) = self.doubt else {
            return Ok(Settled::NotApplied);
        };
        let seal = Uuid::new_v4();
        loop {
            let look = TxnOp::get(self.guard.key.as_str(), None);
            let txn = Txn::new()
                .when(self.guard.compares())
                .and_then([self.guard.mark(seal), look.clone()])
                .or_else([look]);
            let send = |mut client: Client| async move { client.txn(txn).await };
            let fault = match self.endpoints.once(send).await {
                Ok(response) => {
                    let Some((modified, commit)) = self.holding(&response.op_responses()) else {
                        self.lost();
                        return Err(self.superseded());
                    };
                    self.doubt = None;
                    self.marked(commit, modified);
                    // Any other id is a seal of this loop whose answer was lost.
                    return Ok(if commit == doubt {
                        Settled::Applied(self.reading.revisions.ours(modified))
                    } else {
                        Settled::NotApplied
                    });
                }
                Err(fault) => fault,
            };
            if !fault.is_of_the_endpoint() || Instant::now() >= give_up {
                return Err(self.error(fault));
            }
            sleep(PAUSE).await;
        }
    }

    /// Modification and id of the holder's key, if it is this process's.
    fn holding(&self, answers: &[TxnOpResponse]) -> Option<(i64, Uuid)> {
        let read = answers.iter().find_map(|answer| match answer {
            TxnOpResponse::Get(read) => Some(read),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        })?;
        let found = read.kvs().first()?;
        let holder: Holder = serde_json::from_slice(found.value()).ok()?;
        (found.create_revision() == self.guard.created)
            .then(|| (found.mod_revision(), holder.commit))
    }

    fn marked(&mut self, commit: Uuid, modified: i64) {
        self.guard.modified = modified;
        self.guard.holder.commit = commit;
    }

    fn lost(&self) {
        tracing::error!(place = %self.endpoints.place(), "the store is no longer held by this process");
        self.ended.cancel();
    }

    fn superseded(&self) -> Error {
        Error::Superseded {
            place: self.endpoints.place().to_owned(),
        }
    }

    fn error(&self, fault: Fault) -> Error {
        fault.at(self.endpoints.place())
    }
}
