//! What is known of a server's data beyond its process, and the agent's: `STATE_DIR/redis/NAME`.
//!
//! A server that starts says a line and an offset of what it has read from its disk, and that may be of a time long ago, before
//! it followed whom it followed last. Its offset is told only where the line is the one that is noted here. And what a primary has
//! is in its memory: a later process of it has less, whatever its line is, until it has followed again.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::replace::{Whose, replace_as};

/// What is noted of a server's data, as far as it is known.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    noted: Mutex<Option<Noted>>,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Noted {
    /// The line of its data; none while nobody has counted them.
    #[serde(default)]
    line: Option<String>,
    /// The process that was last seen to follow or to lead.
    #[serde(default)]
    run_id: Option<String>,
    /// Was that process promoted, and has not been seen to be a replica again since?
    #[serde(default)]
    led: bool,
}

impl Note {
    /// What was noted. Blocks, for one small file.
    pub(super) fn open(path: PathBuf) -> Self {
        let noted = match fs::read_to_string(&path) {
            Ok(text) => Some(Noted::read(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "what is known of a server's data cannot be read: nobody knows how far they go");
                Some(Noted::read(String::new()))
            }
        };
        Self {
            path,
            noted: Mutex::new(noted),
        }
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Is the line this one?
    pub(super) fn is(&self, line: &str) -> bool {
        let noted = self.noted();
        let known = noted.as_ref().and_then(|noted| noted.line.as_deref());
        known == Some(line)
    }

    /// Is a line noted? Not of a server that has neither followed nor led here yet.
    pub(super) fn is_any(&self) -> bool {
        let noted = self.noted();
        noted.as_ref().is_some_and(|noted| noted.line.is_some())
    }

    /// Has a process before this one led, so that this one has less than that had?
    pub(super) fn has_led_before(&self, run_id: &str) -> bool {
        let noted = self.noted();
        let led = noted.as_ref().filter(|noted| noted.led);
        let process = led.and_then(|noted| noted.run_id.as_deref());
        process.is_some_and(|process| process != run_id)
    }

    /// Notes durably that this process leads. Without a line the one that is noted stays.
    ///
    /// # Errors
    /// If it cannot be written: what was noted is what is known.
    pub(super) async fn leads(&self, line: Option<&str>, run_id: &str) -> io::Result<()> {
        self.set(line, run_id, true).await
    }

    /// Notes durably that this process has led, and has turned with all that it had. Without a line the one that is noted stays.
    ///
    /// # Errors
    /// If it cannot be written: what was noted is what is known.
    pub(super) async fn ends(&self, line: Option<&str>, run_id: &str) -> io::Result<()> {
        self.set(line, run_id, false).await
    }

    /// Notes durably that this process follows in this line.
    ///
    /// # Errors
    /// If it cannot be written: what was noted is what is known.
    pub(super) async fn follows(&self, line: &str, run_id: &str) -> io::Result<()> {
        self.set(Some(line), run_id, false).await
    }

    async fn set(&self, line: Option<&str>, run_id: &str, led: bool) -> io::Result<()> {
        let known = self.noted().clone();
        let line = line.map(str::to_owned);
        let new = Noted {
            line: line.or_else(|| known.as_ref().and_then(|noted| noted.line.clone())),
            run_id: Some(run_id.to_owned()),
            led,
        };
        if known.as_ref() == Some(&new) {
            return Ok(());
        }
        let (path, text) = (self.path.clone(), serde_json::to_string(&new)?);
        let written = spawn_blocking(move || write(&path, &text)).await;
        written.map_err(io::Error::other)??;
        *self.noted() = Some(new);
        Ok(())
    }

    fn noted(&self) -> MutexGuard<'_, Option<Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    /// What a file says. One of an earlier version is the line alone; what makes no sense is the name of no line.
    fn read(text: String) -> Self {
        serde_json::from_str(&text).unwrap_or_else(|_| Self {
            line: Some(text),
            ..Self::default()
        })
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
        assert!(!note.is("a") && !note.is_any());
        note.follows("a", "p1").await.unwrap();
        assert!(note.is("a") && Note::open(path.clone()).is("a"));
        note.follows("b", "p1").await.unwrap();
        let next = Note::open(path);
        assert!(next.is("b") && !next.is("a"));
    }

    #[tokio::test]
    async fn a_process_that_led_is_no_other_one_until_it_turned_or_another_one_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main");
        let note = Note::open(path.clone());
        note.leads(None, "p1").await.unwrap();
        assert!(!note.is_any(), "nobody counts yet");
        note.leads(Some("a"), "p1").await.unwrap();
        let next = Note::open(path.clone());
        assert!(next.is("a") && !next.has_led_before("p1") && next.has_led_before("p2"));
        note.ends(None, "p1").await.unwrap();
        assert!(note.is("a") && !note.has_led_before("p2"));
        note.leads(Some("a"), "p1").await.unwrap();
        note.follows("b", "p2").await.unwrap();
        assert!(!Note::open(path).has_led_before("p3"));
    }

    #[test]
    fn the_file_of_an_earlier_version_is_the_line_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main");
        let line = "0123456789012345678901234567890123456789";
        fs::write(&path, line).unwrap();
        let note = Note::open(path);
        assert!(note.is(line) && note.is_any() && !note.has_led_before("p1"));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let note = Note::open(dir.path().to_owned());
        assert!(note.is_any() && !note.is("a"));
    }
}
