//! Golden files: what a test makes is compared with what was reviewed.

use std::fs;
use std::path::{Path, PathBuf};

/// A path below the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// A path below the tests of this crate.
pub(crate) fn tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path)
}

/// The files of a directory with an ending, in order.
pub(crate) fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == ending));
    files.sort();
    assert!(!files.is_empty(), "no .{ending} in {}", directory.display());
    files
}

/// Is the file equal to the text? `BLESS=1` writes it instead.
pub(crate) fn golden(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, text).unwrap();
    }
    let reviewed = fs::read_to_string(path).unwrap_or_default();
    if reviewed != text {
        let differs = reviewed
            .lines()
            .zip(text.lines())
            .position(|(old, new)| old != new);
        let line =
            differs.unwrap_or_else(|| reviewed.lines().count().min(text.lines().count())) + 1;
        panic!(
            "{} differs from line {line}; BLESS=1 rewrites it. It would be:\n{text}",
            path.display()
        );
    }
}
