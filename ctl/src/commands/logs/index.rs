//! The index of a node: which bytes of which original lie where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use interlock_engine::collecting::Taken;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The format of the index, and the only one that is read.
const FORMAT: u32 = 1;

/// What has been taken of a node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    format: u32,
    cluster: String,
    pub(super) files: Vec<Original>,
    pub(super) journals: BTreeMap<String, Journal>,
    /// The paths below the root that were written since the checksums were: a run that was broken off wrote none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) unsummed: BTreeSet<String>,
}

/// An original file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Original {
    pub(super) log: String,
    /// What it was called last.
    pub(super) file: String,
    pub(super) taken: Taken,
    pub(super) pieces: Vec<Lying>,
}

/// The journal of a unit.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Journal {
    /// Its last entry that was taken.
    pub(super) cursor: String,
    pub(super) pieces: Vec<Lying>,
}

/// A piece, where it lies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Lying {
    /// The path below the root.
    pub(super) at: String,
    /// Of a file: which bytes of the original.
    pub(super) from: u64,
    pub(super) through: u64,
    pub(super) sha256: String,
    /// The length of the compressed file with it.
    pub(super) stored: u64,
}

impl Index {
    /// As earlier runs have left it; empty if there were none.
    pub(super) fn load(root: &Path, cluster: &str, node: &str) -> Result<Self, Failure> {
        let path = path(root, node);
        let index = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .ok()
                .filter(|index: &Self| index.format == FORMAT)
                .ok_or_else(|| {
                    Failure::Refused(format!(
                        "{} is not an index of this version: collect into another directory",
                        path.display()
                    ))
                })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self {
                format: FORMAT,
                cluster: cluster.to_owned(),
                files: Vec::new(),
                journals: BTreeMap::new(),
                unsummed: BTreeSet::new(),
            },
            Err(error) => {
                return Err(anyhow::Error::new(error)
                    .context(format!("cannot read {}", path.display()))
                    .into());
            }
        };
        if index.cluster != cluster {
            return Err(Failure::Refused(format!(
                "{} is a collection of the cluster {}, this one is {cluster}: collect into another directory",
                root.display(),
                index.cluster
            )));
        }
        Ok(index)
    }

    /// Writes it.
    pub(super) fn save(&self, root: &Path, node: &str) -> Result<(), Failure> {
        let path = path(root, node);
        let text = serde_json::to_vec_pretty(self).map_err(anyhow::Error::new)?;
        replace(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    /// Cuts what was broken off behind the last piece of each file: it is known of no more.
    pub(super) fn cut(&self, root: &Path) -> io::Result<()> {
        let files = self.files.iter().flat_map(|original| &original.pieces);
        let journals = self.journals.values().flat_map(|journal| &journal.pieces);
        // Pieces are in the order in which they were put behind each other.
        let ends: BTreeMap<&str, u64> = files
            .chain(journals)
            .map(|lying| (lying.at.as_str(), lying.stored))
            .collect();
        for (at, end) in ends {
            let path = root.join(at);
            match fs::metadata(&path) {
                Ok(found) if found.len() > end => {
                    fs::File::options().write(true).open(&path)?.set_len(end)?
                }
                // Somebody has taken away what he had.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Does something lie there?
    pub(super) fn has(&self, at: &str) -> bool {
        let files = self.files.iter().flat_map(|original| &original.pieces);
        let journals = self.journals.values().flat_map(|journal| &journal.pieces);
        files.chain(journals).any(|lying| lying.at == at)
    }
}

fn path(root: &Path, node: &str) -> PathBuf {
    root.join("index").join(format!("{node}.json"))
}

/// Writes a file as a whole or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = fs::File::create(&name)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&name, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_of_another_cluster_is_not_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::load(dir.path(), "shop", "web1").unwrap();
        index.save(dir.path(), "web1").unwrap();
        assert!(Index::load(dir.path(), "shop", "web1").is_ok());
        let other = Index::load(dir.path(), "acd", "web1").unwrap_err();
        assert!(other.to_string().contains("of the cluster shop"), "{other}");
    }
}
