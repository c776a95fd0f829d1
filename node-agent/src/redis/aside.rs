//! Data that a rejoin loses is kept (safety rule D3): a snapshot of all that the server has, beside what else was kept.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::Trouble;

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The snapshot.
    pub file: PathBuf,
    /// How long it is.
    pub bytes: u64,
}

/// Copies a snapshot into a directory, under a name that says what is in it. What is there already stays. Blocks.
///
/// # Errors
/// If it cannot be read or written, or more than `limit` bytes would be kept.
pub(super) fn keep(snapshot: &Path, dir: &Path, name: &str, limit: u64) -> Result<Saved, Trouble> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Trouble::File {
            doing,
            path,
            source,
        }
    };
    let file = dir.join(name);
    if let Ok(there) = fs::metadata(&file) {
        // The same line up to the same offset is the same.
        let bytes = there.len();
        return Ok(Saved { file, bytes });
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(failed("make", dir))?;
    let bytes = fs::metadata(snapshot).map_err(failed("look at", snapshot))?;
    let bytes = bytes.len();
    let kept = kept(dir).map_err(failed("look at", dir))?;
    if kept.saturating_add(bytes) > limit {
        let full =
            format!("{kept} B are kept there, and {bytes} B more are over aside_limit ({limit} B)");
        return Err(failed("keep a snapshot in", dir)(io::Error::other(full)));
    }
    let part = dir.join(format!("{name}.part"));
    let copy = || {
        fs::copy(snapshot, &part)?;
        File::open(&part)?.sync_all()?;
        fs::rename(&part, &file)?;
        File::open(dir)?.sync_all()
    };
    copy().map_err(failed("write", &file))?;
    Ok(Saved { file, bytes })
}

/// How much is kept in a directory.
fn kept(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_kept_once_and_not_beyond_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let (snapshot, aside) = (dir.path().join("dump.rdb"), dir.path().join("aside"));
        fs::write(&snapshot, [7; 100]).unwrap();
        let saved = keep(&snapshot, &aside, "a-7.rdb", 150).unwrap();
        assert_eq!(
            (saved.bytes, fs::read(&saved.file).unwrap()),
            (100, vec![7; 100])
        );
        assert_eq!(keep(&snapshot, &aside, "a-7.rdb", 150).unwrap(), saved);
        let error = keep(&snapshot, &aside, "b-1.rdb", 150).unwrap_err();
        assert!(format!("{error:?}").contains("aside_limit"), "{error:?}");
    }
}
