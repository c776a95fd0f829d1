//! The stream of accepted connections.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn};

use super::{Connection, Options, acceptor};
use crate::credentials::Credentials;

/// Connections whose handshakes are done, for `serve_with_incoming`. Dropping it closes the listening socket and ends
/// the handshakes under way; connections that were handed over live on.
#[derive(Debug)]
pub struct Incoming {
    connections: mpsc::Receiver<Connection>,
    acceptor: AbortHandle,
}

impl Incoming {
    /// Starts to accept. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(listener: TcpListener, credentials: Credentials, options: Options) -> Self {
        // One is enough: a finished handshake keeps its place until the connection is taken, so that a server that
        // does not keep up stops accepting.
        let (ready, connections) = mpsc::channel(1);
        let acceptor = spawn(acceptor::run(listener, credentials, options, ready)).abort_handle();
        Self {
            connections,
            acceptor,
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Stream for Incoming {
    type Item = Result<Connection, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections
            .poll_recv(cx)
            .map(|connection| connection.map(Ok))
    }
}
