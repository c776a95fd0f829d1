//! TLS to servers that checks look at, which are not of this cluster: their certificates are verified against the
//! authorities that this machine trusts.
//!
//! The authorities are those of the file that the agent's own file names (`check_ca`); else those of the operating system's
//! bundle, where an operator puts a private one (`update-ca-certificates`, `update-ca-trust`), or of the file that
//! `SSL_CERT_FILE` names, as with OpenSSL. The bundle is
//! read at the first look that needs it, and again after [`REREAD`]. There is no way to skip the verification: a check
//! that accepts any certificate would be worse than none.
//!
//! TLS 1.3 is spoken and nothing older, as everywhere in this program; a server that cannot is *unknown*, and named.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use interlock_model::check::{ProbeResult, ServerTls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::outcome::{bad, unknown};

/// How long authorities are kept before their file is read again.
const REREAD: Duration = Duration::from_secs(300);

/// Where operating systems keep the bundle: Debian, SUSE, Red Hat.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// The variable that names another bundle, as OpenSSL has it.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The authorities that this machine trusts. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The file to read instead of the operating system's.
    bundle: Option<PathBuf>,
    read: Arc<Mutex<Option<Read>>>,
}

impl Trust {
    /// The authorities of this file alone.
    #[must_use]
    pub fn of(bundle: PathBuf) -> Self {
        Self {
            bundle: Some(bundle),
            read: Arc::default(),
        }
    }

    /// Talks TLS over a connection to a server that must prove to be `name`.
    ///
    /// # Errors
    /// With the result that the check has instead.
    pub(super) async fn secure(
        &self,
        stream: TcpStream,
        name: &str,
        target: &str,
    ) -> Result<Box<dyn Stream>, ProbeResult> {
        let config = self
            .config()
            .await
            .map_err(|why| unknown(format!("cannot verify certificates: {why}")))?;
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| unknown(format!("'{name}' is not a name that certificates have")))?;
        match TlsConnector::from(config).connect(server, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(failed(target, name, &error)),
        }
    }

    /// Talks TLS to the server of a check by `host:port`, which must prove to be the one that is meant.
    ///
    /// # Errors
    /// With the result that the check has instead.
    pub(super) async fn secure_server(
        &self,
        stream: TcpStream,
        tls: &ServerTls,
        target: &str,
    ) -> Result<Box<dyn Stream>, ProbeResult> {
        let name = match &tls.server_name {
            Some(name) => name,
            None => host(target),
        };
        self.secure(stream, name, target).await
    }

    /// The file of the authorities, for programs that verify by themselves.
    ///
    /// # Errors
    /// If this machine has none.
    pub(super) fn bundle(&self) -> Result<PathBuf, String> {
        bundle(self.bundle.clone())
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let kept = Arc::clone(&self.read).lock_owned().await;
        if let Some((at, config)) = &*kept
            && at.elapsed() < REREAD
        {
            return Ok(Arc::clone(config));
        }
        let bundle = self.bundle.clone();
        // The guard goes along: a disk that hangs takes this one thread and no second one.
        let reading = tokio::task::spawn_blocking(move || read(bundle, kept));
        reading.await.map_err(|error| error.to_string())?
    }
}

/// When the authorities were read, and what trusts them.
type Read = (Instant, Arc<ClientConfig>);

type Kept = OwnedMutexGuard<Option<Read>>;

/// The host of `host:port`, as a certificate names it.
fn host(target: &str) -> &str {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

fn bundle(given: Option<PathBuf>) -> Result<PathBuf, String> {
    given
        .or_else(|| std::env::var_os(BUNDLE_VARIABLE).map(PathBuf::from))
        .or_else(|| {
            let there = BUNDLES.iter().map(PathBuf::from);
            there.into_iter().find(|path| path.exists())
        })
        .ok_or_else(|| {
            "this machine has no bundle of authorities: install ca-certificates".to_owned()
        })
}

fn read(given: Option<PathBuf>, mut kept: Kept) -> Result<Arc<ClientConfig>, String> {
    let config = Arc::new(trusting(&bundle(given)?)?);
    *kept = Some((Instant::now(), Arc::clone(&config)));
    Ok(config)
}

fn trusting(bundle: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(bundle)
        .map_err(|error| format!("{}: {error}", bundle.display()))?;
    // What cannot be read in a bundle of a hundred does not take the trust in the others away.
    for certificate in certificates.flatten() {
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(format!("{} has no usable certificate", bundle.display()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The result of a handshake that failed. A certificate that does not hold is the server's answer, and bad; what this
/// program cannot speak says nothing about the service.
fn failed(target: &str, name: &str, error: &io::Error) -> ProbeResult {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => bad(format!(
            "{target}: its certificate does not prove that it is {name}: {why}"
        )),
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => unknown(format!(
            "{target}: the server speaks no TLS 1.3, and this check nothing older"
        )),
        Some(rustls::Error::PeerIncompatible(why)) => {
            unknown(format!("{target}: no common ground in TLS: {why:?}"))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            bad(format!("{target}: what answers there is not TLS"))
        }
        Some(_) | None => unknown(format!("{target}: no TLS connection: {error}")),
    }
}
