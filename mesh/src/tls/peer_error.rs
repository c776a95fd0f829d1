//! A genuine certificate of somebody who is not expected.

use crate::channel::Expected;
use crate::identity::{CertificateError, Identity};

use interlock_model::names::ClusterName;

/// Why a peer is refused although its certificate is genuine and in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The certificate does not say who its holder is.
    #[error("the certificate does not say who its holder is")]
    Unidentified(#[source] CertificateError),
    /// A member of another cluster.
    #[error("it belongs to cluster {}, not to {expected} ({found})", found.cluster())]
    OtherCluster {
        /// Who it is.
        found: Identity,
        /// The cluster of the side that refuses.
        expected: ClusterName,
    },
    /// A member of this cluster, but not the one that was called.
    #[error("it is {}, not {expected}", found.caller())]
    Unexpected {
        /// Who it is.
        found: Identity,
        /// Who was called.
        expected: Expected,
    },
}

impl PeerError {
    /// Checks that a certificate, whose chain was verified before, is of a member of `cluster`.
    pub(super) fn check_member(der: &[u8], cluster: &ClusterName) -> Result<Identity, Self> {
        let found = Identity::from_certificate(der).map_err(Self::Unidentified)?;
        if found.cluster() == cluster {
            Ok(found)
        } else {
            Err(Self::OtherCluster {
                found,
                expected: cluster.clone(),
            })
        }
    }

    /// The verdict inside a TLS error, if it is one of ours.
    pub(crate) fn inside(error: &rustls::CertificateError) -> Option<&Self> {
        match error {
            rustls::CertificateError::Other(other) => other.0.downcast_ref(),
            _ => None,
        }
    }
}
