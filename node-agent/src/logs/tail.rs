//! What is added to the files of a glob, since they were last looked at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::CHUNK;
use super::catalog::Files;
use super::tree;

/// Files that are followed at a time. A glob that means more means archives.
const MOST_FILES: usize = 50;

/// How far back the last lines are looked for.
const BACK: u64 = 64 * 1024;

/// Something that was added to a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// What the file is called now.
    pub(super) of: String,
    /// Whole lines, as far as there are; a piece of one if it is longer than a chunk.
    pub(super) data: Vec<u8>,
}

/// The files of a glob, and how far each has been read. A file is its inode: one that is renamed goes on, and a new one of
/// the same name begins at its beginning.
#[derive(Debug, Default)]
pub(super) struct Tail {
    read: BTreeMap<u64, u64>,
    begun: bool,
}

impl Tail {
    /// What was added since the last look; at the first one the last `lines` of the file that was changed last. Blocks.
    /// The rest of what is more than a chunk comes at the next look.
    pub(super) fn look(&mut self, files: &Files, lines: u32) -> io::Result<Vec<Added>> {
        let mut open: Vec<(String, File, std::fs::Metadata)> = Vec::new();
        tree::walk(&files.glob, &files.private.now(), &mut |found| {
            if let Ok(file) = found.file
                && let Ok(metadata) = file.metadata()
            {
                open.push((files.name(&found.path), file, metadata));
            }
            open.len() < MOST_FILES
        })?;
        let mut added = Vec::new();
        if self.begun {
            for (of, file, metadata) in &open {
                let at = self.read.get(&metadata.ino()).copied().unwrap_or(0);
                // One that has become shorter was cut, and begins anew.
                let at = if metadata.len() < at { 0 } else { at };
                let data = lines_from(file, at)?;
                self.read.insert(metadata.ino(), at + data.len() as u64);
                if !data.is_empty() {
                    added.push(Added {
                        of: of.clone(),
                        data,
                    });
                }
            }
        } else {
            self.begun = true;
            for (_, _, metadata) in &open {
                self.read.insert(metadata.ino(), metadata.len());
            }
            let newest = open
                .iter()
                .max_by_key(|(_, _, metadata)| (metadata.mtime(), metadata.mtime_nsec()));
            if let Some((of, file, metadata)) = newest {
                let (data, end) = last_lines(file, metadata.len(), lines)?;
                self.read.insert(metadata.ino(), end);
                if !data.is_empty() {
                    added.push(Added {
                        of: of.clone(),
                        data,
                    });
                }
            }
        }
        let there: Vec<u64> = open.iter().map(|(_, _, metadata)| metadata.ino()).collect();
        self.read.retain(|inode, _| there.contains(inode));
        Ok(added)
    }
}

/// Up to a chunk from here, to the end of its last whole line.
fn lines_from(file: &File, at: u64) -> io::Result<Vec<u8>> {
    let mut data = vec![0; CHUNK];
    let read = file.read_at(&mut data, at)?;
    data.truncate(read);
    match data.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => data.truncate(end + 1),
        // A line that is still being written is waited for, unless it is too long for that.
        None if data.len() < CHUNK => data.clear(),
        None => {}
    }
    Ok(data)
}

/// The last lines of a file of this length, and where they end: before a line that is still being written.
fn last_lines(file: &File, length: u64, lines: u32) -> io::Result<(Vec<u8>, u64)> {
    let from = length.saturating_sub(BACK);
    let mut data = vec![0; usize::try_from(length - from).unwrap_or(0)];
    let read = file.read_at(&mut data, from)?;
    data.truncate(read);
    let end = data
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    data.truncate(end);
    let mut starts = data[..end.saturating_sub(1)]
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(at, byte)| (*byte == b'\n').then_some(at + 1));
    let begin = match lines {
        0 => end,
        // What is before the first break in sight may be half a line.
        more => starts.nth(more as usize - 1).unwrap_or_else(|| {
            if from == 0 {
                0
            } else {
                data.iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1)
            }
        }),
    };
    Ok((data.split_off(begin), from + end as u64))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;

    use super::super::glob::Glob;
    use super::*;

    struct Bed {
        dir: tempfile::TempDir,
        tail: Tail,
    }

    impl Bed {
        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn look(&mut self, lines: u32) -> Vec<(String, String)> {
            let glob: Glob = format!("{}/*.log*", self.dir.path().display())
                .parse()
                .unwrap();
            let files = Files::of_test(glob);
            let added = self.tail.look(&files, lines).unwrap();
            let text = |added: Added| {
                let name = Path::new(&added.of)
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                (name, String::from_utf8(added.data).unwrap())
            };
            added.into_iter().map(text).collect()
        }
    }

    fn bed() -> Bed {
        Bed {
            dir: tempfile::tempdir().unwrap(),
            tail: Tail::default(),
        }
    }

    fn of(name: &str, text: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), text.to_owned())]
    }

    #[test]
    fn the_last_lines_come_first_and_then_whole_lines_as_they_are_completed() {
        let mut bed = bed();
        fs::write(bed.path("a.log"), "1\n2\n3\n4").unwrap();
        assert_eq!(bed.look(2), of("a.log", "2\n3\n"));
        let mut file = File::options()
            .append(true)
            .open(bed.path("a.log"))
            .unwrap();
        assert_eq!(bed.look(2), []);
        file.write_all(b"5\n6").unwrap();
        assert_eq!(bed.look(2), of("a.log", "45\n"));
        assert_eq!(bed.look(2), []);
    }

    #[test]
    fn a_rotated_file_goes_on_and_the_new_one_begins_at_its_beginning() {
        let mut bed = bed();
        fs::write(bed.path("a.log"), "1\n").unwrap();
        assert_eq!(bed.look(0), []);
        let mut file = File::options()
            .append(true)
            .open(bed.path("a.log"))
            .unwrap();
        fs::rename(bed.path("a.log"), bed.path("a.log.1")).unwrap();
        file.write_all(b"2\n").unwrap();
        fs::write(bed.path("a.log"), "3\n").unwrap();
        let both = [of("a.log", "3\n"), of("a.log.1", "2\n")].concat();
        assert_eq!(bed.look(0), both);
    }

    #[test]
    fn a_file_that_was_cut_begins_anew() {
        let mut bed = bed();
        fs::write(bed.path("a.log"), "long ago\n").unwrap();
        assert_eq!(bed.look(0), []);
        fs::write(bed.path("a.log"), "new\n").unwrap();
        assert_eq!(bed.look(0), of("a.log", "new\n"));
    }
}
