//! Where the data directory of a server is, and what stands beside it while it is replaced.
//!
//! A data directory is at its place if and only if a server may be started on it, and is a standby then. Whatever would be
//! anything else stands beside it, below `DATA.interlock`, where nobody looks for one: not the agent, not an enabled unit at boot, not
//! a person in a hurry. The names there say what has happened, and a rename is the only step from one to the next:
//!
//! ```text
//!                      ┌───────────── put back: as it was ─────────────┐
//!                      ▼                                               │
//!   rewind:  DATA ──rename──► recovering ──rename──► rewinding ──rename──► ready ──rename──► DATA
//!                             crash recovery,        pg_rewind writes      complete
//!                             pg_rewind --dry-run    │
//!                                                    └─ interrupted: of no use, only a clone replaces it
//!   clone:            (begun anew each time) cloning ──────────rename──► ready ──rename──► DATA,  what was at DATA ──► old
//! ```
//!
//! | interrupted with | the next operation |
//! |---|---|
//! | `ready` | brings it to its place |
//! | `recovering` | puts it back: a server that was never more than recovered |
//! | `rewinding` | refuses everything but a clone |
//! | `cloning` | removes it |

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Trouble, files, holders};
use crate::shim::User;

/// The file that makes a server start as a standby (PostgreSQL documentation, *Standby Server Operation*).
pub(super) const STANDBY: &str = "standby.signal";
/// The file that makes a server recover to a point and then be a primary.
const RECOVERY: &str = "recovery.signal";
/// What told the same before version 12.
const RECOVERY_CONF: &str = "recovery.conf";

/// Files of a data directory that belong to the machine and not to the data: a copy of another server's data keeps those that
/// were here. All others are the other server's afterwards.
const LOCAL: [&str; 8] = [
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "server.crt",
    "server.key",
    "root.crt",
    "root.crl",
];

/// The directories of one server. Everything here blocks.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The place of the data directory.
    pub(super) data: PathBuf,
    /// Beside it, on the same file system.
    beside: PathBuf,
    /// Whose they are.
    pub(super) owner: User,
}

/// What is at the place of the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A data directory.
    Data,
    /// Nothing, because a rewind was interrupted.
    HalfRewound,
    /// Nothing.
    Nothing,
}

impl Layout {
    pub(super) fn new(data: &Path, owner: User) -> Self {
        let mut name = data.file_name().unwrap_or_default().to_owned();
        name.push(".interlock");
        Self {
            data: data.to_owned(),
            beside: data.with_file_name(name),
            owner,
        }
    }

    /// A data directory that is recovered, before anything of another server is written into it.
    pub(super) fn recovering(&self) -> PathBuf {
        self.beside.join("recovering")
    }

    /// A data directory that pg_rewind writes.
    pub(super) fn rewinding(&self) -> PathBuf {
        self.beside.join("rewinding")
    }

    /// A data directory that pg_basebackup writes.
    pub(super) fn cloning(&self) -> PathBuf {
        self.beside.join("cloning")
    }

    /// A data directory that is complete, and has to be brought to its place.
    fn ready(&self) -> PathBuf {
        self.beside.join("ready")
    }

    /// What the last clone has replaced.
    fn old(&self) -> PathBuf {
        self.beside.join("old")
    }

    /// The machine's own files.
    fn kept(&self) -> PathBuf {
        self.beside.join("kept")
    }

    /// Every place where a server's process may be at work.
    pub(super) fn places(&self) -> [PathBuf; 6] {
        [
            self.data.clone(),
            self.recovering(),
            self.rewinding(),
            self.cloning(),
            self.ready(),
            // A server goes on in the directory that it was started in, whatever that is called by now.
            self.old(),
        ]
    }

    /// Ends what was interrupted, and tells what is at the place. No process may be at work in any of the
    /// [places](Self::places).
    pub(super) fn settle(&self) -> Result<Place, Trouble> {
        if files::exists(&self.ready())? {
            self.install()?;
        }
        if files::exists(&self.recovering())? && !files::exists(&self.data)? {
            self.put_back()?;
        }
        self.place()
    }

    /// What is at the place of the data directory.
    pub(super) fn place(&self) -> Result<Place, Trouble> {
        if files::exists(&self.data)? {
            Ok(Place::Data)
        } else if files::exists(&self.rewinding())? {
            Ok(Place::HalfRewound)
        } else {
            Ok(Place::Nothing)
        }
    }

    /// There has to be a data directory.
    pub(super) fn need_data(&self, place: Place) -> Result<(), Trouble> {
        match place {
            Place::Data => Ok(()),
            Place::HalfRewound => Err(Trouble::HalfRewound(self.rewinding())),
            Place::Nothing => Err(Trouble::NoData(self.data.clone())),
        }
    }

    /// The directory beside the data, which has to be on the same file system, or nothing can be brought to its place.
    pub(super) fn make_beside(&self) -> Result<(), Trouble> {
        files::make_dir(&self.beside, self.owner)?;
        if !files::exists(&self.data)? {
            return Ok(());
        }
        let unmovable = |why| Err(Trouble::Unmovable(self.data.clone(), why));
        let look = |path: &Path| fs::symlink_metadata(path).map_err(files::failed("look at", path));
        if look(&self.data)?.is_symlink() {
            return unmovable("it is a symbolic link: name the directory itself");
        }
        if look(&self.data)?.dev() != look(&self.beside)?.dev() {
            return unmovable("it is a mount point: use a directory below it");
        }
        Ok(())
    }

    /// A copy has everything below its own directory: whoever has put parts of the data elsewhere has done so for their size.
    pub(super) fn need_one_piece(&self) -> Result<(), Trouble> {
        let log = self.data.join("pg_wal");
        if fs::symlink_metadata(&log).is_ok_and(|log| log.is_symlink()) {
            let why = "its pg_wal is a symbolic link";
            return Err(Trouble::Unmovable(self.data.clone(), why));
        }
        let spaces = self.data.join("pg_tblspc");
        if fs::read_dir(&spaces).is_ok_and(|mut spaces| spaces.next().is_some()) {
            return Err(Trouble::Unmovable(self.data.clone(), "it has tablespaces"));
        }
        Ok(())
    }

    /// Takes the data directory from its place, so that nobody can start it. It has no signal file then: with one, a server
    /// that was killed does not recover on its own.
    pub(super) fn take(&self) -> Result<PathBuf, Trouble> {
        let recovering = self.recovering();
        files::rename(&self.data, &recovering)?;
        Ok(recovering)
    }

    /// Brings the data directory back that was taken and is as good as it was, as a standby.
    pub(super) fn put_back(&self) -> Result<(), Trouble> {
        self.make_standby(&self.recovering())?;
        files::rename(&self.recovering(), &self.data)?;
        self.forget_local()
    }

    /// Without any signal file, a server is its own and recovers alone.
    pub(super) fn without_signals(&self, dir: &Path) -> Result<(), Trouble> {
        files::remove(&dir.join(STANDBY))?;
        files::remove(&dir.join(RECOVERY))
    }

    /// From the next start on, the server in this directory is a standby.
    pub(super) fn make_standby(&self, dir: &Path) -> Result<(), Trouble> {
        let signal = dir.join(STANDBY);
        if files::exists(&signal)? {
            Ok(())
        } else {
            files::write(&signal, "", self.owner)
        }
    }

    /// No server of today starts with what told the same before version 12.
    pub(super) fn need_no_recovery_conf(&self) -> Result<(), Trouble> {
        let old = self.data.join(RECOVERY_CONF);
        if files::exists(&old)? {
            return Err(Trouble::RecoveryConf(old));
        }
        Ok(())
    }

    /// Keeps the machine's own files of the data directory at its place. What stands in one that a rewind has begun to write
    /// may be another server's.
    pub(super) fn keep_local(&self) -> Result<(), Trouble> {
        let new = self.beside.join("keeping");
        files::remove_dir(&new)?;
        files::make_dir(&new, self.owner)?;
        copy_local(&self.data, &new, self.owner)?;
        self.forget_local()?;
        files::rename(&new, &self.kept())
    }

    /// Gives the kept files to a data directory.
    pub(super) fn restore_local(&self, dir: &Path) -> Result<(), Trouble> {
        if files::exists(&self.kept())? {
            copy_local(&self.kept(), dir, self.owner)
        } else {
            Ok(())
        }
    }

    /// Nothing has to be restored any more.
    fn forget_local(&self) -> Result<(), Trouble> {
        files::remove_dir(&self.kept())
    }

    /// Brings a complete data directory to its place. What is there is kept as `old`, in place of an earlier one.
    ///
    /// What is at the place may have been started since the copy was begun, hours ago. Then the copy waits until that has ended.
    pub(super) fn complete(&self, from: &Path) -> Result<(), Trouble> {
        files::rename(from, &self.ready())?;
        holders::need_none(&self.places(), self.owner)?;
        self.install()
    }

    fn install(&self) -> Result<(), Trouble> {
        for replaced in [self.rewinding(), self.data.clone()] {
            if files::exists(&replaced)? {
                self.make_standby(&replaced)?;
                files::remove_dir(&self.old())?;
                files::rename(&replaced, &self.old())?;
            }
        }
        files::rename(&self.ready(), &self.data)?;
        self.forget_local()
    }
}

fn copy_local(from: &Path, to: &Path, owner: User) -> Result<(), Trouble> {
    for name in LOCAL {
        let file = from.join(name);
        if files::exists(&file)? {
            files::copy(&file, &to.join(name), owner)?;
        }
    }
    Ok(())
}
