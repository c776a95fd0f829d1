//! The API for operators, one service per audience.
//!
//! Handlers convert, call the driver once, and convert back. Who may call what is decided before, by the one table of
//! the mesh; who called is read from the certificate, for the audit.

mod blocks;
mod cluster;
mod comparing;
mod event;
mod held;
mod logs;
mod maintenance;
mod operation;
mod patience;
mod plan;
mod planning;
mod power;
mod render;
mod rendering;
mod store;

pub use cluster::Cluster;
pub use event::Events;
pub use logs::{Logs, Relay};
pub use operation::Operations;
pub use plan::Plans;
pub use planning::Planning;
pub(crate) use store::PORTABLE;
pub use store::Stores;

use std::time::Duration;

use interlock_mesh::server::PeerIdentity;
use interlock_model::check::MAX_EVIDENCE;
use interlock_model::spec::Role;
use tokio::sync::watch;
use tonic::{Request, Status};

/// Who called, as the audit names them, and what they may.
struct Caller {
    name: String,
    role: Role,
}

impl Caller {
    fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let peer = PeerIdentity::of(request.extensions())?;
        let role = peer
            .identity()
            .role()
            .ok_or_else(|| Status::permission_denied("only people call this"))?;
        Ok(Self {
            name: peer.identity().name().to_owned(),
            role,
        })
    }
}

/// Waits for a change, but no longer than `at_most`, since ages change by themselves; and at least `at_least`, so that
/// a busy cluster does not flood its watchers. False when the driver has ended.
async fn next_change(
    changes: &mut watch::Receiver<u64>,
    at_least: Duration,
    at_most: Duration,
) -> bool {
    tokio::time::sleep(at_least).await;
    match tokio::time::timeout(at_most, changes.changed()).await {
        Ok(Ok(())) | Err(_) => true,
        Ok(Err(_)) => false,
    }
}

/// How many names of one kind a line tells; the rest is counted.
const NAMED: usize = 6;

/// How long a reason may be, in bytes: it stands in a line of the journal and of the events, like evidence.
const MAX_REASON: usize = MAX_EVIDENCE;

/// Refuses a text of a caller that no record should keep and no terminal should show.
fn bounded(field: &str, text: &str, most: usize) -> Result<(), Status> {
    if text.len() > most {
        return Err(Status::invalid_argument(format!(
            "{field}: {} bytes, and at most {most} are kept: say it shorter",
            text.len()
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Status::invalid_argument(format!(
            "{field}: it has control characters, such as a line break: write it as one line of text"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let bounded = |text: &str| bounded("reason", text, MAX_REASON);
        assert!(bounded("").is_ok() && bounded(&"x".repeat(MAX_REASON)).is_ok());
        for bad in [
            "x".repeat(MAX_REASON + 1),
            "a\nb".into(),
            "\u{1b}[2J".into(),
        ] {
            let refused = bounded(&bad).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().starts_with("reason: "), "{refused}");
        }
    }
}
