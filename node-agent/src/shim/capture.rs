//! Bounded capture of output: the beginning and the end are kept, the middle is cut with a notice.
//!
//! What has arrived is in files at once, so it can be read while the command runs and survives the shim. Three files a
//! stream: the head, written once; and a tail of two files that take turns, so that between half and all of the tail's
//! room holds the newest output.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Standard output's files in a run's directory begin with this.
pub(crate) const STDOUT: &str = "stdout";
/// Standard error's files in a run's directory begin with this.
pub(crate) const STDERR: &str = "stderr";

/// The writing side.
#[derive(Debug)]
pub(crate) struct Capture {
    head: Option<Head>,
    tail: Rotating,
}

/// The file of the beginning, which is made when there is something for it: most commands say nothing.
#[derive(Debug)]
struct Head {
    path: PathBuf,
    file: Option<File>,
    room: u64,
}

impl Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            file => file.insert(File::create(&self.path)?),
        };
        file.write_all(bytes)
    }
}

impl Capture {
    /// The beginning and the end, at most `bytes` in all, in files of `dir` that begin with `stream`.
    pub(crate) fn ends(dir: &Path, stream: &str, bytes: u64) -> Self {
        let head = Head {
            path: dir.join(format!("{stream}.head")),
            file: None,
            room: bytes / 2,
        };
        let tail = Rotating::new(dir.join(format!("{stream}.tail")), bytes / 4);
        Self {
            head: Some(head),
            tail,
        }
    }

    /// Only the end, at most `bytes` in all, appended to the file `path` and an older one beside it.
    pub(crate) fn log(path: &Path, bytes: u64) -> Self {
        Self {
            head: None,
            tail: Rotating::new(path.to_owned(), bytes / 2),
        }
    }

    /// Takes output. A disk that refuses it loses it: the command must neither block nor fail for its log.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        if let Some(head) = &mut self.head {
            let fits = usize::try_from(head.room)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            let (now, later) = bytes.split_at(fits);
            if !now.is_empty() && head.write(now).is_err() {
                self.tail.cut += now.len() as u64;
            }
            head.room -= now.len() as u64;
            bytes = later;
        }
        bytes = self.tail.newest(bytes);
        while !bytes.is_empty() {
            let taken = self.tail.write(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// How many bytes were not kept.
    pub(crate) fn cut(&self) -> u64 {
        self.tail.cut
    }
}

/// Two files of bounded size that take turns.
#[derive(Debug)]
struct Rotating {
    path: PathBuf,
    bound: u64,
    file: Option<File>,
    used: u64,
    older: u64,
    cut: u64,
}

impl Rotating {
    fn new(path: PathBuf, bound: u64) -> Self {
        Self {
            path,
            bound: bound.max(1),
            file: None,
            used: 0,
            older: 0,
            cut: 0,
        }
    }

    /// Drops what would not be kept when all of this is written, so that much output costs few writes.
    fn newest<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let kept = usize::try_from(self.bound.saturating_mul(2)).unwrap_or(usize::MAX);
        let (dropped, newest) = bytes.split_at(bytes.len().saturating_sub(kept));
        self.cut += dropped.len() as u64;
        newest
    }

    /// Takes at least one byte of a text that has one; returns how many.
    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.used >= self.bound {
            self.file = None;
            self.cut += self.older;
            self.older = self.used;
            self.used = 0;
            if fs::rename(&self.path, older(&self.path)).is_err() {
                self.cut += self.older;
            }
        }
        if self.file.is_none() {
            self.file = File::options()
                .create(true)
                .append(true)
                .open(&self.path)
                .ok();
            if let Some(length) = self.file.as_ref().and_then(|file| file.metadata().ok()) {
                // A log that an earlier run began.
                self.used = self.used.max(length.len());
            }
        }
        let room =
            usize::try_from(self.bound.saturating_sub(self.used).max(1)).unwrap_or(usize::MAX);
        let taken = room.min(bytes.len());
        if self
            .file
            .as_mut()
            .is_none_or(|file| file.write_all(&bytes[..taken]).is_err())
        {
            self.cut += taken as u64;
        }
        self.used += taken as u64;
        taken
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Captured output, as far as it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// The beginning.
    pub head: Vec<u8>,
    /// The end, if it does not follow the beginning at once.
    pub tail: Vec<u8>,
    /// How many bytes are missing between them; none while that is not known yet.
    pub cut: Option<u64>,
}

impl Captured {
    /// Reads what a stream of a run has left so far. `cut` is what the run's record says.
    pub(crate) fn read(dir: &Path, stream: &str, cut: Option<u64>) -> io::Result<Self> {
        let head = optional(&dir.join(format!("{stream}.head")))?;
        let path = dir.join(format!("{stream}.tail"));
        let older = older(&path);
        let mut tail = optional(&older)?;
        tail.extend(optional(&path)?);
        Ok(Self { head, tail, cut })
    }

    /// As text for people, with a notice where something is missing. What is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.head.clone();
        if let Some(cut) = self.cut.filter(|cut| *cut > 0) {
            text.extend(format!("\n[... {cut} bytes cut ...]\n").as_bytes());
        }
        text.extend(&self.tail);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn optional(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(chunks: impl Iterator<Item = Vec<u8>>, bytes: u64) -> Captured {
        let dir = tempfile::tempdir().unwrap();
        let mut capture = Capture::ends(dir.path(), STDOUT, bytes);
        chunks.for_each(|chunk| capture.write(&chunk));
        Captured::read(dir.path(), STDOUT, Some(capture.cut())).unwrap()
    }

    #[test]
    fn a_command_that_says_nothing_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        Capture::ends(dir.path(), STDOUT, 40).write(b"");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let seen = Captured::read(dir.path(), STDOUT, Some(0)).unwrap();
        assert_eq!(seen.text(), "");
    }

    #[test]
    fn output_within_the_bound_is_kept_whole() {
        let seen = captured(
            [b"one ".to_vec(), b"two ".to_vec(), b"three".to_vec()].into_iter(),
            40,
        );
        assert_eq!(seen.text(), "one two three");
    }

    #[test]
    fn of_too_much_output_both_ends_are_kept_and_every_missing_byte_is_counted() {
        let lines: Vec<Vec<u8>> = (0..1000)
            .map(|n| format!("line {n:04}\n").into_bytes())
            .collect();
        let total: u64 = lines.iter().map(|line| line.len() as u64).sum();
        let seen = captured(lines.into_iter(), 400);
        let kept = (seen.head.len() + seen.tail.len()) as u64;
        assert!(kept <= 400, "{kept}");
        assert_eq!(seen.cut, Some(total - kept));
        let text = seen.text();
        assert!(
            text.starts_with("line 0000\n") && text.ends_with("line 0999\n"),
            "{text}"
        );
        assert!(text.contains("bytes cut"), "{text}");
    }

    #[test]
    fn a_log_goes_on_where_the_last_run_ended_and_stays_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        for run in 0..50 {
            Capture::log(&path, 100).write(format!("run {run:02}\n").as_bytes());
        }
        let kept = fs::read(&path).unwrap().len() + fs::read(older(&path)).unwrap().len();
        assert!(kept <= 100, "{kept}");
        assert!(fs::read_to_string(&path).unwrap().ends_with("run 49\n"));
    }
}
