//! The API for operators, one service per audience.
//!
//! Handlers convert, call the driver once, and convert back. Who may call what is decided before, by the one table of
//! the mesh; who called is read from the certificate, for the audit.

mod cluster;
mod event;
mod operation;
mod plan;
mod power;
mod render;
mod store;

pub use cluster::Cluster;
pub use event::Events;
pub use operation::Operations;
pub use plan::Plans;
pub(crate) use store::PORTABLE;
pub use store::Stores;

use std::time::Duration;

use interlock_mesh::server::PeerIdentity;
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
