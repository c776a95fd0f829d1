//! The spool: compressed files that wait for the share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

/// What compresses. A program that every system has, and the agent need not be: it would be a tenth of its size.
const GZIP: &str = "/usr/bin/gzip";

/// How many bytes may be written before the bound of the spool is looked at again.
const LOOK: u64 = 1024 * 1024;

/// The name of a file that is not whole ends so.
pub(super) const PART: &str = ".part";

/// Where files wait.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    most: u64,
}

/// A file that is being written.
pub(super) struct Waiting {
    part: PathBuf,
    path: PathBuf,
    gzip: Child,
    input: ChildStdin,
    /// What may be written until it is looked again.
    unlooked: u64,
    /// What this file may have at most.
    room: u64,
}

/// Why something does not go into the spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSpooled {
    /// It has no room.
    #[error("the spool is full")]
    Full,
    /// The system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Spool {
    /// In this directory, with at most so many bytes.
    pub(super) fn new(dir: PathBuf, most: u64) -> Self {
        Self { dir, most }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Does a whole file wait?
    pub(super) fn holds_something(&self) -> bool {
        self.holds().0 > 0
    }

    /// How many whole files wait, and how many bytes are there in all.
    pub(super) fn holds(&self) -> (usize, u64) {
        let (mut count, mut bytes) = (0, 0);
        for path in files(&self.dir).unwrap_or_default() {
            bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            count += usize::from(!path.to_string_lossy().ends_with(PART));
        }
        (count, bytes)
    }

    /// Removes what an agent that was killed has not ended.
    pub(super) fn sweep(&self) -> io::Result<()> {
        files(&self.dir)?
            .iter()
            .filter(|path| path.to_string_lossy().ends_with(PART))
            .try_for_each(fs::remove_file)
    }

    /// Begins a file of this day, log and name.
    pub(super) fn begin(&self, day: &str, log: &str, name: &str) -> Result<Waiting, NotSpooled> {
        let (_, used) = self.holds();
        let room = self.most.saturating_sub(used);
        if room == 0 {
            return Err(NotSpooled::Full);
        }
        let wanted = self.dir.join(day).join(log).join(name);
        let path = free(&wanted, ".gz");
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut part = path.clone().into_os_string();
        part.push(PART);
        let part = PathBuf::from(part);
        let mut gzip = Command::new(GZIP)
            .args(["--stdout", "--no-name"])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&part)?)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::other(format!("cannot start {GZIP}: {error}")))?;
        let input = gzip
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("gzip has no input"))?;
        Ok(Waiting {
            part,
            path,
            gzip,
            input,
            unlooked: 0,
            room,
        })
    }
}

impl Waiting {
    /// Takes what comes.
    pub(super) async fn write(&mut self, data: &[u8]) -> Result<(), NotSpooled> {
        self.input.write_all(data).await?;
        self.unlooked += data.len() as u64;
        if self.unlooked >= LOOK {
            self.unlooked = 0;
            if fs::metadata(&self.part)?.len() > self.room {
                return Err(NotSpooled::Full);
            }
        }
        Ok(())
    }

    /// Ends it: from here on it waits for the share.
    pub(super) async fn finish(mut self) -> Result<(), NotSpooled> {
        drop(self.input);
        let status = self.gzip.wait().await?;
        if !status.success() {
            return Err(io::Error::other(format!("gzip ended with {status}")).into());
        }
        if fs::metadata(&self.part)?.len() > self.room {
            drop(fs::remove_file(&self.part));
            return Err(NotSpooled::Full);
        }
        fs::File::open(&self.part)?.sync_all()?;
        Ok(fs::rename(&self.part, &self.path)?)
    }

    /// Gives it up.
    pub(super) fn drop_it(self) {
        // What stays is swept later.
        drop(fs::remove_file(&self.part));
    }
}

/// A path that is free: with this ending, or with `~2` and so on before it.
pub(super) fn free(wanted: &Path, ending: &str) -> PathBuf {
    let with = |more: &str| {
        let mut name = wanted.as_os_str().to_owned();
        name.push(more);
        name.push(ending);
        PathBuf::from(name)
    };
    let mut path = with("");
    let mut number = 2;
    while path.exists() {
        path = with(&format!("~{number}"));
        number += 1;
    }
    path
}

/// All files below a directory, in order; none if it is not there.
pub(super) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut all = Vec::new();
    for entry in entries {
        if entry.file_type()?.is_dir() {
            all.extend(files(&entry.path())?);
        } else {
            all.push(entry.path());
        }
    }
    Ok(all)
}
