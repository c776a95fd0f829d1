//! The helper process of file probes: reads and writes the files that may hang, so that the agent need not.
//!
//! # Protocol
//! One line of JSON per question on standard input ([`Question`]), one per answer on standard output ([`Answer`]), in
//! turns. It ends with its input, that is, with the agent. It starts no runtime and no threads, and between two questions
//! it has no file open, so it keeps no file system from being unmounted.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Advice, OFlags, fadvise};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The first argument that makes the agent's program be this helper.
pub const WORD: &str = "probe-file";

/// The longest marker, in bytes.
pub(super) const MAX_CONTENT: usize = 64 << 10;

/// The longest file of which a digest is made, in bytes: configuration, not data.
const MAX_DIGEST: u64 = 64 << 20;

/// What the helper is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Question {
    /// The content of this file.
    Read(String),
    /// The SHA-256 digest of this file, in hexadecimal.
    Digest(String),
    /// Write this file, and read it back from its file system.
    Write {
        /// The file. Made if it is not there, replaced if it is.
        path: String,
        /// What to write.
        content: String,
    },
}

/// What the helper found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// What was asked for.
    Ok(String),
    /// It definitely cannot be: the file is not there, or its file system says so. One line.
    Bad(String),
    /// Nothing is known about it. One line.
    Unknown(String),
}

/// Runs the helper until its input ends. It takes no arguments after [`WORD`].
#[must_use]
pub fn helper(arguments: &[OsString]) -> ExitCode {
    if !arguments.is_empty() {
        return ExitCode::FAILURE;
    }
    match answer_all() {
        Ok(()) => ExitCode::SUCCESS,
        // Without anybody to read it the answer does not matter.
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer_all() -> io::Result<()> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let question: Question = serde_json::from_str(&line?)?;
        let found = match &question {
            Question::Read(path) => read(Path::new(path)),
            Question::Digest(path) => digest(Path::new(path)),
            Question::Write { path, content } => write(Path::new(path), content),
        };
        let answer = match found {
            Ok(content) => Answer::Ok(String::from_utf8_lossy(&content).into_owned()),
            Err(answer) => answer,
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        output.write_all(&line)?;
        output.flush()?;
    }
    Ok(())
}

type Found = Result<Vec<u8>, Answer>;

fn read(path: &Path) -> Found {
    let mut content = Vec::new();
    let limit = MAX_CONTENT as u64 + 1;
    open(path)?
        .take(limit)
        .read_to_end(&mut content)
        .map_err(|error| failed(path, &error))?;
    if content.len() > MAX_CONTENT {
        return Err(Answer::Unknown(format!(
            "{} is longer than {MAX_CONTENT} bytes",
            path.display()
        )));
    }
    Ok(content)
}

fn digest(path: &Path) -> Found {
    let mut file = open(path)?.take(MAX_DIGEST + 1);
    let mut hash = Sha256::new();
    let length = io::copy(&mut file, &mut hash).map_err(|error| failed(path, &error))?;
    if length > MAX_DIGEST {
        return Err(Answer::Unknown(format!(
            "{} is longer than {MAX_DIGEST} bytes",
            path.display()
        )));
    }
    Ok(hash
        .finalize()
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect())
}

/// Writes the file through to its file system and reads it back from there, not from this machine's memory.
///
/// The directory may be writable for others, and this process may be root: a link that lies where the file should be is
/// not followed, and what is no regular file is not touched.
fn write(path: &Path, content: &str) -> Found {
    let open = |options: &mut OpenOptions| {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let flags = i32::try_from(flags).unwrap_or_default();
        let file = options.custom_flags(flags).open(path);
        let file = file.map_err(|error| failed(path, &error))?;
        let metadata = file.metadata().map_err(|error| failed(path, &error))?;
        if metadata.is_file() {
            Ok(file)
        } else {
            Err(irregular(path))
        }
    };
    // Not truncated at opening: first it has to be seen what it is.
    let mut file = open(OpenOptions::new().write(true).create(true).truncate(false))?;
    let written = file
        .set_len(0)
        .and_then(|()| file.write_all(content.as_bytes()))
        .and_then(|()| file.sync_all());
    written.map_err(|error| failed(path, &error))?;
    // A file system that cannot drop its pages reads from memory; that it took the content is known by now.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    drop(file);
    let mut back = Vec::new();
    open(OpenOptions::new().read(true))?
        .take(MAX_CONTENT as u64)
        .read_to_end(&mut back)
        .map_err(|error| failed(path, &error))?;
    if back == content.as_bytes() {
        Ok(Vec::new())
    } else {
        Err(Answer::Bad(format!(
            "{} does not hold what was written to it a moment ago",
            path.display()
        )))
    }
}

fn irregular(path: &Path) -> Answer {
    Answer::Bad(format!("{} is not a regular file", path.display()))
}

/// Regular files only: a FIFO would wait for a writer, a device would never end.
fn open(path: &Path) -> Result<File, Answer> {
    let metadata = std::fs::metadata(path).map_err(|error| failed(path, &error))?;
    if !metadata.is_file() {
        return Err(irregular(path));
    }
    File::open(path).map_err(|error| failed(path, &error))
}

/// What this process may not do, or lacks the means for, says nothing about the file. Everything else is the file
/// system's own answer: not there, stale handle, I/O error, disconnected.
fn failed(path: &Path, error: &io::Error) -> Answer {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::OutOfMemory
        | ErrorKind::Interrupted
        | ErrorKind::InvalidInput
        | ErrorKind::TimedOut => Answer::Unknown(text),
        _ if error.raw_os_error().is_some_and(is_shortage) => Answer::Unknown(text),
        _ => Answer::Bad(text),
    }
}

fn is_shortage(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS]
        .iter()
        .any(|errno| errno.raw_os_error() == code)
}
