//! Which stores this one succeeds (safety rule E11).
//!
//! An agent remembers the incarnation of the store that it last worked for. A coordinator takes it if that is its own
//! store, or one that its store was filled from; both are written down when a store is imported. So a coordinator on
//! the older store, started again by mistake, finds agents that have moved on, and leaves them alone: raising its term
//! above what they have seen would take them back to a past. Nobody's agent is anybody's.
//!
//! A store that was lost has left agents behind that a new one does not know. That it is really gone a person has to
//! say.

use std::collections::BTreeSet;

use interlock_engine::coordinator::Write;
use interlock_model::ids::Term;
use serde::{Deserialize, Serialize};

use super::{LoadError, read_json};
use crate::leadership::term_key;
use crate::store::{Condition, InvalidKey, Key, Prefix, Store, Transaction};

/// The key of the ancestors.
const LINEAGE: &str = "/control/lineage";

/// The key that is there while an import is not complete.
const IMPORTING: &str = "/control/importing";

/// The own store and those that it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    own: String,
    ancestors: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    ancestors: BTreeSet<String>,
}

/// An agent of a store that this one does not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this agent works for the store {theirs}, and this coordinator has the store {own}, which does not succeed it: stop \
     this coordinator if the other store is in use; if that one is gone for good, `interlockctl store adopt {theirs} \
     --reason ...`"
)]
pub struct Stranger {
    theirs: String,
    own: String,
}

impl From<Stranger> for tonic::Status {
    fn from(stranger: Stranger) -> Self {
        Self::failed_precondition(stranger.to_string())
    }
}

impl Lineage {
    /// A store without ancestors.
    #[must_use]
    pub fn new(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            ancestors: BTreeSet::new(),
        }
    }

    /// What the store says of itself.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn load(store: &dyn Store) -> Result<Self, LoadError> {
        let mut lineage = Self::new(&store.incarnation().to_string());
        if let Some(entry) = store.get(&Key::new(LINEAGE)?).await? {
            lineage.ancestors = read_json::<Record>(&entry.key, &entry.value)?.ancestors;
        }
        Ok(lineage)
    }

    /// Why an agent that remembers this incarnation cannot be taken.
    #[must_use]
    pub fn stranger(&self, incarnation: &str) -> Option<Stranger> {
        let known = incarnation.is_empty()
            || incarnation == self.own
            || self.ancestors.contains(incarnation);
        (!known).then(|| Stranger {
            theirs: incarnation.to_owned(),
            own: self.own.clone(),
        })
    }

    /// The incarnation of the own store.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// The incarnations of the stores that it succeeds.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.ancestors.iter().map(String::as_str)
    }

    /// Succeeds these as well; the write is what makes it last.
    pub fn succeed(&mut self, incarnations: impl IntoIterator<Item = String>) -> Write {
        self.ancestors.extend(incarnations);
        self.ancestors.remove(&self.own);
        let record = Record {
            ancestors: self.ancestors.clone(),
        };
        Write {
            key: LINEAGE.to_owned(),
            // A list of texts: serialising it cannot fail.
            value: Some(serde_json::to_vec(&record).unwrap_or_default()),
        }
    }
}

/// The writes round an import: the first is durable before any of it, the second with or after its last.
pub(crate) fn import_marks() -> (Write, Write) {
    let key = IMPORTING.to_owned();
    let begun = Write {
        key: key.clone(),
        value: Some(b"begun".to_vec()),
    };
    (begun, Write { key, value: None })
}

/// Empties a store in which an import was broken off. It held nothing before.
///
/// # Errors
/// If it cannot be read or written.
pub(crate) async fn clear_broken_import(
    store: &dyn Store,
    guard: Condition,
    prefixes: &[&str],
) -> anyhow::Result<bool> {
    let mark = Key::new(IMPORTING)?;
    if store.get(&mark).await?.is_none() {
        return Ok(false);
    }
    let mut cleared = Transaction::new()
        .when(guard)
        .delete(&mark)
        .delete(&Key::new(LINEAGE)?);
    for prefix in prefixes {
        cleared = cleared.delete_below(&Prefix::new(prefix)?);
    }
    store.commit(cleared).await?.committed()?;
    Ok(true)
}

/// The highest term that a store has given out.
///
/// # Errors
/// If the record cannot be read.
pub(crate) async fn highest_term(store: &dyn Store) -> Result<Term, LoadError> {
    let Some(entry) = store.get(&term_key()).await? else {
        return Ok(Term(0));
    };
    Ok(Term(read_json(&entry.key, &entry.value)?))
}

/// Whether an export may hold this key: leadership is of its own store.
///
/// # Errors
/// If it is no key.
pub(crate) fn is_portable(key: &str, prefixes: &[&str]) -> Result<bool, InvalidKey> {
    let key = Key::new(key)?;
    for prefix in prefixes {
        if Prefix::new(prefix)?.contains(&key) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_line_leaves_agents_alone_that_have_moved_on() {
        let older = Lineage::new("a");
        let mut newer = Lineage::new("b");
        drop(newer.succeed(["a".to_owned()]));
        // The agent came from the older store, and has then worked for the newer one.
        assert_eq!(newer.stranger("a"), None);
        assert_eq!(newer.stranger("b"), None);
        assert_eq!(newer.stranger(""), None);
        assert!(older.stranger("b").is_some());
    }

    #[test]
    fn a_store_is_not_its_own_ancestor() {
        let mut lineage = Lineage::new("b");
        drop(lineage.succeed(["a".to_owned(), "b".to_owned()]));
        assert_eq!(lineage.ancestors().collect::<Vec<_>>(), ["a"]);
    }
}
