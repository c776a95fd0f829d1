//! The durable half: commits groups to the database and finds out what happened when that fails.
//!
//! # When a write fails
//! redb refuses everything after the first I/O error until the database is opened again. The
//! engine does that by itself: at once after a failed commit, and else before the next group. What
//! the file then says decides what became of the failed group:
//!
//! | the file is at | the group |
//! |---|---|
//! | the revision before the group | certainly not committed |
//! | the revision of the group | committed after all |
//! | cannot be opened yet | **unknown**; decided at the next opening that works |
//! | anything else | somebody else wrote: the store is damaged |
//!
//! A failure before the commit itself was begun is certainly not committed.
//!
//! Opening again reads and verifies the whole file, once for each group that is tried meanwhile;
//! callers that back off keep that cheap, and no clock is needed here.

use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::Database;

use super::super::{Cause, CommitError, Error, Incarnation};
use super::database::{self, Fault, Identity};
use super::file::{is_no_space, refused};
use super::medium::Medium;
use super::open_error::OpenError;
use super::state::{Staged, State};

/// The database, or what is left of it.
#[derive(Debug)]
enum Health {
    Open(Box<Database>),
    /// Not open since an I/O error. The group whose commit failed, if it is not known how it ended.
    Shut(Option<Staged>),
    /// Never to be written again by this process.
    Damaged(Error),
}

/// The only writer of one store.
#[derive(Debug)]
pub(crate) struct Engine<M> {
    medium: M,
    place: String,
    /// What the file is known to hold.
    identity: Identity,
    health: Health,
}

impl<M: Medium> Engine<M> {
    /// Makes an empty store on an empty medium.
    pub(crate) fn create(
        medium: M,
        path: &Path,
        incarnation: Incarnation,
    ) -> Result<(Self, State), OpenError> {
        let create = || -> Result<(), Fault> {
            let database = database::open(&medium)?;
            Ok(database::initialise(&database, incarnation)?)
        };
        create().map_err(|fault| cannot_open(path, fault))?;
        Self::open(medium, path)
    }

    /// Opens and loads the store on `medium`; gives unused space back if there is much of it.
    pub(crate) fn open(medium: M, path: &Path) -> Result<(Self, State), OpenError> {
        let open = || -> Result<(Database, Identity, State), Fault> {
            let mut database = database::open(&medium)?;
            let identity = database::guarded(|| database::identify(&database))?;
            let entries = database::guarded(|| database::load(&database, identity.revision))?;
            let file_bytes = medium.len().map_err(redb::Error::from)?;
            if let Err(error) = database::compact(&mut database, file_bytes) {
                let place = path.display();
                tracing::warn!(%place, %error, "the store could not be compacted, using it as it is");
                drop(database);
                database = database::open(&medium)?;
            }
            Ok((database, identity, State::new(identity.revision, entries)))
        };
        let (database, identity, state) = open().map_err(|fault| cannot_open(path, fault))?;
        let engine = Self {
            medium,
            place: format!("the store {}", path.display()),
            identity,
            health: Health::Open(Box::new(database)),
        };
        Ok((engine, state))
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.identity.incarnation
    }

    /// Opens the database again if an error shut it.
    ///
    /// Returns the group that turned out to be committed, to be applied before anything else.
    pub(crate) fn ready(&mut self) -> Result<Option<Staged>, Error> {
        match &mut self.health {
            Health::Open(_) => Ok(None),
            Health::Damaged(error) => Err(error.clone()),
            Health::Shut(doubt) => {
                let doubt = doubt.take();
                match reopen(&self.medium) {
                    Ok((database, found)) => self.settle(database, found, doubt),
                    Err(fault) => {
                        let error = self.failed(fault);
                        if !matches!(self.health, Health::Damaged(_)) {
                            self.health = Health::Shut(doubt);
                        }
                        Err(error)
                    }
                }
            }
        }
    }

    /// Decides by what the file holds how the group in doubt ended.
    fn settle(
        &mut self,
        database: Database,
        found: Identity,
        doubt: Option<Staged>,
    ) -> Result<Option<Staged>, Error> {
        let committed = doubt.filter(|staged| staged.revision() == found.revision);
        let expected = Identity {
            revision: committed
                .as_ref()
                .map_or(self.identity.revision, Staged::revision),
            ..self.identity
        };
        if found != expected {
            return Err(self.damaged(io::Error::other(format!(
                "it is at revision {} of store {}, but revision {} of store {} was written: \
                 another program changed it",
                found.revision, found.incarnation, expected.revision, expected.incarnation
            ))));
        }
        self.identity = found;
        self.health = Health::Open(Box::new(database));
        tracing::debug!(place = %self.place, revision = %found.revision, "opened again");
        Ok(committed)
    }

    /// Makes a group durable. Call [`ready`](Self::ready) first.
    pub(crate) fn commit(&mut self, staged: Staged) -> Result<Staged, CommitError> {
        let Health::Open(database) = &self.health else {
            return Err(CommitError::NotCommitted(self.closed()));
        };
        let prepared = database
            .begin_write()
            .map_err(redb::Error::from)
            .and_then(|write| database::write(&write, &staged).map(|()| write));
        let error = match prepared {
            Ok(write) => match write.commit() {
                Ok(()) => {
                    self.identity.revision = staged.revision();
                    return Ok(staged);
                }
                Err(error) => {
                    self.health = Health::Shut(Some(staged));
                    self.failed(Fault::Engine(error.into()))
                }
            },
            Err(error) => {
                self.health = Health::Shut(None);
                return Err(CommitError::NotCommitted(self.failed(Fault::Engine(error))));
            }
        };
        match self.ready() {
            Ok(Some(staged)) => Ok(staged),
            Ok(None) => Err(CommitError::NotCommitted(error)),
            Err(_) => Err(CommitError::Unknown(error)),
        }
    }

    /// Tells what a fault means; a fault of the content ends writing for good.
    fn failed(&mut self, fault: Fault) -> Error {
        let place = self.place.clone();
        match fault {
            Fault::Engine(redb::Error::Io(source)) if is_no_space(&source) => Error::NoSpace {
                place,
                source: Arc::new(source),
            },
            Fault::Engine(redb::Error::Io(source)) if !is_content(&source) => Error::Io {
                place,
                source: Arc::new(source),
            },
            Fault::Engine(source @ redb::Error::PreviousIo) => Error::Io {
                place,
                source: Arc::new(source),
            },
            fault => self.damaged(fault),
        }
    }

    fn damaged(&mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        let error = Error::Damaged {
            place: self.place.clone(),
            source: Arc::new(source),
        };
        tracing::error!(place = %self.place, error = ?error, "nothing is written any more");
        self.health = Health::Damaged(error.clone());
        error
    }

    fn closed(&self) -> Error {
        Error::Closed {
            place: self.place.clone(),
        }
    }
}

fn reopen<M: Medium>(medium: &M) -> Result<(Database, Identity), Fault> {
    medium.distrust_cache().map_err(redb::Error::from)?;
    let database = database::open(medium)?;
    let identity = database::guarded(|| database::identify(&database))?;
    Ok((database, identity))
}

/// Whether the engine means the content by an I/O error, not the medium: no valid beginning, or an
/// end that comes too early.
fn is_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// Tells the person who starts the coordinator what is wrong with the file.
fn cannot_open(path: &Path, fault: Fault) -> OpenError {
    let not_a_store = |found| OpenError::NotAStore {
        path: path.to_owned(),
        found,
    };
    match fault {
        Fault::Foreign => not_a_store("it is a database of another program"),
        Fault::Newer(found) => OpenError::Newer {
            path: path.to_owned(),
            found,
            known: database::FORMAT,
        },
        Fault::Engine(redb::Error::UpgradeRequired(_)) => {
            not_a_store("it is a database in a format that no version of Interlock wrote")
        }
        Fault::Engine(redb::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            not_a_store("its first bytes are those of another kind of file, or were overwritten")
        }
        Fault::Engine(redb::Error::Io(error)) if !is_content(&error) => refused(path, error),
        fault => OpenError::Damaged {
            path: path.to_owned(),
            source: Arc::new(fault) as Cause,
        },
    }
}
