//! An authority, and what servers show that have their certificates of it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use interlock_agent::probe::Trust;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::server::give_to_nobody;

/// An authority, and servers with its certificates.
pub(crate) struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.crt"), own.pem()).unwrap();
        Self {
            dir,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn bundle(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::of(self.bundle().join("ca.crt"))
    }

    /// What a server of this name shows.
    pub(crate) fn server(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The files that a server's program shows who it is with, as a server of these names: the certificate, and the key. Both
    /// are the user's as whom servers run that refuse to be root's.
    pub(crate) fn files(&self, names: &[&str]) -> Shown {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        // Not that of the authority, as whose own it would be taken.
        params
            .distinguished_name
            .push(DnType::CommonName, "a server");
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let shown = Shown {
            certificate: dir.path().join("server.crt"),
            key: dir.path().join("server.key"),
            dir,
        };
        std::fs::write(&shown.certificate, certificate.pem()).unwrap();
        std::fs::write(&shown.key, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&shown.key, Permissions::from_mode(0o600)).unwrap();
        for path in [shown.dir.path(), &shown.certificate, &shown.key] {
            give_to_nobody(path);
        }
        shown
    }
}

/// What a server's program shows.
pub(crate) struct Shown {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    dir: TempDir,
}
