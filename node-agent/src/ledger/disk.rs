//! The file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use interlock_engine::agent::ledger::{Record, Slot, Write};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
};

use super::file::{self, Found};
use super::{Kept, OpenError};

/// A slot, as JSON, and its record, as JSON.
const SLOTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("slots");

/// What a coordinator said last, each [`Kind`] under its key.
const SAID: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("assignment");

/// Whose ledger it is, under [`AGENT`]: the identity that the agent's certificate has. Under [`WRITTEN`] how often it was
/// written, by which an older copy of it is told.
const OWNER: TableDefinition<'_, &str, &str> = TableDefinition::new("owner");
const AGENT: &str = "agent";
const WRITTEN: &str = "written";

/// The whole ledger of a long operation is some hundred KiB; the default of redb, 1 GiB, suits databases.
const CACHE: usize = 512 * 1024;

/// A ledger file. Blocks on the disk.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Which file it is, by its device and its inode.
    file: (u64, u64),
    /// Whose it is.
    owner: String,
    /// How often it was written, as far as that is known to be durable.
    written: u64,
    /// None after an error: redb does nothing more with a file that has failed once, until it is opened again.
    database: Option<Database>,
}

/// One thing to make durable.
#[derive(Debug)]
pub(super) enum Job {
    /// A batch of the ledger.
    Batch { number: u64, writes: Vec<Write> },
    /// The batch that stands for all that could not be written.
    Again { number: u64, writes: Vec<Write> },
    /// What a coordinator said, serialised.
    Said(Kind, Vec<u8>),
}

/// What a coordinator says that is kept for the next start: of each kind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What the agent is to observe and to guard.
    Assignment,
    /// What operations hold of its node.
    Claims,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Assignment => "current",
            Self::Claims => "claims",
        }
    }
}

impl Disk {
    /// Opens or makes the file, readable by its owner alone, and reads what is in it. A file that is a ledger already
    /// needs no room for that.
    pub(super) fn open(path: &Path, owner: &str) -> Result<(Self, Kept), OpenError> {
        let unusable = |source| unusable(path, source);
        let (file, draft) = match file::find(path)? {
            Found::Existing(file) => (file, None),
            Found::Draft(file, draft) => (file, Some(draft)),
        };
        let identity = file::identity(&file).map_err(|source| OpenError::File {
            path: path.to_owned(),
            source,
        })?;
        let database = database(file).map_err(|error| unusable(error.into()))?;
        let disk = |database, written| Self {
            path: path.to_owned(),
            file: identity,
            owner: owner.to_owned(),
            written,
            database: Some(database),
        };
        if let Some(draft) = draft {
            write(&database, owner, 1, &[]).map_err(|source| OpenError::Make {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
            draft.publish()?;
            return Ok((disk(database, 1), Kept::default()));
        }
        let raw = read(&database).map_err(unusable)?;
        if let Some(other) = raw.owner.filter(|of| of != owner) {
            return Err(foreign(path, other, owner));
        }
        let mut records = Vec::with_capacity(raw.slots.len());
        for (slot, value) in raw.slots {
            let record: Record =
                serde_json::from_slice(&value).map_err(|source| OpenError::Record {
                    path: PathBuf::from(path),
                    slot,
                    source,
                })?;
            records.push(record);
        }
        let kept = Kept {
            records,
            assignment: raw.assignment,
            claims: raw.claims,
        };
        Ok((disk(database, raw.written), kept))
    }

    /// Makes all jobs durable with one flush, in their order, or none of them. What is not the file that was opened, as this
    /// agent has written it, is not written: the next agent would take it for what this one remembers.
    pub(super) fn write(&mut self, jobs: &[Job]) -> Result<(), NotWritten> {
        self.is_in_its_place()?;
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopen()?,
        };
        write(&database, &self.owner, self.written + 1, jobs).map_err(NotWritten::Disk)?;
        self.written += 1;
        self.database = Some(database);
        Ok(())
    }

    /// Is the file still under its name, with something in it?
    fn is_in_its_place(&self) -> Result<(), OpenError> {
        let path = self.path.clone();
        match file::named(&path) {
            Ok((file, 0)) if file == self.file => Err(OpenError::Empty { path }),
            Ok((file, _)) if file == self.file => Ok(()),
            Ok(_) => Err(OpenError::Swapped { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(OpenError::Swapped { path })
            }
            Err(source) => Err(OpenError::File { path, source }),
        }
    }

    /// Opens the file anew after an error, if it holds what was last written into it.
    fn reopen(&mut self) -> Result<Database, NotWritten> {
        let unusable = |source: redb::Error| match source {
            // The disk still refuses; what is no ledger is an error of the reader's own making.
            redb::Error::Io(ref error) if error.raw_os_error().is_some() => {
                NotWritten::Disk(source)
            }
            other => unusable(&self.path, other).into(),
        };
        let file = file::existing(&self.path).map_err(|error| unusable(error.into()))?;
        let database = database(file).map_err(|error| unusable(error.into()))?;
        let raw = read(&database).map_err(unusable)?;
        match raw.owner {
            Some(owner) if owner != self.owner => {
                return Err(foreign(&self.path, owner, &self.owner).into());
            }
            // The write that failed may be durable all the same.
            Some(_) if (self.written..=self.written + 1).contains(&raw.written) => {}
            Some(_) | None => {
                let path = self.path.clone();
                return Err(OpenError::Swapped { path }.into());
            }
        }
        self.written = raw.written;
        Ok(database)
    }
}

/// Nothing was made durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    /// The disk refuses.
    #[error("{0}; make room on its disk and ask again")]
    Disk(redb::Error),
    /// What is in the place of the ledger is not to be written.
    #[error(transparent)]
    Unusable(#[from] OpenError),
}

fn unusable(path: &Path, source: redb::Error) -> OpenError {
    let path = path.to_owned();
    match source {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        other => OpenError::Damaged {
            path,
            source: Box::new(other),
        },
    }
}

fn foreign(path: &Path, owner: String, own: &str) -> OpenError {
    OpenError::Foreign {
        path: path.to_owned(),
        owner,
        own: own.to_owned(),
    }
}

fn database(file: File) -> Result<Database, DatabaseError> {
    Database::builder()
        .set_cache_size(CACHE)
        .create_with_backend(FileBackend::new(file)?)
}

fn write(database: &Database, owner: &str, written: u64, jobs: &[Job]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        // An earlier version has not said whose it is.
        let mut owners = transaction.open_table(OWNER)?;
        if owners.get(AGENT)?.is_none() {
            owners.insert(AGENT, owner)?;
        }
        owners.insert(WRITTEN, written.to_string().as_str())?;
        let mut slots = transaction.open_table(SLOTS)?;
        let mut said = transaction.open_table(SAID)?;
        for job in jobs {
            match job {
                Job::Batch { writes, .. } | Job::Again { writes, .. } => {
                    for write in writes {
                        match write {
                            Write::Put(record) => {
                                slots.insert(
                                    key(&record.slot()).as_str(),
                                    json(record).as_slice(),
                                )?;
                            }
                            Write::Remove(slot) => {
                                slots.remove(key(slot).as_str())?;
                            }
                        }
                    }
                }
                Job::Said(kind, bytes) => {
                    said.insert(kind.key(), bytes.as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<Raw, redb::Error> {
    let transaction = database.begin_read()?;
    let mut slots = Vec::new();
    for row in transaction.open_table(SLOTS)?.iter()? {
        let (slot, value) = row?;
        slots.push((slot.value().to_owned(), value.value().to_owned()));
    }
    let (owner, written) = match transaction.open_table(OWNER) {
        Ok(owners) => (
            owners.get(AGENT)?.map(|owner| owner.value().to_owned()),
            owners.get(WRITTEN)?.map(|number| number.value().parse()),
        ),
        // Of an earlier version, which did not say.
        Err(TableError::TableDoesNotExist(_)) => (None, None),
        Err(error) => return Err(error.into()),
    };
    let said = transaction.open_table(SAID)?;
    let kept = |kind: Kind| -> Result<_, redb::Error> {
        Ok(said.get(kind.key())?.map(|value| value.value().to_owned()))
    };
    Ok(Raw {
        slots,
        assignment: kept(Kind::Assignment)?,
        claims: kept(Kind::Claims)?,
        owner,
        written: written.and_then(Result::ok).unwrap_or_default(),
    })
}

struct Raw {
    slots: Vec<(String, Vec<u8>)>,
    assignment: Option<Vec<u8>>,
    claims: Option<Vec<u8>>,
    owner: Option<String>,
    written: u64,
}

/// The text of a slot. Slots and records are plain data with text keys, which JSON can always express.
fn key(slot: &Slot) -> String {
    serde_json::to_string(slot).unwrap_or_default()
}

fn json(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use interlock_model::ids::Term;

    use super::*;

    const OWN: &str = "interlock://shop/agent/a";

    fn term(term: u64) -> [Job; 1] {
        let writes = vec![Write::Put(Record::Term(Term(term)))];
        [Job::Batch { number: 1, writes }]
    }

    /// As it is after an error of the disk.
    #[test]
    fn what_is_opened_anew_is_the_file_that_was_written_last_or_it_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let bytes = || std::fs::read(&path).unwrap();
        let other = dir.path().join("other.redb");
        drop(Disk::open(&other, "interlock://shop/agent/b").unwrap());

        let (mut disk, _) = Disk::open(&path, OWN).unwrap();
        disk.write(&term(1)).unwrap();
        disk.database = None;
        let older = bytes();
        disk.write(&term(2)).unwrap();
        disk.database = None;
        let own = bytes();
        for (content, told) in [
            (older, "replaced under this agent"),
            (
                std::fs::read(&other).unwrap(),
                "is that of interlock://shop/agent/b",
            ),
            (Vec::new(), "is empty"),
            (b"no ledger".repeat(10_000), "cannot be read"),
        ] {
            // The file itself stays.
            std::fs::write(&path, &content).unwrap();
            let refused = disk.write(&term(3)).unwrap_err().to_string();
            assert!(refused.contains(told), "{told}: {refused}");
        }
        std::fs::write(&path, &own).unwrap();
        disk.write(&term(4)).unwrap();
        drop(disk);
        let (_, kept) = Disk::open(&path, OWN).unwrap();
        assert_eq!(kept.records, [Record::Term(Term(4))]);
    }

    #[test]
    fn a_write_that_failed_and_is_durable_all_the_same_is_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let (mut disk, _) = Disk::open(&path, OWN).unwrap();
        disk.write(&term(1)).unwrap();
        disk.database = None;
        disk.written -= 1;
        disk.write(&term(2)).unwrap();
        disk.write(&term(3)).unwrap();
    }
}
