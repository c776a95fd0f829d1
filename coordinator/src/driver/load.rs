//! From the store to the engine, at the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlock_engine::coordinator::{
    ACTIVITY, Applied, AppliedSpec, BLOCKS, BY_HAND, COUNTED, EVENTS, Event, FORGOTTEN, Head,
    LET_GO, Loaded, LoadedOperation, MAINTENANCE, OPERATIONS, OUTRUN, SPECS, UNHEARD, Unreadable,
    VERIFIED,
};
use interlock_engine::operation::Entry;
use interlock_model::ids::{Generation, OperationId};
use interlock_model::names::{NameError, NodeName, ServiceName};
use interlock_model::plan::{BadPlan, SealedPlan};
use interlock_model::spec::{Problems, Severity, Spec, Stored};
use serde::de::DeserializeOwned;

use crate::store::{self, Key, PageRequest, Prefix, Store};

/// Why the store's content cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] store::Error),
    /// A record is not what this program writes.
    #[error("the record {key} cannot be read: was it written by a newer version?")]
    Record {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A key is not what this program writes.
    #[error("the key {key} does not end in a name")]
    Name {
        /// The key.
        key: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// A plan is not what this program writes.
    #[error("the plan of {operation} cannot be read")]
    Plan {
        /// The operation.
        operation: OperationId,
        /// What is wrong with it.
        source: BadPlan,
    },
    /// A constant prefix is not one.
    #[error("a prefix of this program is not one")]
    Prefix(#[from] store::InvalidKey),
}

/// Reads a record.
///
/// # Errors
/// If it is not one.
pub fn read_json<T: DeserializeOwned>(key: &Key, value: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(value).map_err(|source| LoadError::Record {
        key: key.to_string(),
        source,
    })
}

/// Reads everything that the engine needs to go on. Journals of operations that are over are not read.
///
/// # Errors
/// See [`LoadError`].
pub async fn load(store: &dyn Store) -> Result<Loaded, LoadError> {
    let (applied, unreadable) = newest_spec(store).await?;
    let mut loaded = Loaded {
        applied,
        unreadable,
        activity: named::<ServiceName, NodeName>(store, ACTIVITY).await?,
        forgotten: named(store, FORGOTTEN).await?,
        verified: named(store, VERIFIED).await?,
        acts: named(store, BY_HAND).await?,
        strays: all(store, LET_GO).await?,
        newcomers: named(store, UNHEARD).await?,
        maintenance: all(store, MAINTENANCE).await?,
        counted: named(store, COUNTED).await?,
        blocks: all(store, BLOCKS).await?,
        ..Loaded::default()
    };
    let outrun = named::<NodeName, OperationId>(store, OUTRUN).await?;
    loaded.last_operation = outrun.into_values().max().unwrap_or_default();
    for entry in &store.snapshot(&Prefix::new(EVENTS)?).await?.entries {
        loaded.last_event = entry.key.name().parse().unwrap_or(loaded.last_event);
        note(&mut loaded, entry);
    }
    let mut after: Option<Key> = None;
    loop {
        let page = store
            .range(
                &Prefix::new(OPERATIONS)?,
                PageRequest {
                    after: after.as_ref(),
                    limit: PageRequest::MAX,
                },
            )
            .await?;
        for entry in page
            .entries
            .iter()
            .filter(|entry| entry.key.name() == "head")
        {
            let head: Head = read_json(&entry.key, &entry.value)?;
            loaded.last_operation = loaded.last_operation.max(head.id);
            if !head.state.is_over() {
                loaded.operations.push(operation(store, head).await?);
            }
        }
        match (page.more, page.entries.last()) {
            (true, Some(last)) => after = Some(last.key.clone()),
            _ => return Ok(loaded),
        }
    }
}

/// An act by hand is known by its event, also where the store was left before the record of its node was written; so is what was told
/// of how things are. An event that cannot be read is for people, and keeps nobody from starting.
fn note(loaded: &mut Loaded, entry: &store::Entry) {
    let Ok(event) = serde_json::from_slice::<Event>(&entry.value) else {
        return;
    };
    loaded.told.note(&event);
    if let (Some(act), Ok(node)) = (event.act, event.node.parse()) {
        let known = loaded.acts.entry(node).or_default();
        if !known.contains(&act) {
            known.push(act);
        }
    }
}

/// The newest spec, as far as this version can read it. It was accepted when it was applied; a rule that was added since
/// must not keep the coordinator from starting, for it is needed to correct it.
async fn newest_spec(
    store: &dyn Store,
) -> Result<(Option<Applied>, Option<Unreadable>), LoadError> {
    let snapshot = store.snapshot(&Prefix::new(SPECS)?).await?;
    let Some(newest) = snapshot.entries.last() else {
        return Ok((None, None));
    };
    let unreadable = |generation, record, why| Unreadable {
        generation,
        key: newest.key.to_string(),
        record,
        why,
    };
    let record: AppliedSpec = match serde_json::from_slice(&newest.value) {
        Ok(record) => record,
        Err(error) => {
            // Not even whose generation it is can be read from it, but from its key.
            let generation = Generation(newest.key.name().parse().unwrap_or_default());
            let why = vec![format!("its record: {error}")];
            return Ok((None, Some(unreadable(generation, None, why))));
        }
    };
    let (spec, breaks) = match Spec::read_stored(record.source.as_bytes(), &record.file_name) {
        Stored::Sound(spec) => (spec, Vec::new()),
        Stored::Broken(spec, problems) => (spec, lines(&problems)),
        Stored::Unreadable(problems) => {
            let generation = record.generation;
            let why = lines(&problems);
            return Ok((None, Some(unreadable(generation, Some(record), why))));
        }
    };
    let applied = Applied {
        record,
        spec: Arc::new(spec),
        breaks,
    };
    Ok((Some(applied), None))
}

/// The errors, each in a line with its place.
fn lines(problems: &Problems) -> Vec<String> {
    let errors = problems
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

async fn named<K, V>(store: &dyn Store, prefix: &str) -> Result<BTreeMap<K, V>, LoadError>
where
    K: std::str::FromStr<Err = NameError> + Ord,
    V: DeserializeOwned,
{
    let snapshot = store.snapshot(&Prefix::new(prefix)?).await?;
    let mut named = BTreeMap::new();
    for entry in &snapshot.entries {
        let name = entry.key.name().parse().map_err(|source| LoadError::Name {
            key: entry.key.to_string(),
            source,
        })?;
        named.insert(name, read_json(&entry.key, &entry.value)?);
    }
    Ok(named)
}

async fn all<V: DeserializeOwned>(store: &dyn Store, prefix: &str) -> Result<Vec<V>, LoadError> {
    let snapshot = store.snapshot(&Prefix::new(prefix)?).await?;
    let entries = snapshot.entries.iter();
    entries
        .map(|entry| read_json(&entry.key, &entry.value))
        .collect()
}

async fn operation(store: &dyn Store, head: Head) -> Result<LoadedOperation, LoadError> {
    let mut bytes = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut batches = 0;
    let prefix = Prefix::new(format!("{OPERATIONS}/{:012}", head.id.0))?;
    for entry in &store.snapshot(&prefix).await?.entries {
        let path = entry.key.as_str();
        if path.contains("/plan/") {
            bytes.extend_from_slice(&entry.value);
        } else if path.contains("/journal/") {
            entries.extend(read_json::<Vec<Entry>>(&entry.key, &entry.value)?);
            batches = entry.key.name().parse().unwrap_or(batches + 1);
        }
    }
    let plan = SealedPlan::open(bytes).map_err(|source| LoadError::Plan {
        operation: head.id,
        source,
    })?;
    Ok(LoadedOperation {
        head,
        plan,
        entries,
        batches,
    })
}
