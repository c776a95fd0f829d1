//! The task that accepts, and the tasks that shake hands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, warn};

use super::{Connection, Options, PeerIdentity, Refusal};
use crate::credentials::Credentials;
use crate::identity;

/// How long accepting rests when the system has no resources for a connection. Long enough not to spin, short enough
/// that a peer's connect timeout does not notice.
const REST: Duration = Duration::from_millis(200);

/// Accepts until the receiver is dropped. All handshakes end with this task.
pub(super) async fn run(
    listener: TcpListener,
    credentials: Credentials,
    options: Options,
    ready: mpsc::Sender<Connection>,
) {
    let places = Arc::new(Semaphore::new(options.handshakes.max(1)));
    let mut handshakes = JoinSet::new();
    // One line when resources run out and one when they are back, not five a second in between.
    let mut exhausted = false;

    loop {
        // First the place, then the connection: who finds no place waits in the kernel and costs nothing here.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        while handshakes.try_join_next().is_some() {}

        match listener.accept().await {
            Ok((stream, address)) => {
                if std::mem::take(&mut exhausted) {
                    warn!("accepting connections again");
                }
                let handshake = Handshake {
                    address,
                    credentials: credentials.clone(),
                    time: options.handshake_time,
                };
                handshakes.spawn(handshake.run(stream, place, ready.clone()));
            }
            Err(cause) if is_of_one_connection(&cause) => {
                debug!(%cause, "a connection ended before it was accepted")
            }
            Err(cause) => {
                if !std::mem::replace(&mut exhausted, true) {
                    error!(%cause, "cannot accept connections, trying again; check the limit on open files");
                }
                sleep(REST).await;
            }
        }
    }
}

/// Whether an accept error says something about the connection that was about to be accepted, and nothing about the
/// next one (accept(2), "Error handling"). Everything else, such as EMFILE, would come again at once.
fn is_of_one_connection(cause: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        cause.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::Interrupted
    )
}

/// One connection on its way in.
struct Handshake {
    address: SocketAddr,
    credentials: Credentials,
    time: Duration,
}

impl Handshake {
    async fn run(
        self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        ready: mpsc::Sender<Connection>,
    ) {
        match self.shake(stream).await {
            // The place is kept until the connection is taken, see `Incoming::new`.
            Ok(connection) => drop(ready.send(connection).await),
            Err(Refusal::Silent) => {
                debug!(peer = %self.address, reason = %Refusal::Silent, "connection refused")
            }
            Err(refusal) => {
                let reason = crate::error_chain(&refusal);
                warn!(peer = %self.address, %reason, "connection refused");
            }
        }
        drop(place);
    }

    async fn shake(&self, stream: TcpStream) -> Result<Connection, Refusal> {
        // Small messages that somebody waits for: never wait for more to fill a segment.
        stream.set_nodelay(true).map_err(Refusal::Io)?;
        let acceptor = TlsAcceptor::from(self.credentials.server_config());
        let stream = timeout(self.time, acceptor.accept(stream))
            .await
            .map_err(|_| Refusal::Timeout(self.time))?
            .map_err(Refusal::from_handshake)?;

        let certificate = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first)
            .ok_or(Refusal::NoCertificate)?;
        // Verified a moment ago, inside the handshake; read here once more because rustls does not carry the result.
        let (identity, not_after) =
            identity::read_certificate(certificate).map_err(Refusal::unidentified)?;
        let peer = PeerIdentity::new(identity, self.address, not_after);
        Ok(Connection::new(stream, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accept_error_that_would_come_again_makes_the_acceptor_rest() {
        let (emfile, enfile, econnaborted) = (24, 23, 103);
        assert!(!is_of_one_connection(&io::Error::from_raw_os_error(emfile)));
        assert!(!is_of_one_connection(&io::Error::from_raw_os_error(enfile)));
        assert!(is_of_one_connection(&io::Error::from_raw_os_error(
            econnaborted
        )));
    }
}
