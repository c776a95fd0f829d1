//! Why a member cannot be switched, and how the file was left.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::file::Unclear;
use super::verdict::Verdict;

/// nginx cannot be told, or asked. Unless it says otherwise, the file is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file does not say which line is meant.
    #[error("{} is left as it is", file.display())]
    Unclear {
        file: PathBuf,
        #[source]
        source: Unclear,
    },
    /// The file cannot be replaced.
    #[error("cannot replace {}", file.display())]
    Write {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Somebody else has changed the file meanwhile.
    #[error("{} was changed by somebody else at the same time, and is left to them", .0.display())]
    Raced(PathBuf),
    /// There is no nginx to be told.
    #[error("nginx does not run: {0}")]
    NotRunning(String),
    /// Its processes cannot be looked at.
    #[error("cannot look at the processes of nginx")]
    Processes(#[source] io::Error),
    /// Its program, or the command that reloads it, cannot be run.
    #[error("cannot run {program}; {left}")]
    Run {
        program: String,
        left: Left,
        #[source]
        source: io::Error,
    },
    /// nginx does not take the configuration.
    #[error("nginx refuses its configuration: {verdict}; {whose}; {left}")]
    Refused {
        verdict: Verdict,
        whose: Whose,
        left: Left,
    },
    /// The workers that run have not read the file.
    #[error("nginx was told to reload, and {how}; its error log says why; {left}")]
    NotReloaded { how: String, left: Left },
}

/// What a refused configuration has to do with the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// It was refused without the change as well.
    Before,
    /// The name of the member itself is not found. nginx refuses it marked `down` as well.
    Own,
    /// The name of another member is not found.
    Other,
    /// It is refused since the change.
    Change,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "that has nothing to do with this member, it was so before",
            Self::Own => "that is this member: nginx wants to find its name also while it is down",
            Self::Other => "that is another member than the one that is switched",
            Self::Change => "without the change it did not",
        })
    }
}

/// How the file was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// As it was before.
    AsItWas(PathBuf),
    /// Changed, because it could not be put back.
    Changed(PathBuf, String),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsItWas(file) => write!(f, "{} is as it was", file.display()),
            Self::Changed(file, why) => {
                write!(
                    f,
                    "{} is changed and cannot be put back: {why}",
                    file.display()
                )
            }
        }
    }
}
