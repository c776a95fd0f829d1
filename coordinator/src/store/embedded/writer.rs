//! The thread that writes: takes transactions from a bounded queue, in groups, and answers them.
//!
//! While one group is being made durable, the next one gathers in the queue; so many small commits
//! share the price of one fsync, and a single commit waits for nothing but its own. Each
//! transaction of a group is decided by itself, in order, seeing those before it; only durability
//! is shared. If the group fails, no transaction of it is answered from the staged view, which
//! then never happened.

use std::sync::{PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot, watch};

use super::super::{CommitError, Outcome, Revision, Transaction};
use super::engine::Engine;
use super::medium::Medium;
use super::state::{Staged, State};

/// Transactions that wait; behind that, callers wait to be let in. Small: a full queue is seconds
/// of a slow disk, and then waiting callers are better off seeing their own deadline.
pub(crate) const QUEUE: usize = 256;

/// Most transactions of one group, so that the first of it does not wait for all of a long queue.
const GROUP_TRANSACTIONS: usize = 64;

/// Most bytes of one group beyond its last transaction: stays within redb's write buffer.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// What a commit is answered with.
pub(crate) type Answer = Result<Outcome, CommitError>;

/// What the thread is asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// Decide a transaction that was checked already.
    Commit(Transaction, oneshot::Sender<Answer>),
    /// Close the file, answer, end.
    Close(oneshot::Sender<()>),
}

/// The thread's own things.
pub(crate) struct Writer<'a, M> {
    pub(crate) engine: Engine<M>,
    pub(crate) state: &'a RwLock<State>,
    /// Tells watchers that there is something new. Its end tells everybody that the store is closed.
    pub(crate) head: watch::Sender<Revision>,
    pub(crate) requests: mpsc::Receiver<Request>,
}

impl<M: Medium> Writer<'_, M> {
    /// Works until the store is closed or its last handle is dropped.
    pub(crate) fn run(mut self) {
        while let Some(request) = self.requests.blocking_recv() {
            let (group, close) = self.gather(request);
            if !group.is_empty() {
                self.decide(group);
            }
            if let Some(closed) = close {
                // The file is closed and unlocked before the answer.
                drop(self);
                let _ = closed.send(());
                return;
            }
        }
    }

    /// Takes what waits in the queue, up to a group's limits or a close.
    fn gather(&mut self, first: Request) -> (Vec<Pending>, Option<oneshot::Sender<()>>) {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Commit(transaction, answer) => {
                    bytes += transaction.bytes();
                    group.push(Pending {
                        transaction,
                        answer,
                    });
                }
                Request::Close(closed) => return (group, Some(closed)),
            }
            let full = group.len() >= GROUP_TRANSACTIONS || bytes >= GROUP_BYTES;
            next = if full {
                None
            } else {
                self.requests.try_recv().ok()
            };
        }
        (group, None)
    }

    fn decide(&mut self, group: Vec<Pending>) {
        match self.engine.ready() {
            Ok(None) => {}
            Ok(Some(committed)) => self.publish(committed),
            Err(error) => {
                for pending in group {
                    pending.answer(Err(CommitError::NotCommitted(error.clone())));
                }
                return;
            }
        }
        let (staged, decided) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let mut staged = Staged::new(&state);
            let decided: Vec<_> = group
                .into_iter()
                .map(|pending| (staged.stage(&state, pending.transaction), pending.answer))
                .collect();
            (staged, decided)
        };
        let result = if staged.is_empty() {
            Ok(())
        } else {
            self.engine
                .commit(staged)
                .map(|staged| self.publish(staged))
        };
        for (outcome, answer) in decided {
            let _ = answer.send(match (&result, outcome) {
                (Ok(()), outcome) => Ok(outcome),
                (Err(error), Outcome::Committed { .. }) => Err(error.clone()),
                // Seen against a group that may not have happened: no outcome, and no write either.
                (Err(error), Outcome::Conflict(_)) => {
                    Err(CommitError::NotCommitted(error.reason().clone()))
                }
            });
        }
    }

    /// Shows a durable group to reads and watches.
    fn publish(&self, staged: Staged) {
        let revision = staged.revision();
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(staged);
        self.head.send_replace(revision);
    }
}

/// A transaction and who waits for it. Nobody may be left: the transaction happens all the same.
struct Pending {
    transaction: Transaction,
    answer: oneshot::Sender<Answer>,
}

impl Pending {
    fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}
