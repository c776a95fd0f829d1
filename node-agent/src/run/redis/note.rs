//! Which line the data of a server are of: `STATE_DIR/redis/NAME`.
//!
//! A server that starts says a line and an offset of what it has read from its disk, and that may be of a time long ago, before
//! it followed whom it followed last. Its offset is told only where the line is the one that is noted here.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::process::{getegid, geteuid};
use tokio::task::spawn_blocking;

use crate::replace::{Whose, replace_as};

/// The line of a server's data, as far as it is known.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    line: Mutex<Option<String>>,
}

impl Note {
    /// What was noted. Blocks, for one small file.
    pub(super) fn open(path: PathBuf) -> Self {
        let line = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let path = path.display();
                    tracing::error!(%path, %error, "what is known of a server's data cannot be read: nobody knows how far they go");
                }
                None
            }
        };
        Self {
            path,
            line: Mutex::new(line),
        }
    }

    /// Is it this one?
    pub(super) fn is(&self, line: &str) -> bool {
        let noted = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        noted.as_deref() == Some(line)
    }

    /// Is anything noted? Not of a server that has neither followed nor led here yet.
    pub(super) fn is_any(&self) -> bool {
        let noted = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        noted.is_some()
    }

    /// Notes that it is this one, durably.
    ///
    /// # Errors
    /// If it cannot be written: what was noted is what is known.
    pub(super) async fn set(&self, line: &str) -> io::Result<()> {
        if self.is(line) {
            return Ok(());
        }
        let (path, text) = (self.path.clone(), line.to_owned());
        let written = spawn_blocking(move || write(&path, &text)).await;
        written.map_err(io::Error::other)??;
        let mut noted = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = Some(line.to_owned());
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let whose = Whose {
        user: geteuid().as_raw(),
        group: getegid().as_raw(),
        mode: 0o600,
    };
    replace_as(path, text.as_bytes(), whose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_noted_is_known_to_the_next_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redis").join("main");
        let note = Note::open(path.clone());
        assert!(!note.is("a"));
        note.set("a").await.unwrap();
        assert!(note.is("a") && Note::open(path.clone()).is("a"));
        note.set("b").await.unwrap();
        let next = Note::open(path);
        assert!(next.is("b") && !next.is("a"));
    }
}
