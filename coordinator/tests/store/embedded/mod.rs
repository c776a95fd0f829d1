//! The embedded store's file: crashes, full disks, damage, locks.

mod crash;
mod files;
mod space;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use interlock_coordinator::store::Store;
use interlock_coordinator::store::embedded::{Embedded, IfMissing, OpenError, Options};
use tempfile::TempDir;

use crate::conformance;

/// An empty embedded store in a directory of its own.
pub(crate) struct Fixture {
    store: Embedded,
    directory: TempDir,
}

impl conformance::Fixture for Fixture {
    async fn new() -> Option<Self> {
        Some(Self::on(TempDir::new().unwrap()).await)
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn close(&self) {
        self.store.close().await;
    }

    async fn reopened(self) -> Self {
        self.close().await;
        Self::on(self.directory).await
    }
}

impl Fixture {
    async fn on(directory: TempDir) -> Self {
        let store = create(&directory.path().join("store")).await.unwrap();
        Self { store, directory }
    }
}

/// Opens the store at `path`, making it if it is not there.
pub(crate) async fn create(path: &Path) -> Result<Embedded, OpenError> {
    let path = path.to_owned();
    let if_missing = IfMissing::Create;
    Embedded::open(Options { path, if_missing }).await
}

/// Opens a store that must be there.
pub(crate) async fn open(path: &Path) -> Result<Embedded, OpenError> {
    let path = path.to_owned();
    let if_missing = IfMissing::Refuse;
    Embedded::open(Options { path, if_missing }).await
}

/// Where a child of this binary finds its store.
const CHILD_PATH: &str = "INTERLOCK_TEST_STORE";

/// The store of this process, if it is a child; else the test was started by hand, for nothing.
fn child_path() -> Option<PathBuf> {
    std::env::var_os(CHILD_PATH).map(PathBuf::from)
}

/// A command that runs one ignored test of this binary, alone, on the store at `path`.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(CHILD_PATH, path)
        .stdin(Stdio::null());
    command
}
