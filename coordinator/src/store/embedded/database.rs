//! The layout of the file: which tables the redb database has and how they are read and written.
//!
//! * `entries`: key → (created, modified, value).
//! * `meta`: `format`, `incarnation` (the uuid as a number), `revision`.
//!
//! Space: redb frees the pages of replaced values for the commits that follow and cuts free pages
//! off the end of the file at each commit, so the file follows the live data, at most doubling
//! when it grows. What is free in the middle is given back by [`compact`] at the next opening.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use uuid::Uuid;

use super::super::{Entry, Incarnation, Key, Revision};
use super::medium::Medium;
use super::state::Staged;

/// The layout that this program writes. Raised when an older program could not read the file.
pub(crate) const FORMAT: u128 = 1;

/// Memory for redb's own page cache. Small, because reads are served from the working set; large
/// enough that a group of commits is written in one go (half of it buffers writes).
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Files below this are not worth compacting.
const COMPACT_FROM_BYTES: u64 = 4 * 1024 * 1024;

/// Compact when less than one part in this many of the file is in use. redb doubles a file that
/// grows, so half empty is normal.
const COMPACT_BELOW: u64 = 3;

const ENTRIES: TableDefinition<'_, &str, (u64, u64, &[u8])> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, u128> = TableDefinition::new("meta");

const META_FORMAT: &str = "format";
const META_INCARNATION: &str = "incarnation";
const META_REVISION: &str = "revision";

/// Why the database could not be opened or read, before it is told to anybody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The engine, or the medium under it, failed.
    #[error("the database could not be read")]
    Engine(#[from] redb::Error),
    /// The engine panicked, which it may do on altered files.
    #[error("the database engine gave up: {0}")]
    Panicked(String),
    /// A sound database, of something else.
    #[error("a database without the tables of a store")]
    Foreign,
    /// Written by a later program.
    #[error("format {0} is not known")]
    Newer(u128),
    /// The tables contradict each other.
    #[error("{0}")]
    Inconsistent(String),
}

/// Which store the file is and how far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) incarnation: Incarnation,
    pub(crate) revision: Revision,
}

/// Opens the database on `medium`, verifying every page of it, and repairing what a crash left.
///
/// The check reads the whole file. That costs no more than loading the working set, which reads
/// it anyway, and turns an altered file into an error where a trusting open may panic later.
pub(crate) fn open<M: Medium>(medium: &M) -> Result<Database, Fault> {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    guarded(|| {
        builder
            .create_with_backend(medium.clone())
            .map_err(redb::Error::from)
    })
}

/// Runs a part of the opening; a panic on garbage is one more way to say that it is garbage.
pub(crate) fn guarded<T, E: Into<Fault>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Fault::Panicked(text.unwrap_or("no message").to_owned()))
        }
    }
}

/// Writes what a new store begins with.
pub(crate) fn initialise(database: &Database, incarnation: Incarnation) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        write.open_table(ENTRIES)?;
        let mut meta = write.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        meta.insert(META_INCARNATION, incarnation.0.as_u128())?;
        meta.insert(META_REVISION, 0)?;
    }
    write.commit()?;
    Ok(())
}

/// Reads which store this is, and refuses what this program cannot read.
pub(crate) fn identify(database: &Database) -> Result<Identity, Fault> {
    let read = database.begin_read().map_err(redb::Error::from)?;
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(Fault::Engine(error.into())),
        Err(_) => return Err(Fault::Foreign),
    };
    let number = |name: &str| -> Result<Option<u128>, Fault> {
        let found = meta.get(name).map_err(redb::Error::from)?;
        Ok(found.map(|number| number.value()))
    };
    let needed = |name: &str| number(name)?.ok_or_else(|| inconsistent(format!("no {name}")));
    match number(META_FORMAT)? {
        None | Some(0) => return Err(Fault::Foreign),
        Some(FORMAT) => {}
        Some(found) => return Err(Fault::Newer(found)),
    }
    let revision = u64::try_from(needed(META_REVISION)?)
        .map_err(|_| inconsistent("the revision is out of range".to_owned()))?;
    Ok(Identity {
        incarnation: Incarnation(Uuid::from_u128(needed(META_INCARNATION)?)),
        revision: Revision(revision),
    })
}

/// Reads all entries.
pub(crate) fn load(database: &Database, revision: Revision) -> Result<BTreeMap<Key, Entry>, Fault> {
    let read = database.begin_read().map_err(redb::Error::from)?;
    let table = read.open_table(ENTRIES).map_err(redb::Error::from)?;
    let mut entries = BTreeMap::new();
    for row in table.iter().map_err(redb::Error::from)? {
        let (key, content) = row.map_err(redb::Error::from)?;
        let (created, modified, value) = content.value();
        let entry = Entry {
            key: Key::new(key.value()).map_err(|error| inconsistent(error.to_string()))?,
            value: value.into(),
            created: Revision(created),
            modified: Revision(modified),
        };
        if entry.created > entry.modified || entry.modified > revision {
            return Err(inconsistent(format!(
                "{entry:?} in a store at revision {revision}"
            )));
        }
        entries.insert(entry.key.clone(), entry);
    }
    Ok(entries)
}

/// Writes a group into `write`; the caller commits it.
pub(crate) fn write(write: &redb::WriteTransaction, staged: &Staged) -> Result<(), redb::Error> {
    let mut entries = write.open_table(ENTRIES)?;
    for (key, entry) in staged.writes() {
        match entry {
            Some(Entry {
                value,
                created,
                modified,
                ..
            }) => {
                entries.insert(key.as_str(), (created.0, modified.0, &**value))?;
            }
            None => {
                entries.remove(key.as_str())?;
            }
        }
    }
    let mut meta = write.open_table(META)?;
    meta.insert(META_REVISION, u128::from(staged.revision().0))?;
    Ok(())
}

/// Makes the file smaller if most of it is free.
pub(crate) fn compact(database: &mut Database, file_bytes: u64) -> Result<bool, redb::Error> {
    if file_bytes < COMPACT_FROM_BYTES {
        return Ok(false);
    }
    let write = database.begin_write()?;
    let stats = write.stats()?;
    let page = u64::try_from(stats.page_size()).unwrap_or(u64::MAX);
    let used = stats.allocated_pages().saturating_mul(page);
    write.abort()?;
    if used.saturating_mul(COMPACT_BELOW) >= file_bytes {
        return Ok(false);
    }
    Ok(database.compact()?)
}

fn inconsistent(what: String) -> Fault {
    Fault::Inconsistent(what)
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        Self::Engine(error.into())
    }
}
