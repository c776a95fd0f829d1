//! Leadership where the store itself admits one process only: leading is immediate.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use interlock_model::ids::Term;

use super::{
    Candidate, Error, Leader, Leaders, Leadership, Leading, leader_key, observe, term_key,
};
use crate::store::{Condition, Entry, Outcome, Revision, Store, Transaction};

/// Leadership over a store that only one process can have open, such as the embedded one. Whoever
/// campaigns takes over: an earlier leader in the store is a dead process, or an earlier campaign
/// of this one.
#[derive(Debug, Clone)]
pub struct Sole {
    store: Arc<dyn Store>,
}

impl Sole {
    /// Leadership over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    async fn campaign(&self, candidate: Candidate) -> Result<Leading, Error> {
        loop {
            let key = term_key();
            let last = self.store.get(&key).await.map_err(Error::Read)?;
            let unchanged = match &last {
                Some(entry) => Condition::ModifiedAt(key, entry.modified),
                None => Condition::Absent(key),
            };
            let leader = Leader {
                coordinator: candidate.coordinator.clone(),
                process: candidate.process,
                term: above(last.as_ref().map_or(Ok(Term(0)), parse)?)?,
            };
            // A conflict is another campaign that got its term; this one takes the next.
            if let Some(revision) = self.write(unchanged, &leader).await? {
                return Leading::begin(Arc::clone(&self.store), leader, revision).await;
            }
        }
    }

    async fn raise(&self, leading: &Leading, seen: Term) -> Result<Leading, Error> {
        if leading.term() > seen {
            return Ok(leading.clone());
        }
        let leader = Leader {
            term: above(seen)?,
            ..leading.leader().clone()
        };
        match self.write(leading.guard(), &leader).await? {
            Some(revision) => Leading::begin(Arc::clone(&self.store), leader, revision).await,
            None => Err(Error::Lost),
        }
    }

    /// Stores term and leader in one transaction; `None` if `condition` does not hold.
    async fn write(
        &self,
        condition: Condition,
        leader: &Leader,
    ) -> Result<Option<Revision>, Error> {
        let record = serde_json::to_vec(leader).map_err(|source| Error::Malformed {
            key: leader_key(),
            source: Arc::new(source),
        })?;
        let transaction = Transaction::new()
            .when(condition)
            .put(&term_key(), leader.term.to_string().into_bytes())
            .put(&leader_key(), record);
        self.commit(transaction).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Option<Revision>, Error> {
        match self.store.commit(transaction).await {
            Ok(Outcome::Committed { revision }) => Ok(Some(revision)),
            Ok(Outcome::Conflict(_)) => Ok(None),
            Err(error) => Err(Error::Write(error)),
        }
    }

    async fn resign(&self, leading: &Leading) -> Result<(), Error> {
        let transaction = Transaction::new()
            .when(leading.guard())
            .delete(&leader_key());
        match self.commit(transaction).await? {
            Some(_) => Ok(()),
            None => Err(Error::Lost),
        }
    }
}

impl Leadership for Sole {
    fn campaign(&self, candidate: Candidate) -> BoxFuture<'_, Result<Leading, Error>> {
        Box::pin(self.campaign(candidate))
    }

    fn observe(&self) -> BoxFuture<'_, Result<Leaders, Error>> {
        Box::pin(observe::leaders(Arc::clone(&self.store)))
    }

    fn raise_term_above<'a>(
        &'a self,
        leading: &'a Leading,
        seen: Term,
    ) -> BoxFuture<'a, Result<Leading, Error>> {
        Box::pin(self.raise(leading, seen))
    }

    fn resign<'a>(&'a self, leading: &'a Leading) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.resign(leading))
    }
}

fn parse(entry: &Entry) -> Result<Term, Error> {
    let malformed = |source| Error::Malformed {
        key: entry.key.clone(),
        source,
    };
    let digits = std::str::from_utf8(&entry.value).map_err(|e| malformed(Arc::new(e)))?;
    let term = digits.parse().map_err(|e| malformed(Arc::new(e)))?;
    Ok(Term(term))
}

fn above(seen: Term) -> Result<Term, Error> {
    let next = seen.0.checked_add(1).ok_or(Error::NoTermLeft { seen })?;
    Ok(Term(next))
}
