//! What has been taken of one node, and where it lies.
//!
//! Each original file has a file of its own per day, named as the original was called when its first piece of the day was
//! taken; where that name is taken by another original (a log was rotated meanwhile), `~2` and so on follows it. Which bytes
//! of which original lie where is in the index, `index/NODE.json`, and by it nothing is taken twice (module `collecting` of
//! the engine).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use interlock_engine::collecting::{Head, Next, Seen, Taken, next};
use interlock_proto::v1;

use super::index::{Index, Lying, Original};
use super::piece::{Piece, Written, hex};
use crate::failure::Failure;

/// How often the index is written while pieces come: what is lost of it is read once more.
const SAVE: Duration = Duration::from_secs(2);

/// The shelf of a node.
#[derive(Debug)]
pub(super) struct Shelf {
    root: PathBuf,
    node: String,
    day: String,
    index: Index,
    saved: Instant,
}

/// What is new, and how to ask for it.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The place of the original among those that are known.
    of: Option<usize>,
    /// From this byte.
    pub(super) from: u64,
    /// If it still begins like that.
    pub(super) head: Option<v1::LogHead>,
}

impl Shelf {
    /// The shelf of a node below a root, as earlier runs have left it.
    pub(super) fn open(root: &Path, cluster: &str, node: &str, day: &str) -> Result<Self, Failure> {
        let index = Index::load(root, cluster, node)?;
        index
            .cut(root)
            .with_context(|| format!("cannot go on with {}", root.display()))?;
        Ok(Self {
            root: root.to_owned(),
            node: node.to_owned(),
            day: day.to_owned(),
            index,
            saved: Instant::now(),
        })
    }

    /// What is new of a file; none if nothing is.
    pub(super) fn wanted(&mut self, listed: &v1::LogFile) -> Option<Wanted> {
        let seen = Seen {
            inode: listed.inode,
            bytes: listed.bytes,
            head: head(listed.head.as_ref()),
        };
        let (places, taken): (Vec<usize>, Vec<Taken>) = self
            .index
            .files
            .iter()
            .enumerate()
            .filter(|(_, original)| original.log == listed.log)
            .map(|(place, original)| (place, original.taken.clone()))
            .unzip();
        match next(&taken, &seen) {
            Next::Nothing { of } => {
                let original = &mut self.index.files[places[of]];
                original.file.clone_from(&listed.file);
                original.taken.inode = seen.inode;
                None
            }
            Next::From { of } => Some(Wanted {
                of: Some(places[of]),
                from: taken[of].through,
                head: Some(wire(&taken[of].head)),
            }),
            Next::Whole => Some(Wanted {
                of: None,
                from: 0,
                head: None,
            }),
        }
    }

    /// The compressed file of the piece that begins like that, and the original that it is of.
    pub(super) fn begin(
        &mut self,
        listed: &v1::LogFile,
        wanted: &Wanted,
        begin: &v1::LogBegin,
    ) -> Result<Begun, Failure> {
        // What was asked for is not what is there: another file has taken its place.
        let known = wanted.of.filter(|_| begin.from == wanted.from);
        let of = match known {
            Some(of) => of,
            None => {
                self.index.files.push(Original {
                    log: listed.log.clone(),
                    file: listed.file.clone(),
                    taken: Taken {
                        inode: begin.inode,
                        through: begin.from,
                        head: head(begin.head.as_ref()),
                    },
                    pieces: Vec::new(),
                });
                self.index.files.len() - 1
            }
        };
        let original = &mut self.index.files[of];
        original.file.clone_from(&listed.file);
        original.taken.inode = begin.inode;
        original.taken.head = head(begin.head.as_ref());
        let pieces = self.index.files[of].pieces.clone();
        let (at, stored) = self.place(&pieces, &listed.log, &listed.file)?;
        Ok(Begun {
            of: Of::File(of),
            from: begin.from,
            at,
            stored,
            piece: None,
        })
    }

    /// What comes behind the pieces of an original.
    pub(super) fn rest(&self, of: usize) -> Wanted {
        let taken = &self.index.files[of].taken;
        Wanted {
            of: Some(of),
            from: taken.through,
            head: Some(wire(&taken.head)),
        }
    }

    /// The compressed file of the next piece of a journal.
    pub(super) fn begin_journal(&mut self, unit: &str) -> Result<Begun, Failure> {
        let pieces = self
            .index
            .journals
            .get(unit)
            .map(|journal| journal.pieces.clone());
        let (at, stored) = self.place(
            &pieces.unwrap_or_default(),
            "journal",
            &format!("{unit}.log"),
        )?;
        Ok(Begun {
            of: Of::Journal(unit.to_owned()),
            from: 0,
            at,
            stored,
            piece: None,
        })
    }

    /// The last entry of a journal that was taken; nothing if none was.
    pub(super) fn cursor(&self, unit: &str) -> String {
        self.index
            .journals
            .get(unit)
            .map(|journal| journal.cursor.clone())
            .unwrap_or_default()
    }

    /// Remembers a piece. `cursor` is that of a journal's last entry.
    pub(super) fn keep(
        &mut self,
        begun: Begun,
        cursor: Option<String>,
    ) -> Result<Written, Failure> {
        let nothing = Written {
            bytes: 0,
            sha256: hex(&[]),
            stored: begun.stored,
        };
        let path = self.root.join(&begun.at);
        let written = match begun.piece {
            Some(piece) => piece
                .finish()
                .with_context(|| format!("cannot write {}", path.display()))?,
            None => nothing,
        };
        let lying = (written.bytes > 0).then(|| {
            self.index.unsummed.insert(begun.at.clone());
            Lying {
                at: begun.at,
                from: begun.from,
                through: begun.from + written.bytes,
                sha256: written.sha256.clone(),
                stored: written.stored,
            }
        });
        match begun.of {
            Of::File(of) => {
                let original = &mut self.index.files[of];
                original.taken.through = begun.from + written.bytes;
                original.pieces.extend(lying);
            }
            Of::Journal(unit) => {
                // Without its end nobody knows where to go on: the piece is read again, and what lies there goes.
                if let Some(cursor) = cursor {
                    let journal = self.index.journals.entry(unit).or_default();
                    journal.cursor = cursor;
                    journal.pieces.extend(lying);
                }
            }
        }
        if self.saved.elapsed() >= SAVE {
            self.save()?;
        }
        Ok(written)
    }

    /// Writes the index.
    pub(super) fn save(&mut self) -> Result<(), Failure> {
        self.index.save(&self.root, &self.node)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// The paths below the root whose checksums have to be written.
    pub(super) fn unsummed(&self) -> &BTreeSet<String> {
        &self.index.unsummed
    }

    /// Their checksums are written.
    pub(super) fn summed(mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.index.unsummed).is_empty() {
            return Ok(());
        }
        self.save()
    }

    /// Where the next piece of an original goes, and how long that file is: today's, or a new one.
    fn place(&self, pieces: &[Lying], log: &str, file: &str) -> Result<(String, u64), Failure> {
        let today = format!("{}/{}/", self.day, self.node);
        if let Some(last) = pieces.last().filter(|last| last.at.starts_with(&today)) {
            return Ok((last.at.clone(), last.stored));
        }
        let name = format!("{today}{}/{}", safe(log)?, safe(file)?);
        let names = std::iter::once(String::new()).chain((2..).map(|number| format!("~{number}")));
        let mut free = names
            .map(|more| format!("{name}{more}.zst"))
            .filter(|at| !self.index.has(at));
        Ok((free.next().unwrap_or_default(), 0))
    }
}

/// A piece that is coming.
pub(super) struct Begun {
    of: Of,
    from: u64,
    at: String,
    stored: u64,
    piece: Option<Piece>,
}

#[derive(Debug)]
enum Of {
    File(usize),
    Journal(String),
}

impl Begun {
    /// The place of the original among those that are known; a journal has none.
    pub(super) fn of(&self) -> usize {
        match self.of {
            Of::File(of) => of,
            Of::Journal(_) => 0,
        }
    }

    /// Takes what has come. A file is made by its first byte.
    pub(super) fn write(&mut self, shelf: &Shelf, data: &[u8]) -> Result<(), Failure> {
        let path = shelf.root.join(&self.at);
        let failed = || format!("cannot write {}", path.display());
        let piece = match &mut self.piece {
            Some(piece) => piece,
            None => self
                .piece
                .insert(Piece::begin(&path, self.stored).with_context(failed)?),
        };
        Ok(piece.write(data).with_context(failed)?)
    }
}

/// A name from a node as a path below a directory of ours.
fn safe(name: &str) -> Result<&str, Failure> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.len() < 240
            && !part.chars().any(|c| c.is_control() || c == '\\')
    };
    if name.split('/').all(is_part) {
        Ok(name)
    } else {
        Err(Failure::Refused(format!(
            "the node names a file {name:?}, which is none"
        )))
    }
}

fn head(wire: Option<&v1::LogHead>) -> Head {
    wire.map_or_else(
        || Head {
            bytes: 0,
            sha256: String::new(),
        },
        |head| Head {
            bytes: head.bytes,
            sha256: hex(&head.sha256),
        },
    )
}

fn wire(head: &Head) -> v1::LogHead {
    v1::LogHead {
        bytes: head.bytes,
        sha256: unhex(&head.sha256),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_node_leads_nowhere_else() {
        for good in ["app", "var/log/app.log", "a..b", "größe.log"] {
            assert!(safe(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "a/../b",
            "..",
            ".",
            "a//b",
            "a\nb",
            "a\\b",
            "a/",
        ] {
            assert!(safe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digits_become_bytes_again() {
        assert_eq!(unhex(&hex(&[0, 10, 255])), [0, 10, 255]);
    }
}
