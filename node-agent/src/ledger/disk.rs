//! The file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use interlock_engine::agent::ledger::{Record, Slot, Write};
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Kept, OpenError};

/// A slot, as JSON, and its record, as JSON.
const SLOTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("slots");

/// The last assignment, under [`CURRENT`].
const ASSIGNMENT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("assignment");
const CURRENT: &str = "current";

/// The whole ledger of a long operation is some hundred KiB; the default of redb, 1 GiB, suits databases.
const CACHE: usize = 512 * 1024;

/// A ledger file. Blocks on the disk.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
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
    /// The assignment, serialised.
    Assignment(Vec<u8>),
}

impl Disk {
    /// Opens or makes the file, readable by its owner alone, and reads what is in it. A file that is a ledger already
    /// needs no room for that.
    pub(super) fn open(path: &Path) -> Result<(Self, Kept), OpenError> {
        let damaged = |source: redb::Error| OpenError::Damaged {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let database = open(path).map_err(|error| match error {
            Closed::File(source) => OpenError::File {
                path: path.to_owned(),
                source,
            },
            Closed::Database(DatabaseError::DatabaseAlreadyOpen) => OpenError::InUse {
                path: path.to_owned(),
            },
            Closed::Database(other) => damaged(other.into()),
        })?;
        let raw = match read(&database) {
            Err(redb::Error::TableDoesNotExist(_)) => {
                make_tables(&database).map_err(damaged)?;
                Raw::default()
            }
            read => read.map_err(damaged)?,
        };
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
        let disk = Self {
            path: path.to_owned(),
            database: Some(database),
        };
        Ok((
            disk,
            Kept {
                records,
                assignment: raw.assignment,
            },
        ))
    }

    /// Makes all jobs durable with one flush, in their order, or none of them.
    pub(super) fn write(&mut self, jobs: &[Job]) -> Result<(), redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path).map_err(|error| match error {
                Closed::File(source) => redb::Error::Io(source),
                Closed::Database(error) => error.into(),
            })?,
        };
        write(&database, jobs)?;
        self.database = Some(database);
        Ok(())
    }
}

/// Why a file is not open.
enum Closed {
    File(std::io::Error),
    Database(DatabaseError),
}

fn open(path: &Path) -> Result<Database, Closed> {
    let file = private(path).map_err(Closed::File)?;
    FileBackend::new(file)
        .and_then(|backend| {
            Database::builder()
                .set_cache_size(CACHE)
                .create_with_backend(backend)
        })
        .map_err(Closed::Database)
}

fn write(database: &Database, jobs: &[Job]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut slots = transaction.open_table(SLOTS)?;
        let mut assignment = transaction.open_table(ASSIGNMENT)?;
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
                Job::Assignment(bytes) => {
                    assignment.insert(CURRENT, bytes.as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(SLOTS)?;
    transaction.open_table(ASSIGNMENT)?;
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
    let assignment = transaction
        .open_table(ASSIGNMENT)?
        .get(CURRENT)?
        .map(|value| value.value().to_owned());
    Ok(Raw { slots, assignment })
}

#[derive(Default)]
struct Raw {
    slots: Vec<(String, Vec<u8>)>,
    assignment: Option<Vec<u8>>,
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// The text of a slot. Slots and records are plain data with text keys, which JSON can always express.
fn key(slot: &Slot) -> String {
    serde_json::to_string(slot).unwrap_or_default()
}

fn json(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}
