//! A transaction that a store refuses because of a limit: what wanted it fails, and nothing else.
//!
//! What the engine decided with it is not so, for it is not durable (invariant I3), and neither is what it decided
//! afterwards. So it begins anew with what the store holds, as after a start of this process; agents say hello again. An
//! operation whose record was refused would want the same again: it is halted. Only a store that refuses whatever it is
//! given ends this process.

use interlock_engine::coordinator::{Coordinator, OPERATIONS, Write};
use interlock_model::ids::OperationId;
use tracing::{error, warn};

use super::commit::{AGAIN, After};
use super::handle::NotDone;
use super::{Driver, Ended, LoadError, chain, load};
use crate::clock;
use crate::store::Class;

/// How often in a row the store may refuse what it is given.
const IN_A_ROW: u32 = 8;

/// A change that is too large for the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store cannot keep this: its largest record, {key}, has {bytes} bytes ({why}). Nothing of it was kept; make it \
     smaller, or in several parts"
)]
pub struct Refused {
    /// The key of the largest record of the change.
    pub key: String,
    /// The size of that record.
    pub bytes: usize,
    /// What the store says.
    pub why: String,
}

impl Refused {
    pub(super) fn new(writes: &[Write], why: &dyn std::error::Error) -> Self {
        let size = |write: &Write| write.value.as_ref().map_or(0, Vec::len);
        let largest = writes.iter().max_by_key(|write| size(write));
        Self {
            key: largest.map(|write| write.key.clone()).unwrap_or_default(),
            bytes: largest.map_or(0, size),
            why: chain(why),
        }
    }

    /// The operation whose record it is.
    fn operation(&self) -> Option<OperationId> {
        let below = self.key.strip_prefix(OPERATIONS)?.strip_prefix('/')?;
        below.split('/').next()?.parse().ok().map(OperationId)
    }
}

/// Why a transaction was not kept.
#[derive(Debug)]
pub(super) enum NotKept {
    /// This process can write no more.
    Ended(Ended),
    /// It is too large.
    Refused(Refused),
}

impl Driver {
    /// The store refused something, and this is what would have followed it: goes on with what the store holds.
    pub(super) async fn start_over(
        &mut self,
        refused: Refused,
        after: Vec<After>,
    ) -> Result<(), Ended> {
        error!(%refused, "a change was not kept");
        self.refused_in_a_row += 1;
        if self.refused_in_a_row > IN_A_ROW {
            return Err(Ended::Refused(refused));
        }
        let store = self.committer.store();
        let loaded = loop {
            match load(&*store).await {
                Ok(loaded) => break loaded,
                Err(LoadError::Store(error)) if error.class() == Class::Retryable => {
                    warn!(
                        error = chain(&error),
                        "the store cannot be read; trying again"
                    );
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(Ended::Load(Box::new(error))),
            }
        };
        let mut coordinator =
            Coordinator::recover(self.leading.term(), loaded).map_err(Ended::Corrupt)?;
        let now = clock::now();
        coordinator.event("change-refused", now, |event| {
            event.text = refused.to_string();
        });
        if let Some(id) = refused.operation() {
            coordinator.halt(id, &refused.to_string(), now);
        }
        self.desk.start_over(coordinator);
        // Agents say hello again, to the engine that now is.
        self.sessions.end_all();
        let later = self.queue.drain(..).flat_map(|pending| pending.after);
        for (after, why) in (after
            .into_iter()
            .map(|it| (it, NotDone::Refused(refused.clone()))))
        .chain(later.map(|it| (it, NotDone::TakenBack)))
        {
            if let After::Reply(reply) = after {
                reply(Err(why));
            }
        }
        self.collect(None);
        Ok(())
    }
}
