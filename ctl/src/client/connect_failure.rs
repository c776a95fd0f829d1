//! Why nobody could be reached.

use std::error::Error;
use std::fmt;

use interlock_mesh::channel::{Address, ConnectError};
use interlock_mesh::credentials::LoadError;

use crate::exit::Exit;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// Our own certificate cannot be used.
    Credentials(Box<LoadError>),
    /// Each endpoint that was tried, and what stood in the way. Never empty.
    Tried(Vec<(Address, ConnectError)>),
}

impl ConnectFailure {
    /// One endpoint, one reason.
    pub(super) fn one(address: Address, error: ConnectError) -> Self {
        Self::Tried(vec![(address, error)])
    }

    /// The exit code that stands for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Credentials(_) => Exit::Refused,
            Self::Tried(_) => Exit::Unreachable,
        }
    }

    /// May it go away by itself, as when a program is just being restarted?
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Credentials(_) => false,
            Self::Tried(tried) => tried.iter().any(|(_, error)| error.is_transient()),
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(error) => f.write_str(&chain(error)),
            Self::Tried(tried) => match tried.as_slice() {
                [(_, error)] => f.write_str(&chain(error)),
                several => {
                    write!(f, "none of {} coordinators can be reached:", several.len())?;
                    several.iter().try_for_each(|(address, error)| {
                        write!(f, "\n  {address}: {}", chain(error))
                    })
                }
            },
        }
    }
}

impl Error for ConnectFailure {}

/// An error and its causes in one line. The mesh's messages leave their causes out, and a person needs both.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(" ({cause})"));
        next = cause.source();
    }
    text
}
