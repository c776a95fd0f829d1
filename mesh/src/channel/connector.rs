//! Making one connection: TCP, TLS, and the server's first words.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::AsyncBufReadExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tower_service::Service;

use super::{ConnectError, Options, Target};
use crate::credentials::Credentials;

/// Connects to one target, as often as the channel asks.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    target: Target,
    credentials: Credentials,
    options: Options,
}

type Io = TokioIo<TlsStream<TcpStream>>;

impl Connector {
    pub(super) const fn new(target: Target, credentials: Credentials, options: Options) -> Self {
        Self {
            target,
            credentials,
            options,
        }
    }

    async fn connect(self) -> Result<Io, ConnectError> {
        let limit = self.options.connect_time;
        match timeout(limit, self.connect_without_limit()).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout {
                address: self.target.address.clone(),
                after: limit,
            }),
        }
    }

    async fn connect_without_limit(&self) -> Result<Io, ConnectError> {
        let address = || self.target.address.clone();
        let tcp = self.connect_tcp().await?;
        let peer = tcp
            .peer_addr()
            .map_err(|source| ConnectError::from_tcp(address(), source))?;

        let config = self
            .credentials
            .client_config(self.target.expected.clone())
            .map_err(|source| ConnectError::Protocol {
                address: address(),
                source,
            })?;
        // The name is not used: no SNI is sent for an address, and the verifier looks at identities only.
        let name = ServerName::IpAddress(peer.ip().into());
        let failed =
            |source| ConnectError::from_tls(&self.target, self.credentials.identity(), source);
        let mut tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(failed)?;

        // See the essay of `channel`: the server's verdict on our certificate comes with, or instead of, its first
        // words. They stay in the buffer for HTTP/2 to read.
        if tls.fill_buf().await.map_err(failed)?.is_empty() {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(TokioIo::new(tls))
    }

    /// Tries the addresses of the target in turn; the last failure counts.
    async fn connect_tcp(&self) -> Result<TcpStream, ConnectError> {
        let address = || self.target.address.clone();
        let unknown = |source| ConnectError::Lookup {
            address: address(),
            source: Arc::new(source),
        };
        let mut last = None;
        for candidate in lookup_host(self.target.address.as_str())
            .await
            .map_err(unknown)?
        {
            match TcpStream::connect(candidate).await {
                Ok(tcp) => {
                    // Small messages that somebody waits for: never wait for more to fill a segment.
                    tcp.set_nodelay(true)
                        .map_err(|source| ConnectError::from_tcp(address(), source))?;
                    return Ok(tcp);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(source) => ConnectError::from_tcp(address(), source),
            None => unknown(io::ErrorKind::NotFound.into()),
        })
    }
}

impl Service<Uri> for Connector {
    type Response = Io;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Io, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    /// The URI is the endpoint's, which was made from the target.
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
