//! What is the agent's own, and no log whatever a glob says: its key, its secrets, its memory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::config::Config;

/// Files, and directories of which nothing is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Private(Vec<PathBuf>);

/// Which files those are at this moment: device and inode. A path could lead to them by many names.
pub(super) type Own = BTreeSet<(u64, u64)>;

impl Private {
    pub(super) fn of(config: &Config) -> Self {
        let state = &config.state_dir;
        // What processes print is below the state directory, in a directory of its own.
        Self(vec![
            config.tls.key.clone(),
            config.secrets.dir.clone(),
            state.clone(),
            state.join("runs"),
        ])
    }

    pub(super) fn now(&self) -> Own {
        let there = self.0.iter().filter_map(|path| fs::metadata(path).ok());
        there.map(|found| (found.dev(), found.ino())).collect()
    }
}
