//! Credentials that have passed every check, ready for use.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::clock::now;
use super::files::{read_private, read_public};
use super::{Clock, Files, LoadError};
use crate::channel::Expected;
use crate::identity::{Identity, Kind, from_unix};
use crate::tls;

/// One state of the files, checked and parsed.
pub(super) struct Material {
    pub(super) identity: Identity,
    pub(super) not_after: SystemTime,
    pub(super) server: Arc<ServerConfig>,
    key: Arc<SingleCertAndKey>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    clock: Clock,
}

impl Material {
    /// Reads and checks the files.
    pub(super) fn load(files: &Files, kind: Kind, clock: &Clock) -> Result<Self, LoadError> {
        let provider = tls::provider();
        let chain = certificates(&files.certificate)?;
        let roots = Arc::new(authorities(&files.authority)?);
        let leaf = chain
            .first()
            .ok_or_else(|| LoadError::Damaged {
                path: files.certificate.clone(),
            })?
            .clone();

        let not_after = check_dates(&leaf, &files.certificate, now(clock))?;
        check_chain(&chain, &roots, &provider, files, now(clock))?;
        let identity =
            Identity::from_certificate(&leaf).map_err(|source| LoadError::Unidentified {
                path: files.certificate.clone(),
                source,
            })?;
        if identity.kind() != kind {
            let found = Box::new(identity);
            return Err(LoadError::WrongKind {
                path: files.certificate.clone(),
                found,
                wanted: kind,
            });
        }

        let key = read_private(&files.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|source| LoadError::Pem {
            path: files.key.clone(),
            wanted: "private key",
            source,
        })?;
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|source| {
            LoadError::KeyMismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                source,
            }
        })?;
        let key = Arc::new(SingleCertAndKey::from(key));

        let tls = |source| LoadError::Tls {
            path: files.certificate.clone(),
            source,
        };
        let accept =
            tls::AcceptClients::new(roots.clone(), provider.clone(), identity.cluster().clone())
                .map_err(|error| tls(rustls::Error::General(error.to_string())))?;
        let server = server_config(&key, accept, &provider, clock).map_err(tls)?;
        Ok(Self {
            identity,
            not_after,
            server: Arc::new(server),
            key,
            roots,
            provider,
            clock: clock.clone(),
        })
    }

    /// What a connection to `expected` needs.
    pub(super) fn client(&self, expected: Expected) -> Result<ClientConfig, rustls::Error> {
        let accept = tls::AcceptServer::new(
            self.roots.clone(),
            self.provider.clone(),
            self.identity.cluster().clone(),
            expected,
        );
        let mut config =
            ClientConfig::builder_with_details(self.provider.clone(), self.clock.clone())
                .with_protocol_versions(tls::VERSIONS)?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(accept))
                .with_client_cert_resolver(self.key.clone());
        config.alpn_protocols = vec![tls::ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }
}

impl fmt::Debug for Material {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("identity", &self.identity)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn server_config(
    key: &Arc<SingleCertAndKey>,
    accept: tls::AcceptClients,
    provider: &Arc<CryptoProvider>,
    clock: &Clock,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_details(provider.clone(), clock.clone())
        .with_protocol_versions(tls::VERSIONS)?
        .with_client_cert_verifier(Arc::new(accept))
        .with_cert_resolver(key.clone());
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    // No resumption, see the essay of `tls`: no tickets are sent and no sessions are kept.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let pem = |source| LoadError::Pem {
        path: path.to_owned(),
        wanted: "certificate",
        source,
    };
    let content = read_public(path)?;
    let chain = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem)?;
    if chain.is_empty() {
        return Err(pem(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn authorities(path: &Path) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| LoadError::Damaged {
            path: path.to_owned(),
        })?;
    }
    Ok(roots)
}

/// The certificate's end, if the present lies within its dates.
fn check_dates(
    leaf: &CertificateDer<'_>,
    path: &Path,
    now: SystemTime,
) -> Result<SystemTime, LoadError> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| LoadError::Damaged {
        path: path.to_owned(),
    })?;
    let not_before = from_unix(leaf.validity().not_before.timestamp());
    let not_after = from_unix(leaf.validity().not_after.timestamp());
    if now < not_before {
        return Err(LoadError::NotYetValid {
            path: path.to_owned(),
            not_before,
        });
    }
    if now > not_after {
        return Err(LoadError::Expired {
            path: path.to_owned(),
            not_after,
        });
    }
    Ok(not_after)
}

/// What a peer will find: every certificate of ours, also a server's, is a client's certificate too.
fn check_chain(
    chain: &[CertificateDer<'_>],
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    files: &Files,
    now: SystemTime,
) -> Result<(), LoadError> {
    let other = |source| LoadError::OtherAuthority {
        certificate: files.certificate.clone(),
        authority: files.authority.clone(),
        source,
    };
    let (leaf, rest) = chain
        .split_first()
        .ok_or_else(|| other(CertificateError::BadEncoding.into()))?;
    let since_1970 = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let verifier: Arc<dyn ClientCertVerifier> =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| other(rustls::Error::General(error.to_string())))?;
    verifier
        .verify_client_cert(leaf, rest, UnixTime::since_unix_epoch(since_1970))
        .map_err(other)?;
    Ok(())
}
