//! Why a file of a service is not as it was to be.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{AccountError, SecretError};

/// Why a file of a service is not as it was to be. Whatever it is, the file is as it was, but where it says otherwise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, or what is known of it, cannot be read.
    #[error("{} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file cannot be written.
    #[error("{} cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// It is a symbolic link.
    #[error("{} is a symbolic link, and none is followed: write what it leads to into the agent's file", .0.display())]
    Link(PathBuf),
    /// A secret of the text is not there.
    #[error("its text needs a secret that is not there")]
    Secret(#[source] SecretError),
    /// Who is to own it is nobody.
    #[error("it belongs to nobody")]
    Owner(#[source] AccountError),
    /// Everybody could read its secrets.
    #[error("{} may be read by everybody (mode {:04o}), and its text has secrets: give it a mode in the agent's file", .0.display(), .1)]
    Exposed(PathBuf, u32),
    /// It is neither what it was nor what it was made to be.
    #[error("{} was changed by somebody else since this operation has written it, and is left as it is", .0.display())]
    Changed(PathBuf),
    /// Its checker refuses the text.
    #[error("its checker refuses it (`{0}`): {1}")]
    Refused(String, String),
    /// It was not wanted any more.
    #[error("nothing was begun")]
    NotBegun,
    /// Its checker was not waited for.
    #[error("its checker was ended before it had said anything (`{0}`)")]
    Ended(String),
    /// Its checker cannot be asked.
    #[error("its checker cannot be run (`{0}`)")]
    Checker(String, #[source] io::Error),
    /// Its checker refuses it, and it cannot be put back.
    #[error("{refused}; and {} could not be put back: {why}", path.display())]
    Left {
        /// The file.
        path: PathBuf,
        /// Why it should be.
        refused: Box<Self>,
        /// Why it is not.
        why: String,
    },
}

impl Error {
    /// Would it be so again, whenever the text is to be written: by the agent's own file, or by what the node has?
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Secret(_) | Self::Exposed(..) | Self::Link(_) | Self::Owner(_)
        )
    }

    /// The same, where a text was only tried: by the name of the file that it is for.
    pub(super) fn about(self, trial: &Path, path: &Path) -> Self {
        let (trial, path) = (trial.display().to_string(), path.display().to_string());
        match self {
            Self::Refused(command, said) => Self::Refused(command, said.replace(&trial, &path)),
            other => other,
        }
    }
}
