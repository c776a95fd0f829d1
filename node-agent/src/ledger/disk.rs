//! The file.

use std::fs::File;
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

/// Whose ledger it is, under [`AGENT`]: the identity that the agent's certificate has.
const OWNER: TableDefinition<'_, &str, &str> = TableDefinition::new("owner");
const AGENT: &str = "agent";

/// The whole ledger of a long operation is some hundred KiB; the default of redb, 1 GiB, suits databases.
const CACHE: usize = 512 * 1024;

/// A ledger file. Blocks on the disk.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Whose it is.
    owner: String,
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
        let damaged = |source: redb::Error| OpenError::Damaged {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let opened = |file| {
            database(file).map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => OpenError::InUse {
                    path: path.to_owned(),
                },
                other => damaged(other.into()),
            })
        };
        let disk = |database| Self {
            path: path.to_owned(),
            owner: owner.to_owned(),
            database: Some(database),
        };
        let database = match file::find(path)? {
            Found::Existing(file) => opened(file)?,
            Found::Draft(file, draft) => {
                let database = opened(file)?;
                write(&database, owner, &[]).map_err(|source| OpenError::Make {
                    path: path.to_owned(),
                    source: Box::new(source),
                })?;
                draft.publish()?;
                return Ok((disk(database), Kept::default()));
            }
        };
        let raw = read(&database).map_err(damaged)?;
        if let Some(other) = raw.owner.filter(|of| of != owner) {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
                owner: other,
                own: owner.to_owned(),
            });
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
        Ok((disk(database), kept))
    }

    /// Makes all jobs durable with one flush, in their order, or none of them.
    pub(super) fn write(&mut self, jobs: &[Job]) -> Result<(), redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => database(file::existing(&self.path).map_err(redb::Error::Io)?)?,
        };
        write(&database, &self.owner, jobs)?;
        self.database = Some(database);
        Ok(())
    }
}

fn database(file: File) -> Result<Database, DatabaseError> {
    Database::builder()
        .set_cache_size(CACHE)
        .create_with_backend(FileBackend::new(file)?)
}

fn write(database: &Database, owner: &str, jobs: &[Job]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        // An earlier version has not said whose it is.
        let mut owners = transaction.open_table(OWNER)?;
        if owners.get(AGENT)?.is_none() {
            owners.insert(AGENT, owner)?;
        }
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
    let owner = match transaction.open_table(OWNER) {
        Ok(owners) => owners.get(AGENT)?.map(|owner| owner.value().to_owned()),
        // Of an earlier version, which did not say.
        Err(TableError::TableDoesNotExist(_)) => None,
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
    })
}

struct Raw {
    slots: Vec<(String, Vec<u8>)>,
    assignment: Option<Vec<u8>>,
    claims: Option<Vec<u8>>,
    owner: Option<String>,
}

/// The text of a slot. Slots and records are plain data with text keys, which JSON can always express.
fn key(slot: &Slot) -> String {
    serde_json::to_string(slot).unwrap_or_default()
}

fn json(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}
