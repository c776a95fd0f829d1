//! Reading an identity out of a certificate.

use std::time::{Duration, SystemTime};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::uri::SCHEME;
use super::{Identity, ParseError};

/// Why a certificate does not say who its holder is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not an X.509 certificate, or one with broken extensions.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// No URI of ours among the alternative names.
    #[error("the certificate names no {SCHEME} identity; issue one with `interlockctl pki issue`")]
    NoIdentity,
    /// More than one URI of ours.
    #[error("the certificate names more than one {SCHEME} identity")]
    SeveralIdentities,
    /// A URI of ours that is malformed.
    #[error("the certificate's identity is malformed")]
    Malformed(#[source] ParseError),
}

impl Identity {
    /// Reads the identity that a certificate in DER form names.
    ///
    /// This only reads: that the certificate is genuine must have been proven before.
    ///
    /// # Errors
    /// [`CertificateError`] if there is no identity, or not exactly one.
    pub fn from_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        read_certificate(der).map(|(identity, _)| identity)
    }
}

/// The identity in a certificate, and when the certificate ends.
pub(crate) fn read_certificate(der: &[u8]) -> Result<(Identity, SystemTime), CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Unreadable)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| CertificateError::Unreadable)?;
    let mut ours = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
            _ => None,
        });
    let uri = ours.next().ok_or(CertificateError::NoIdentity)?;
    if ours.next().is_some() {
        return Err(CertificateError::SeveralIdentities);
    }
    let identity = uri.parse().map_err(CertificateError::Malformed)?;
    Ok((
        identity,
        from_unix(certificate.validity().not_after.timestamp()),
    ))
}

/// A certificate's date. One before 1970 counts as 1970.
pub(crate) fn from_unix(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
