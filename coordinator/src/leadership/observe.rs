//! Following the leader key.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::{Error, Leader, Leaders, leader_key};
use crate::store::{Change, Entry, Key, Prefix, Store, Watch, WatchEvent};

/// What is below the keys of this module; small and quiet, so a watch of it is cheap.
pub(crate) fn control() -> Prefix {
    Prefix::new("/control").expect("a well-formed literal")
}

/// The record in `entry`.
pub(crate) fn parse(entry: &Entry) -> Result<Leader, Error> {
    serde_json::from_slice(&entry.value).map_err(|source| Error::Malformed {
        key: entry.key.clone(),
        source: Arc::new(source),
    })
}

/// The present leader and each later one.
pub(crate) async fn leaders(store: Arc<dyn Store>) -> Result<Leaders, Error> {
    let (first, changes) = look(&*store).await?;
    let follower = Follower {
        store,
        changes,
        key: leader_key(),
    };
    let later = stream::unfold(follower, Follower::next);
    Ok(Box::pin(stream::once(async { first }).chain(later)))
}

/// The present leader, and a watch from there.
async fn look(store: &dyn Store) -> Result<(Option<Leader>, Watch), Error> {
    let now = store.snapshot(&control()).await.map_err(Error::Read)?;
    let key = leader_key();
    let entry = now.entries.iter().find(|entry| entry.key == key);
    let leader = entry.map(parse).transpose()?;
    let changes = store.watch(&control(), now.revision.next()).await;
    Ok((leader, changes.map_err(Error::Read)?))
}

struct Follower {
    store: Arc<dyn Store>,
    changes: Watch,
    key: Key,
}

impl Follower {
    /// The next leader. A record that cannot be read, or a store that cannot be, ends it.
    async fn next(mut self) -> Option<(Option<Leader>, Self)> {
        loop {
            match self.changes.next().await? {
                WatchEvent::Changed { changes, .. } => {
                    let change = changes.iter().find(|change| *change.key() == self.key);
                    let leader = match change {
                        Some(Change::Put(entry)) => Some(parse(entry).ok()?),
                        Some(Change::Deleted(_)) => None,
                        None => continue,
                    };
                    return Some((leader, self));
                }
                WatchEvent::Compacted { .. } => {
                    let (leader, changes) = look(&*self.store).await.ok()?;
                    self.changes = changes;
                    return Some((leader, self));
                }
            }
        }
    }
}
