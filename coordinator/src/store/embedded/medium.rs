//! Bytes on a disk, as the database engine sees them, and what it takes to trust them again after
//! an error.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

/// A backend that can be opened again after it failed. Clones are the same medium, so its lock
/// outlives the database that is dropped in between.
pub(crate) trait Medium: StorageBackend + Clone {
    /// Called before the content is read again after an error: what is read from here on must be
    /// what the medium really has.
    fn distrust_cache(&self) -> io::Result<()>;
}

/// The store's file. The lock on it lasts until the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct DiskFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: File,
    sync_failed: AtomicBool,
}

impl DiskFile {
    /// Takes a file that is locked already.
    pub(crate) fn new(file: File) -> Self {
        Self(Arc::new(Shared {
            file,
            sync_failed: AtomicBool::new(false),
        }))
    }

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }
}

// The locking methods stay at their default, "unsupported": the file is locked as a whole before
// the engine sees it and stays locked while the engine closes and opens it again.
impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file().metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file().read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file().set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = self.file().sync_data();
        if result.is_err() {
            self.0.sync_failed.store(true, Ordering::Release);
        }
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file().write_all_at(data, offset)
    }
}

impl Medium for DiskFile {
    /// After a failed fsync Linux keeps the pages that it could not write, marks them clean, and
    /// answers the next fsync with success (fsync(2), "Errors"). Reading them back would show a
    /// commit that the disk does not have, so the cached pages are dropped first.
    fn distrust_cache(&self) -> io::Result<()> {
        if self.0.sync_failed.swap(false, Ordering::AcqRel) {
            rustix::fs::fadvise(self.file(), 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(())
    }
}
