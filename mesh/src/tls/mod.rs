//! The one way in which Interlock speaks TLS.
//!
//! * **TLS 1.3 only**, both sides authenticated, aws-lc-rs. Configurations name their provider, nothing is installed
//!   process-wide, so a second provider somewhere in the dependency tree cannot change what runs here.
//! * **No resumption.** A resumed session takes the client's certificate from the ticket and does not verify it again
//!   (RFC 8446, 4.6.1; rustls does the same), so an expired or replaced certificate would live on in tickets. A full
//!   handshake costs about a millisecond of a core; connections here last for days.
//! * **Names are URIs, not host names.** Nodes are reached by whatever address works; what counts is the identity in
//!   the certificate. So a server's certificate is checked for chain and identity, and its DNS and IP names are
//!   there only for other tools such as grpcurl.

mod accept_clients;
mod accept_server;
mod peer_error;

pub(crate) use accept_clients::AcceptClients;
pub(crate) use accept_server::AcceptServer;
pub use peer_error::PeerError;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, OtherError};

/// HTTP/2, the only protocol that is spoken inside (RFC 7301, RFC 9113 3.2).
pub(crate) const ALPN: &[u8] = b"h2";

/// The versions that are offered and accepted.
pub(crate) static VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The cryptography that everything here uses.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Makes the verdict on a chain say what an operator has to know.
///
/// Two authorities with one name have different keys: the chain then fails with a bad signature, which in an alert
/// reads like broken cryptography. It is what an unknown issuer is: another authority.
fn chain_error(error: rustls::Error) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            CertificateError::UnknownIssuer.into()
        }
        other => other,
    }
}

/// Carries a verdict on an identity through rustls. The peer sees the alert `certificate_unknown`.
fn identity_error(error: PeerError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
