//! Why a command could not do what was asked, and with which exit code that ends.

use std::io;

use crate::client::{ConnectFailure, RpcFailure};
use crate::exit::Exit;

/// Why a command failed. The message says what failed on what, and what to do; causes follow as sources.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// What was asked for cannot be had; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// A file of the user's is wrong; the text is complete and ends its own lines.
    #[error("{0}")]
    Invalid(String),
    /// No plan can be made; its report, which says why, is printed already.
    #[error("{0}")]
    NoPlan(String),
    /// Nobody to talk to.
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
    /// The other side said no, or stopped in the middle.
    #[error(transparent)]
    Rpc(#[from] Box<RpcFailure>),
    /// Standard output or error cannot be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// The exit code that stands for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(_) | Self::Invalid(_) => Exit::Refused,
            Self::NoPlan(_) => Exit::NoPlan,
            Self::Connect(failure) => failure.exit(),
            Self::Rpc(failure) => failure.exit(),
            Self::Output(_) | Self::Other(_) => Exit::Failed,
        }
    }

    /// The stable word for it, for programs; `docs/errors.md` has the list.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Usage(_) => "usage".to_owned(),
            Self::Refused(_) => "refused".to_owned(),
            Self::Invalid(_) => "invalid-file".to_owned(),
            Self::NoPlan(_) => "no-plan".to_owned(),
            Self::Connect(failure) if failure.exit() == Exit::Unreachable => {
                "unreachable".to_owned()
            }
            Self::Connect(_) => "credentials".to_owned(),
            Self::Rpc(failure) => failure.word(),
            Self::Output(_) => "output".to_owned(),
            Self::Other(_) => "failed".to_owned(),
        }
    }

    /// May it go away by itself, as when a coordinator is just being restarted?
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Connect(failure) => failure.is_transient(),
            Self::Rpc(failure) => failure.is_transient(),
            Self::Usage(_)
            | Self::Refused(_)
            | Self::Invalid(_)
            | Self::NoPlan(_)
            | Self::Output(_)
            | Self::Other(_) => false,
        }
    }

    /// Is it that the reader of the output has gone, as `head` does? That is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<RpcFailure> for Failure {
    fn from(failure: RpcFailure) -> Self {
        Self::Rpc(Box::new(failure))
    }
}

/// What a command gives back.
pub(crate) type Outcome = Result<Exit, Failure>;
