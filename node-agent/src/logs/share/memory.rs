//! What was taken for the share, across restarts of the agent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use interlock_engine::collecting::Taken;
use interlock_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What was taken. Lost, everything is taken once more.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    /// When all that was new was taken last.
    pub(super) taken: Option<Timestamp>,
    /// The files of each log.
    pub(super) files: BTreeMap<String, Vec<Taken>>,
    /// The last entry of each unit's journal.
    pub(super) journals: BTreeMap<String, String>,
}

/// As it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    taken: Option<Timestamp>,
    files: BTreeMap<String, Vec<Taken>>,
    journals: BTreeMap<String, String>,
}

impl Memory {
    /// What this file remembers; nothing if it cannot be read.
    pub(super) fn load(path: PathBuf) -> Self {
        let kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, path = %path.display(), "what was taken for the log share is forgotten: it comes again");
                Kept::default()
            }),
            Err(_) => Kept::default(),
        };
        Self {
            path,
            taken: kept.taken,
            files: kept.files,
            journals: kept.journals,
        }
    }

    /// Makes it durable.
    pub(super) fn save(&self) -> io::Result<()> {
        let kept = Kept {
            taken: self.taken,
            files: self.files.clone(),
            journals: self.journals.clone(),
        };
        let bytes = serde_json::to_vec(&kept)?;
        let new = self.path.with_extension("json.new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)
    }
}
