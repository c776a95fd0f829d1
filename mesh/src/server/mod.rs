//! Accepting connections.
//!
//! ```text
//!   TcpListener ─► at most N handshakes, each with a time limit ─► tonic ─► authz ─► handlers
//!   (kernel's backlog waits)         │
//!                                    └─► one log line per refusal: who, and why
//! ```
//!
//! tonic's own TLS would do most of this, but has one fixed certificate, no bound on handshakes, and an accept error
//! such as *too many open files* makes it spin without a word. So connections are accepted here and handed over
//! finished, as a stream.
//!
//! * A handshake is the only work that a stranger can cause, about a millisecond of a core. [`Options::handshakes`]
//!   bounds how many run at a time; further connections wait in the kernel's backlog, for nothing.
//! * [`Options::handshake_time`] bounds how long a silent stranger can hold one of those places.
//! * The peer's [`PeerIdentity`] is in the extensions of each request.
//! * Buffers are those of rustls and hyper, grown on demand: nothing is allocated per connection ahead of use, since
//!   a coordinator holds a thousand of them.

mod acceptor;
mod common;
mod connection;
mod incoming;
mod options;
mod peer_identity;
mod refusal;

pub use common::{DescribeError, common};
pub use connection::Connection;
pub use incoming::Incoming;
pub use options::{InvalidOptions, Options};
pub use peer_identity::PeerIdentity;
use refusal::Refusal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport;

use crate::authz::{Authorized, Table};
use crate::credentials::Credentials;

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    credentials: Credentials,
    table: Arc<Table>,
    options: Options,
}

/// Why a server cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: is the address of this machine, and no other program on the port?"
)]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// Why a server stopped serving by itself.
#[derive(Debug, thiserror::Error)]
#[error("the server on {address} stopped serving")]
pub struct ServeError {
    /// The address.
    pub address: SocketAddr,
    /// What the transport says.
    pub source: transport::Error,
}

impl Server {
    /// Binds `address`. Peers can connect from here on, and wait until [`serve`](Self::serve).
    ///
    /// # Errors
    /// [`BindError`] if the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        credentials: Credentials,
        table: Arc<Table>,
        options: Options,
    ) -> Result<Self, BindError> {
        let fail = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self {
            listener,
            address,
            credentials,
            table,
            options,
        })
    }

    /// The address that was really bound, also if port 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `routes`, every request of them through the table, until `shutdown`; then accepts nothing new and
    /// returns when the standing connections have ended.
    ///
    /// Streams without end keep a connection standing: end them, or stop waiting for this.
    ///
    /// # Errors
    /// [`ServeError`] if the transport fails as a whole; the failure of one connection is none.
    pub async fn serve(
        self,
        routes: Routes,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let address = self.address;
        let service = Authorized::new(routes.prepare(), self.table);
        let incoming = Incoming::new(self.listener, self.credentials, self.options);
        self.options
            .transport()
            .serve_with_incoming_shutdown(service, incoming, shutdown)
            .await
            .map_err(|source| ServeError { address, source })
    }
}
