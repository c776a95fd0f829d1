//! Why the file could not be opened as a store, for the person who starts the coordinator.

use std::path::PathBuf;

use super::super::{Cause, Class};

/// A store file that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no file, and none was to be made.
    #[error(
        "there is no store at {}: check the path, restore the file from a backup, or allow a new \
         store to be created", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },

    /// Another open store has the file.
    #[error(
        "the store {} is in use by {holder}: stop that process, or give this coordinator a file \
         of its own; two coordinators never share one file", path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who holds its lock, as far as the system tells.
        holder: String,
    },

    /// The file or its directory may not be used.
    #[error(
        "the store {} may not be opened: the coordinator's user must own the file and be able to \
         write its directory", path.display()
    )]
    Denied {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },

    /// The file is something else.
    #[error(
        "{} is not a store of Interlock, {found}: check the path",
        path.display()
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },

    /// The file was cut short or altered.
    #[error(
        "the store {} is damaged: move it aside and restore it from a backup; it is never replaced \
         by an empty one", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Cause,
    },

    /// A later version of Interlock wrote the file.
    #[error(
        "the store {} has format {found}, this version knows formats up to {known}: start the \
         version of interlock-coordinator that wrote it, or a later one", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u128,
        /// The newest that this program knows.
        known: u128,
    },

    /// No space, or a quota or file size limit was met.
    #[error(
        "the store {} cannot be opened for lack of space: free space on its file system, or raise \
         the quota or file size limit of this process", path.display()
    )]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },

    /// The file system failed.
    #[error(
        "the store {} cannot be opened: check that its directory exists and that its disk works",
        path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
}

impl OpenError {
    /// Whether opening again, without a person's help, can succeed.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::InUse { .. } | Self::NoSpace { .. } => Class::Retryable,
            Self::Missing { .. }
            | Self::Denied { .. }
            | Self::NotAStore { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Io { .. } => Class::Terminal,
        }
    }
}
