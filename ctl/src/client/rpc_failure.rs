//! A call that failed, in words for people.

use std::fmt;

use interlock_mesh::channel::{Address, ConnectError};
use interlock_mesh::identity::Identity;
use tonic::{Code, Status};

use crate::exit::Exit;
use crate::render::{clean, clean_lines};

/// A call that failed.
#[derive(Debug)]
pub(crate) struct RpcFailure {
    doing: String,
    address: Address,
    own: String,
    status: Status,
}

impl RpcFailure {
    pub(super) fn new(doing: &str, address: Address, own: &Identity, status: Status) -> Self {
        Self {
            doing: doing.to_owned(),
            address,
            own: own.caller().to_string(),
            status,
        }
    }

    /// What the other side answered.
    pub(crate) fn code(&self) -> Code {
        self.status.code()
    }

    /// The exit code that stands for it.
    pub(crate) fn exit(&self) -> Exit {
        match self.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Exit::Unreachable,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::Unauthenticated => Exit::Refused,
            Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                // A connection that broke in the middle comes as *unknown*; what is behind it decides.
                if self.broke() {
                    Exit::Unreachable
                } else {
                    Exit::Failed
                }
            }
        }
    }

    /// May the same call succeed in a moment, at this coordinator or another?
    pub(crate) fn is_transient(&self) -> bool {
        match ConnectError::inside(&self.status) {
            Some(error) => error.is_transient(),
            None => self.code() == Code::Unavailable || self.broke(),
        }
    }

    /// Did the transport break, rather than the other side answer?
    fn broke(&self) -> bool {
        std::error::Error::source(&self.status).is_some()
    }
}

impl fmt::Display for RpcFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            doing,
            address,
            own,
            status,
        } = self;
        if let Some(error) = ConnectError::inside(status) {
            return write!(f, "cannot {doing}: {error}");
        }
        if self.broke() {
            return write!(
                f,
                "cannot {doing}: {address} went away in the middle; try again"
            );
        }
        // What the other side says: a line, but for the problems of a file, which are many.
        let message = match status.code() {
            Code::InvalidArgument => clean_lines(status.message()),
            _ => clean(status.message()),
        };
        match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::ResourceExhausted => write!(f, "cannot {doing}: {message}"),
            Code::PermissionDenied | Code::Unauthenticated => write!(
                f,
                "cannot {doing}: {address} does not permit it to {own}: {message}; \
                 use a context whose certificate has the role, or have one issued"
            ),
            Code::DeadlineExceeded => write!(
                f,
                "cannot {doing}: {address}: {message}; it is overloaded, or stuck: see its log, and try again"
            ),
            Code::Unimplemented => write!(
                f,
                "cannot {doing}: {address} does not know this call: is it of an older version? \
                 `interlockctl status` shows its version"
            ),
            Code::Unavailable | Code::Cancelled => write!(
                f,
                "cannot {doing}: {address} went away in the middle ({message}); try again"
            ),
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => write!(
                f,
                "cannot {doing}: {address} failed: {message}; see the log of the program there"
            ),
        }
    }
}

impl std::error::Error for RpcFailure {}
