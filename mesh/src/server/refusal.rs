//! Why a connection was not accepted: the line that an operator looks for.

use std::io;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use rustls::{AlertDescription, CertificateError};

use crate::identity;
use crate::tls::PeerError;

/// Why a connection was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It ended before the handshake did: a port scan, a TCP health check, or a caller that gave up waiting.
    #[error("it closed during the handshake without giving a reason")]
    Silent,
    /// The handshake took too long.
    #[error("its handshake was not done within {0:?}")]
    Timeout(Duration),
    /// No certificate.
    #[error(
        "it showed no certificate; every caller needs one, issue it with `interlockctl pki issue`"
    )]
    NoCertificate,
    /// A certificate that is over.
    #[error(
        "its certificate expired{}; renew it, or issue a new one with `interlockctl pki issue`",
        after(*.0)
    )]
    Expired(Option<SystemTime>),
    /// A certificate whose time has not come.
    #[error("its certificate is not valid yet; compare the clocks of the two machines")]
    NotYetValid,
    /// A certificate of another authority.
    #[error("its certificate was issued by another authority than this cluster's")]
    OtherAuthority,
    /// A genuine certificate of somebody else.
    #[error("its certificate is not of a member of this cluster")]
    NotAMember(#[source] PeerError),
    /// A certificate that is wrong in another way.
    #[error("its certificate is not acceptable")]
    Certificate(#[source] rustls::Error),
    /// The peer refused this server.
    #[error(
        "it refused this server's certificate, with the alert {0:?}; its own log or message says more"
    )]
    RefusedUs(AlertDescription),
    /// It does not speak TLS 1.3, or not with what is offered here.
    #[error("it does not speak TLS 1.3 as Interlock does")]
    Protocol(#[source] rustls::Error),
    /// The connection broke.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
}

impl Refusal {
    /// Reads the reason out of the error of a handshake.
    pub(super) fn from_handshake(error: io::Error) -> Self {
        if let Some(tls) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::from_tls(tls);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Silent,
            _ => Self::Io(error),
        }
    }

    fn from_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::AlertReceived(alert) => Self::RefusedUs(*alert),
            rustls::Error::InvalidCertificate(error) => Self::from_certificate(error),
            other => Self::Protocol(other.clone()),
        }
    }

    fn from_certificate(error: &CertificateError) -> Self {
        if let Some(verdict) = PeerError::inside(error) {
            return Self::NotAMember(verdict.clone());
        }
        match error {
            CertificateError::Expired => Self::Expired(None),
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(Some(
                SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs()),
            )),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer => Self::OtherAuthority,
            other => Self::Certificate(other.clone().into()),
        }
    }

    pub(super) fn unidentified(error: identity::CertificateError) -> Self {
        Self::NotAMember(PeerError::Unidentified(error))
    }
}

/// ` at 2026-01-01T00:00:00Z`, if it is known.
fn after(time: Option<SystemTime>) -> String {
    time.map(|time| format!(" at {}", format_rfc3339_seconds(time)))
        .unwrap_or_default()
}
