//! Being the leader.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use interlock_model::ids::Term;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Error, Leader, leader_key, observe};
use crate::store::{Class, Condition, Revision, Store, Watch, WatchEvent};

/// How long to wait before a store that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// One leadership: a term, and the right to decide as long as its guard holds. Clones are the same
/// leadership.
#[derive(Debug, Clone)]
pub struct Leading(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    leader: Leader,
    revision: Revision,
    lost: CancellationToken,
    sentry: AbortHandle,
}

impl Leading {
    /// Takes up a leadership whose record was written at `revision`, and begins to watch it.
    pub(crate) async fn begin(
        store: Arc<dyn Store>,
        leader: Leader,
        revision: Revision,
    ) -> Result<Self, Error> {
        let changes = watch(&*store, revision).await?;
        let lost = CancellationToken::new();
        let sentry = tokio::spawn({
            let lost = lost.clone();
            async move {
                until_replaced(store, changes, revision).await;
                lost.cancel();
            }
        });
        Ok(Self(Arc::new(Inner {
            leader,
            revision,
            lost,
            sentry: sentry.abort_handle(),
        })))
    }

    /// The term, for every command to an agent.
    #[must_use]
    pub fn term(&self) -> Term {
        self.0.leader.term
    }

    /// What the store holds about this leadership.
    #[must_use]
    pub fn leader(&self) -> &Leader {
        &self.0.leader
    }

    /// The condition of every transaction that decides something.
    #[must_use]
    pub fn guard(&self) -> Condition {
        Condition::ModifiedAt(leader_key(), self.0.revision)
    }

    /// Completes when the leadership is seen to be over, or the store is closed.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.lost.clone().cancelled_owned()
    }

    /// Whether the leadership was seen to be over.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.lost.is_cancelled()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.sentry.abort();
    }
}

async fn watch(store: &dyn Store, revision: Revision) -> Result<Watch, Error> {
    store
        .watch(&observe::control(), revision.next())
        .await
        .map_err(Error::Read)
}

/// Returns when the leader key is no longer as of `revision`, or when nothing can be known of it.
async fn until_replaced(store: Arc<dyn Store>, mut changes: Watch, revision: Revision) {
    let key = leader_key();
    loop {
        match changes.next().await {
            Some(WatchEvent::Changed { changes, .. }) => {
                if changes.iter().any(|change| *change.key() == key) {
                    return;
                }
            }
            Some(WatchEvent::Compacted { .. }) => match taken_up(&*store, revision).await {
                Some(anew) => changes = anew,
                None => return,
            },
            None => return,
        }
    }
}

/// A watch from now on, if the leader key is still as of `revision`. A store that does not answer says nothing about that, and is
/// asked again.
async fn taken_up(store: &dyn Store, revision: Revision) -> Option<Watch> {
    let read = async || -> Result<Option<Watch>, Error> {
        // The watch is taken up before the key is read, so nothing falls in between.
        let present = store.revision().await.map_err(Error::Read)?;
        let anew = watch(store, present).await?;
        let entry = store.get(&leader_key()).await.map_err(Error::Read)?;
        let is_same = entry.is_some_and(|entry| entry.modified == revision);
        Ok(is_same.then_some(anew))
    };
    loop {
        match read().await {
            Ok(anew) => return anew,
            Err(error) if error.class() == Class::Retryable => sleep(AGAIN).await,
            Err(_) => return None,
        }
    }
}
