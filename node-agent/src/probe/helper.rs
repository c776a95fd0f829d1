//! The helper process of file probes: reads one file, says what it found, exits.
//!
//! Exit code [`OK`] with the content or the digest on standard output; [`BAD`] or [`UNKNOWN`] with one line on standard
//! error. It starts no runtime and no threads.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use sha2::{Digest as _, Sha256};

/// The first argument that makes the agent's program be this helper.
pub const WORD: &str = "probe-file";

/// The file was read.
pub(super) const OK: u8 = 0;
/// It definitely cannot be: it is not there, or its file system says so. Apart from the codes that a shell or a
/// panicking program ends with.
pub(super) const BAD: u8 = 10;
/// Nothing is known about it.
pub(super) const UNKNOWN: u8 = 11;

/// The longest marker, in bytes.
pub(super) const MAX_CONTENT: usize = 64 << 10;

/// The longest file of which a digest is made, in bytes: configuration, not data.
const MAX_DIGEST: u64 = 64 << 20;

/// What the helper does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Print the content.
    Read,
    /// Print the SHA-256 digest in hexadecimal.
    Digest,
}

impl Task {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Digest => "digest",
        }
    }
}

/// Runs the helper with the arguments after [`WORD`]: a task and a path.
#[must_use]
pub fn helper(arguments: &[OsString]) -> ExitCode {
    let task = |word: &OsString| {
        [Task::Read, Task::Digest]
            .into_iter()
            .find(|task| word == task.word())
    };
    let outcome = match arguments {
        [word, path] => match task(word) {
            Some(Task::Read) => read(Path::new(path)),
            Some(Task::Digest) => digest(Path::new(path)),
            None => Err((UNKNOWN, "the task is 'read' or 'digest'".to_owned())),
        },
        _ => Err((UNKNOWN, "a task and a path are needed".to_owned())),
    };
    let (code, written) = match outcome {
        Ok(content) => (OK, io::stdout().write_all(&content)),
        Err((code, why)) => (code, io::stderr().write_all(why.as_bytes())),
    };
    // Without anybody to read it the answer does not matter, but it must not pass for a good one.
    ExitCode::from(if written.is_ok() { code } else { UNKNOWN })
}

type Outcome = Result<Vec<u8>, (u8, String)>;

fn read(path: &Path) -> Outcome {
    let mut content = Vec::new();
    let limit = MAX_CONTENT as u64 + 1;
    open(path)?
        .take(limit)
        .read_to_end(&mut content)
        .map_err(|error| failed(path, &error))?;
    if content.len() > MAX_CONTENT {
        return Err((
            UNKNOWN,
            format!("{} is longer than {MAX_CONTENT} bytes", path.display()),
        ));
    }
    Ok(content)
}

fn digest(path: &Path) -> Outcome {
    let mut file = open(path)?.take(MAX_DIGEST + 1);
    let mut hash = Sha256::new();
    let length = io::copy(&mut file, &mut hash).map_err(|error| failed(path, &error))?;
    if length > MAX_DIGEST {
        return Err((
            UNKNOWN,
            format!("{} is longer than {MAX_DIGEST} bytes", path.display()),
        ));
    }
    Ok(hash
        .finalize()
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect())
}

/// Regular files only: a FIFO would wait for a writer, a device would never end.
fn open(path: &Path) -> Result<File, (u8, String)> {
    let metadata = std::fs::metadata(path).map_err(|error| failed(path, &error))?;
    if !metadata.is_file() {
        return Err((BAD, format!("{} is not a regular file", path.display())));
    }
    File::open(path).map_err(|error| failed(path, &error))
}

/// What this process may not do, or lacks the means for, says nothing about the file. Everything else is the file
/// system's own answer: not there, stale handle, I/O error, disconnected.
fn failed(path: &Path, error: &io::Error) -> (u8, String) {
    let code = match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::OutOfMemory
        | ErrorKind::Interrupted
        | ErrorKind::InvalidInput
        | ErrorKind::TimedOut => UNKNOWN,
        _ if error.raw_os_error().is_some_and(is_shortage) => UNKNOWN,
        _ => BAD,
    };
    (code, format!("{}: {error}", path.display()))
}

fn is_shortage(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS]
        .iter()
        .any(|errno| errno.raw_os_error() == code)
}
