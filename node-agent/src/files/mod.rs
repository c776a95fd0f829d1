//! Files of services that operations write.
//!
//! Which file that is, who owns it and what checks it, is said by the agent's own file ([`ManagedFile`]); what it shall
//! say comes with the command, but for the values of secrets, which lie on the node and are put in here.
//!
//! # A change
//! ```text
//! the checker looks at the text, beside the file ──► keep what the file says (note) ──► put the text in its place
//!   │ refuses: nothing was touched                                                        │
//!   ▼                                              its checker looks at the file there ◄──┘ (if it cannot look elsewhere)
//!                                                    │ refuses: what it said is put back
//! ```
//! An attempt that is cancelled, or whose time is over, ends a checker that still looks, and what that looks at is put back
//! before the attempt says how it ended: nothing starts with a text that nobody has found good.
//!
//! Each arrow to the right begins when what is before it is on the disk, so that an agent that is ended anywhere finds,
//! by the same look, what is left to be done.
//!
//! # The note
//! One for each file, in the agent's own directory, for nobody else's eyes: which operation has written the file last,
//! what it said before (with owner and mode), and what it was made to say. It is begun by the first write of an operation and
//! not replaced by a later attempt of the same one: what was before the operation is what it is taken back to. What another
//! operation left counts for nothing. A file that somebody else has changed since is theirs: it is neither written nor put
//! back.

mod compare;
mod error;
mod note;

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use interlock_model::file::{FileWork, Piece, Text};
use interlock_model::ids::OperationId;
use interlock_model::names::LocalName;
use rustix::fs::OFlags;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::{ManagedFile, Secrets};
use crate::group::End;
use crate::power::Secret;
use crate::power::redact;
use crate::replace::{self, Whose};
use crate::run::chain;
use crate::tool::{self, blocking};
use note::{Content, Note};

use compare::Compared;

pub(crate) use error::Error;

/// How long a checker may take: it may look names up.
const CHECK: Duration = Duration::from_secs(30);

/// The most bytes of a file that is kept aside. What an operator has in a configuration is far below.
const LARGEST: u64 = 4 << 20;

/// The longest line of a checker that is told.
const LINE: usize = 300;

/// Writes files of services, and puts them back.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Where the notes are.
    notes: PathBuf,
    secrets: Secrets,
    /// Held by whoever works on a file.
    turn: Arc<Mutex<()>>,
}

/// One file, and for which operation something is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) operation: OperationId,
    pub(crate) name: LocalName,
    pub(crate) file: ManagedFile,
    /// Cancelled when nobody wants it any more: a checker that still looks is ended, and what it looks at is put back.
    pub(crate) end: CancellationToken,
}

impl Files {
    /// With notes in this directory, which is made when there is one.
    pub(crate) fn new(notes: PathBuf, secrets: Secrets) -> Self {
        Self {
            notes,
            secrets,
            turn: Arc::default(),
        }
    }

    /// Does what is asked for, and says what is so then. What has begun goes on to its end when nobody waits for it any more.
    ///
    /// # Errors
    /// See [`Error`]; nothing of it is left but where it says so.
    pub(crate) async fn work(&self, job: Job, work: FileWork) -> Result<String, Error> {
        let files = self.clone();
        let done = tokio::spawn(async move {
            let _turn = tokio::select! {
                biased;
                () = job.end.cancelled() => return Err(Error::NotBegun),
                turn = files.turn.lock() => turn,
            };
            match work {
                FileWork::Try(text) => files.look(&job, &text).await,
                FileWork::Write(text) => files.write(&job, &text).await,
                FileWork::Restore => files.restore(&job).await,
            }
        });
        done.await
            .map_err(|error| Error::Read(PathBuf::new(), io::Error::other(error)))?
    }

    /// How a file compares with what it would be with a text. Changes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn compare(
        &self,
        name: &LocalName,
        file: &ManagedFile,
        text: Text,
    ) -> Result<Compared, Error> {
        let (wanted, _) = self.assemble(file, &text).await?;
        let path = place(file).await?;
        let now = read(&path).await?;
        let (store, name, file) = (self.secrets.clone(), name.clone(), file.clone());
        let compared = blocking(move || {
            let changed = match fs::symlink_metadata(&path) {
                Ok(there) => Some(became(&there)),
                Err(_) => None,
            };
            let known = |name: &LocalName| Some((name.clone(), store.read(name).ok()?));
            let secrets: Option<Vec<_>> = file.secrets.iter().map(known).collect();
            let case = compare::Case {
                name: &name,
                file: &file,
                now: now.as_ref(),
                text: &text,
                wanted: &wanted,
                secrets: secrets.as_deref(),
            };
            Ok(Compared {
                same: now.as_ref() == Some(&wanted),
                changed,
                difference: case.difference(),
            })
        });
        compared
            .await
            .map_err(|source| Error::Read(PathBuf::new(), source))
    }

    /// Has the checker look at a text, if it can before that is in its place.
    async fn look(&self, job: &Job, text: &Text) -> Result<String, Error> {
        let (wanted, secrets) = self.assemble(&job.file, text).await?;
        // It lies beside its place for a moment also where nobody looks at it there: that shows whether it can.
        self.check_beside(job, &wanted, &secrets).await?;
        Ok(match job.file.check {
            None => "it can be written, and nothing checks it",
            Some(_) if !job.file.checks_elsewhere() => {
                "it can be written, and its checker looks at it when it is in its place"
            }
            Some(_) => "its checker takes the text",
        }
        .to_owned())
    }

    async fn write(&self, job: &Job, text: &Text) -> Result<String, Error> {
        let (wanted, secrets) = self.assemble(&job.file, text).await?;
        let path = job.path().await?;
        let now = read(&path).await?;
        let note = self.note(job).await?;
        if now.as_ref() == Some(&wanted) {
            // It may be there because an earlier attempt was ended right after it had put it there.
            self.check_in_place(job, &path, note.as_ref(), &secrets)
                .await?;
            return Ok(format!("{} says so already", path.display()));
        }
        if job.file.checks_elsewhere() {
            self.check_beside(job, &wanted, &secrets).await?;
        }
        let note = match note {
            Some(note) if note.is_before(now.as_ref()) || note.is_after(now.as_ref()) => Note {
                after: wanted.digest(),
                ..note
            },
            Some(_) => return Err(Error::Changed(path)),
            None => Note::new(job.operation, now, &wanted),
        };
        if job.end.is_cancelled() {
            return Err(Error::NotBegun);
        }
        self.keep(job, &note).await?;
        put(&path, wanted).await?;
        if !job.file.checks_elsewhere() {
            self.check_in_place(job, &path, Some(&note), &secrets)
                .await?;
        }
        Ok(match job.file.check {
            Some(_) => format!("{} is written, and its checker takes it", path.display()),
            None => format!("{} is written", path.display()),
        })
    }

    async fn restore(&self, job: &Job) -> Result<String, Error> {
        let path = job.path().await?;
        let Some(note) = self.note(job).await? else {
            return Ok(format!(
                "{} is as it was: this operation has not written it",
                path.display()
            ));
        };
        if note.is_before(read(&path).await?.as_ref()) {
            return Ok(format!("{} is as it was", path.display()));
        }
        take_back(&path, &note).await?;
        Ok(format!("{} is as it was before", path.display()))
    }

    /// What the file shall be, and the secrets that nothing told of it may have.
    async fn assemble(
        &self,
        file: &ManagedFile,
        text: &Text,
    ) -> Result<(Content, Vec<Secret>), Error> {
        let (store, text, file) = (self.secrets.clone(), text.clone(), file.clone());
        let path = place(&file).await?;
        let assembled = tokio::task::spawn_blocking(move || {
            let (mut bytes, mut secrets) = (Vec::new(), Vec::new());
            for piece in &text.pieces {
                match piece {
                    Piece::Plain(text) => bytes.extend_from_slice(text.as_bytes()),
                    Piece::Secret(name) => {
                        let secret = store.read(name).map_err(Error::Secret)?;
                        bytes.extend_from_slice(secret.expose().as_bytes());
                        secrets.push(secret);
                    }
                }
            }
            let there = match fs::metadata(&path) {
                Ok(there) => Some(Whose::of(&there)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(Error::Read(path, error)),
            };
            let whose = whose(&file, there)?;
            if !secrets.is_empty() && whose.mode & 0o007 != 0 {
                return Err(Error::Exposed(path, whose.mode));
            }
            // A checker may print lines that are not from this text.
            Ok((Content { bytes, whose }, store.all()))
        });
        assembled
            .await
            .map_err(|error| Error::Read(PathBuf::new(), io::Error::other(error)))?
    }

    /// Has the checker look at a text that lies beside its place, and is gone afterwards.
    async fn check_beside(
        &self,
        job: &Job,
        wanted: &Content,
        secrets: &[Secret],
    ) -> Result<(), Error> {
        let path = job.path().await?;
        let trial = trial(&path);
        let (to, content) = (trial.clone(), wanted.clone());
        let written = blocking(move || replace::write(&to, &content.bytes, content.whose)).await;
        let verdict = match (written, job.file.check_of(&trial.display().to_string())) {
            (Err(source), _) => Err(Error::Write(trial.clone(), source)),
            (Ok(()), Some(command)) => job.check(&command, secrets).await,
            (Ok(()), None) => Ok(()),
        };
        let gone = trial.clone();
        if let Err(source) = blocking(move || replace::remove(&gone)).await {
            tracing::warn!(file = %trial.display(), %source, "a text that was only tried is left behind");
        }
        verdict.map_err(|error| error.about(&trial, &path))
    }

    /// Has the checker look at the file in its place, and puts back what this operation has written over if it refuses it,
    /// unless somebody else has changed it meanwhile: a checker may take its time.
    async fn check_in_place(
        &self,
        job: &Job,
        path: &Path,
        note: Option<&Note>,
        secrets: &[Secret],
    ) -> Result<(), Error> {
        let command = job.file.check_of(&path.display().to_string());
        let Some(command) = command.or_else(|| job.file.check.clone()) else {
            return Ok(());
        };
        let Err(refused) = job.check(&command, secrets).await else {
            return Ok(());
        };
        let Some(note) = note else {
            return Err(refused);
        };
        match take_back(path, note).await {
            Ok(()) => Err(refused),
            Err(error) => Err(Error::Left {
                path: path.to_owned(),
                refused: Box::new(refused),
                why: chain(&error),
            }),
        }
    }

    /// The note of this operation on a file. That of another one counts for nothing.
    async fn note(&self, job: &Job) -> Result<Option<Note>, Error> {
        let path = self.notes.join(format!("{}.json", job.name));
        let file = path.clone();
        let bytes = match blocking(move || fs::read(file)).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read(path, source)),
        };
        // Notes are put in their place as a whole.
        let note: Note = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Read(path, io::Error::other(error)))?;
        Ok((note.operation == job.operation).then_some(note))
    }

    async fn keep(&self, job: &Job, note: &Note) -> Result<(), Error> {
        let path = self.notes.join(format!("{}.json", job.name));
        let bytes = serde_json::to_vec(note).map_err(io::Error::other);
        let (directory, file) = (self.notes.clone(), path.clone());
        let kept = blocking(move || {
            replace::make_private(&directory)?;
            replace::keep(&file, &bytes?)
        });
        kept.await.map_err(|source| Error::Write(path, source))
    }
}

impl Job {
    async fn path(&self) -> Result<PathBuf, Error> {
        place(&self.file).await
    }

    /// Asks a checker. What it says is told without secrets, and in one line.
    async fn check(&self, command: &[String], secrets: &[Secret]) -> Result<(), Error> {
        let shown = command.join(" ");
        let printed = tokio::select! {
            biased;
            () = self.end.cancelled() => return Err(Error::Ended(shown)),
            printed = tool::run(command, CHECK) => printed,
        };
        let printed = match printed {
            Ok(printed) => printed,
            Err(source) => return Err(Error::Checker(shown, source)),
        };
        let said = match printed.end {
            End::Exited(0) => return Ok(()),
            End::TimedOut | End::Undead(_) => format!("it has not said within {CHECK:?}"),
            End::Signalled(signal) => format!("it was killed by signal {signal}"),
            End::Exited(code) => {
                let text = redact(&printed.text, secrets.iter());
                let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                let line: String = lines
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(LINE)
                    .collect();
                match line.as_str() {
                    "" => format!("exit code {code}"),
                    line => line.to_owned(),
                }
            }
        };
        Err(Error::Refused(shown, said))
    }
}

/// Where a file is. A symbolic link is not followed: its directory may belong to the service's own user, who would say by it
/// which file of the machine this process replaces.
async fn place(file: &ManagedFile) -> Result<PathBuf, Error> {
    let path = file.path.clone();
    let is_link = blocking(move || match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => Ok(found?.is_symlink()),
    });
    let path = file.path.clone();
    match is_link.await {
        Ok(false) => Ok(path),
        Ok(true) => Err(Error::Link(path)),
        Err(error) => Err(Error::Read(path, error)),
    }
}

/// When a file became what it is: its bytes, its owner, its mode and its name (`st_ctime`, inode(7)), which nobody can set.
fn became(there: &fs::Metadata) -> SystemTime {
    let seconds = Duration::from_secs(there.ctime().try_into().unwrap_or_default());
    let nanos = Duration::from_nanos(there.ctime_nsec().try_into().unwrap_or_default());
    SystemTime::UNIX_EPOCH + seconds + nanos
}

/// Who a file shall belong to: as the agent's own file says, else as it is.
fn whose(file: &ManagedFile, there: Option<Whose>) -> Result<Whose, Error> {
    let own = || Whose {
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
        mode: 0o600,
    };
    let mut whose = there.unwrap_or_else(own);
    if let Some(owner) = &file.owner {
        let user = owner.resolve().map_err(Error::Owner)?;
        (whose.user, whose.group) = (user.uid, user.gid);
    }
    whose.mode = file.mode.unwrap_or(whose.mode);
    Ok(whose)
}

/// Where a text lies while it is looked at. With a dot at its beginning, so that nobody who includes all of a directory
/// reads it, and the ending of the file, by which some checkers go.
fn trial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".interlock-try.{name}"))
}

async fn read(path: &Path) -> Result<Option<Content>, Error> {
    let file = path.to_owned();
    let found = blocking(move || {
        // Nor is a link followed that has come since, and what is no file is not waited for.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let flags = i32::try_from(flags).unwrap_or_default();
        let open = fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&file);
        let mut open = match open {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let there = open.metadata()?;
        if !there.is_file() || there.len() > LARGEST {
            let what = format!("it is no file of at most {LARGEST} bytes");
            return Err(io::Error::other(what));
        }
        let mut bytes = Vec::new();
        open.by_ref().take(LARGEST).read_to_end(&mut bytes)?;
        Ok(Some(Content {
            bytes,
            whose: Whose::of(&there),
        }))
    });
    found
        .await
        .map_err(|source| Error::Read(path.to_owned(), source))
}

async fn put(path: &Path, content: Content) -> Result<(), Error> {
    let file = path.to_owned();
    let put = blocking(move || replace::replace_as(&file, &content.bytes, content.whose));
    put.await
        .map_err(|source| Error::Write(path.to_owned(), source))
}

/// Puts back what the file said before, over what the operation has made it say and over nothing else.
async fn take_back(path: &Path, note: &Note) -> Result<(), Error> {
    let now = read(path).await?;
    if note.is_before(now.as_ref()) {
        return Ok(());
    }
    if !note.is_after(now.as_ref()) {
        return Err(Error::Changed(path.to_owned()));
    }
    let Some(before) = note.before.clone() else {
        let file = path.to_owned();
        let removed = blocking(move || replace::remove(&file)).await;
        return removed.map_err(|source| Error::Write(path.to_owned(), source));
    };
    put(path, before).await
}
