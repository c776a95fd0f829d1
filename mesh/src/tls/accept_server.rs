//! The client's check of a server: our authority, in time, our cluster, and the member that was called.

use std::sync::Arc;

use interlock_model::names::ClusterName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{PeerError, chain_error, identity_error};
use crate::channel::Expected;

/// Verifies one server during the handshake.
#[derive(Debug)]
pub(crate) struct AcceptServer {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    cluster: ClusterName,
    expected: Expected,
}

impl AcceptServer {
    /// Accepts the `expected` member of `cluster` if its certificate leads to one of `roots`.
    pub(crate) const fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        cluster: ClusterName,
        expected: Expected,
    ) -> Self {
        Self {
            roots,
            provider,
            cluster,
            expected,
        }
    }
}

impl ServerCertVerifier for AcceptServer {
    /// The name that TLS knows is ignored: it is an address, and identities are not addresses.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )
        .map_err(chain_error)?;
        let found = PeerError::check_member(end_entity, &self.cluster).map_err(identity_error)?;
        if self.expected.is(&found) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(identity_error(PeerError::Unexpected {
                found,
                expected: self.expected.clone(),
            }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
