//! How long each right lasts, for the next agent of this boot (safety rule E12): `RUNTIME_DIR/SERVICE.json`.
//!
//! The directory is on a file system in memory that does not outlive the boot, so it is written at once and by the thread
//! itself. A file that is not there or makes no sense is no right: what runs is then blocked until its lease is renewed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use interlock_engine::lease::holder::Tenure;
use interlock_model::names::ServiceName;

/// The directory.
#[derive(Debug)]
pub(super) struct Tenures(PathBuf);

impl Tenures {
    /// In this directory, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self(dir.to_owned()))
    }

    /// What was kept last.
    pub(super) fn read(&self, service: &ServiceName) -> Option<Tenure> {
        let bytes = fs::read(self.file(service)).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(
                |error| tracing::warn!(%service, %error, "what was kept of a role makes no sense"),
            )
            .ok()
    }

    /// Keeps this instead; none removes it. What cannot be replaced is removed, which needs no room: the next agent must not
    /// go by a right that has changed since, and without any it blocks and asks.
    ///
    /// # Errors
    /// If it cannot be written, or removed.
    pub(super) fn keep(&self, service: &ServiceName, tenure: Option<&Tenure>) -> io::Result<()> {
        let file = self.file(service);
        let Some(tenure) = tenure else {
            return match fs::remove_file(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
        };
        let new = file.with_extension("json.new");
        let bytes = serde_json::to_vec(tenure)?;
        fs::write(&new, bytes)
            .and_then(|()| fs::rename(&new, &file))
            .map_err(|error| match fs::remove_file(&file) {
                Err(worse) if worse.kind() != io::ErrorKind::NotFound => worse,
                Ok(()) | Err(_) => error,
            })
    }

    fn file(&self, service: &ServiceName) -> PathBuf {
        self.0.join(format!("{service}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_replaced_is_not_left_for_the_next_agent() {
        let dir = tempfile::tempdir().unwrap();
        let tenures = Tenures::open(dir.path()).unwrap();
        let service: ServiceName = "db".parse().unwrap();
        let clause = r#"{"terms":{"timings":{"renewal":"250ms","life":"2450ms","fence":"1900ms","stop":"200ms",
            "watchdog":"1s","pet_age":"1100ms","rate_error":50},"on_control_loss":"demote","vm_pause":"accepted",
            "members":["db1"],"max_lag":0},"since":{"boottime":"1s","raw":"1s"}}"#;
        let text = format!(
            r#"{{"boot":"b1","epoch":3,"agreed":{clause},"renewed":{{"boottime":"1s","raw":"1s"}},"proposed":null}}"#
        );
        let tenure: Tenure = serde_json::from_str(&text).unwrap();
        tenures.keep(&service, Some(&tenure)).unwrap();
        assert_eq!(tenures.read(&service), Some(tenure.clone()));
        // Nothing can be written where a directory is.
        fs::create_dir(dir.path().join("db.json.new")).unwrap();
        assert!(tenures.keep(&service, Some(&tenure)).is_err());
        assert_eq!(tenures.read(&service), None);
    }
}
