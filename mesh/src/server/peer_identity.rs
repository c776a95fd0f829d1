//! Who sent a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Extensions, Status};

use crate::identity::Identity;

/// The verified peer of a connection, in the extensions of each of its requests. Cloning it clones a pointer.
#[derive(Debug, Clone)]
pub struct PeerIdentity(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    identity: Identity,
    address: SocketAddr,
    not_after: SystemTime,
}

impl PeerIdentity {
    pub(crate) fn new(identity: Identity, address: SocketAddr, not_after: SystemTime) -> Self {
        Self(Arc::new(Peer {
            identity,
            address,
            not_after,
        }))
    }

    /// The peer that sent a request, from `request.extensions()`.
    ///
    /// # Errors
    /// A status for the caller, if the request did not come through [`Incoming`](super::Incoming).
    pub fn of(extensions: &Extensions) -> Result<&Self, Status> {
        extensions
            .get()
            .ok_or_else(|| Status::unauthenticated("the request did not come over mutual TLS"))
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Where it connected from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// When the certificate ends that the peer showed. A connection may outlive it; what lasts long decides itself
    /// whether it goes on.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }
}
