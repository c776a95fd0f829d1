//! Why a session with a coordinator ended, or never began, in words that name what to do.

use interlock_mesh::channel::ConnectError;
use tonic::{Code, Status};

use super::link::WELCOME_LIMIT;

/// Why a session ended, or never began.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The agent is ending.
    #[error("the agent is ending")]
    Stopped,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(
        "{address} does not let this agent in as node {node}: {message}; the certificate must be that node's, and \
             the node must be in the cluster spec"
    )]
    Denied {
        address: String,
        node: String,
        message: String,
    },
    #[error("{address} does not let this agent in: {message}")]
    Refused { address: String, message: String },
    #[error("{address} ended the session: {message}")]
    Status { address: String, message: String },
    #[error("{address} closed the session")]
    Closed { address: String },
    #[error("{address} did not welcome this agent within {WELCOME_LIMIT:?}: is it overloaded?")]
    NoWelcome { address: String },
    #[error(
        "{address} began the session with something else than a welcome: is it of another version?"
    )]
    NotAWelcome { address: String },
}

impl Ended {
    /// What the coordinator at an address ended the session of a node's agent with.
    pub(super) fn by(status: &Status, address: String, node: &str) -> Self {
        if let Some(error) = ConnectError::inside(status) {
            return error.clone().into();
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied {
                address,
                node: node.to_owned(),
                message,
            },
            // Another version is one reason of several, and the coordinator says which it is.
            Code::FailedPrecondition => Self::Refused { address, message },
            code => Self::Status {
                address,
                message: format!("{message} ({code:?})"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::chain;

    #[test]
    fn who_is_refused_tells_the_coordinators_reason_and_none_of_its_own() {
        let why = "this agent works for the store s1, and this coordinator has the store s2: \
                   `interlockctl store adopt s1`";
        let status = Status::failed_precondition(why);
        let told = chain(&Ended::by(&status, "mgmt1:7443".to_owned(), "web1"));
        assert_eq!(
            told,
            format!("mgmt1:7443 does not let this agent in: {why}")
        );
    }
}
