//! Why credentials are not usable.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds;

use crate::identity::{CertificateError, Identity, Kind};

/// Why a program's own credentials cannot be used. Every message says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read the key.
    #[error(
        "the key {path} has mode {mode:04o}, but only its owner may read it: run `chmod 0600 {path}`"
    )]
    KeyMode {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is not PEM, or holds something else.
    #[error("{path} holds no {wanted} in PEM form")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What the reader says.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate in a file is damaged.
    #[error("{path} holds a certificate that cannot be read")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that cannot be used, or of another certificate.
    #[error(
        "the key {key} does not belong to the certificate {certificate}: issue both anew with `interlockctl pki issue`"
    )]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What the cryptography says.
        source: rustls::Error,
    },
    /// The certificate's time is over.
    #[error(
        "the certificate {path} expired {}: issue a new one with `interlockctl pki issue`",
        format_rfc3339_seconds(*not_after)
    )]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// When it ended.
        not_after: SystemTime,
    },
    /// The certificate's time has not come.
    #[error(
        "the certificate {path} is valid only from {}: check this machine's clock",
        format_rfc3339_seconds(*not_before)
    )]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
        /// When it begins.
        not_before: SystemTime,
    },
    /// Certificate and authority do not belong together.
    #[error(
        "the certificate {certificate} was not issued by the authority in {authority}: \
         take both from the same `interlockctl pki issue`"
    )]
    OtherAuthority {
        /// The certificate file.
        certificate: PathBuf,
        /// The authority's file.
        authority: PathBuf,
        /// What the verification says.
        source: rustls::Error,
    },
    /// The certificate is not for what this program does.
    #[error(
        "the certificate {path} names {found}, but this program needs the certificate of {} {wanted}",
        article(*wanted)
    )]
    WrongKind {
        /// The certificate file.
        path: PathBuf,
        /// Who it names.
        found: Box<Identity>,
        /// What was needed.
        wanted: Kind,
    },
    /// The certificate does not say who its holder is.
    #[error("the certificate {path} does not say who its holder is")]
    Unidentified {
        /// The certificate file.
        path: PathBuf,
        /// How.
        source: CertificateError,
    },
    /// A reload would make this program somebody else.
    #[error(
        "the certificate {path} now names {found}, but this program is {running}: restart it if that is meant"
    )]
    OtherMember {
        /// The certificate file.
        path: PathBuf,
        /// Who it names.
        found: Box<Identity>,
        /// Who the program is.
        running: Box<Identity>,
    },
    /// The configuration of TLS cannot be made of it.
    #[error("TLS cannot be configured with the certificate {path}")]
    Tls {
        /// The certificate file.
        path: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
}

/// `an agent`, `a coordinator`, `an operator`.
const fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Agent | Kind::Operator => "an",
        Kind::Coordinator => "a",
    }
}
