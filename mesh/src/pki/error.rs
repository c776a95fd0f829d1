//! What can go wrong with an authority.

use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use interlock_model::names::ClusterName;

use crate::identity::Identity;

/// Why an authority cannot be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The cryptography refused.
    #[error("cannot make a certificate authority for cluster {cluster}")]
    Make {
        /// The cluster that wanted one.
        cluster: ClusterName,
        /// What the library says.
        source: rcgen::Error,
    },
    /// The certificate is no certificate.
    #[error(
        "the authority's certificate cannot be read: is it a PEM file made by `interlockctl pki init`?"
    )]
    Certificate,
    /// A certificate, but not of an authority of ours.
    #[error("the certificate is not an authority made by `interlockctl pki init`: {0}")]
    NotAnAuthority(&'static str),
    /// The key is no key.
    #[error(
        "the authority's key cannot be read: is it a PEM file made by `interlockctl pki init`?"
    )]
    Key(#[source] rcgen::Error),
    /// Certificate and key belong to different authorities.
    #[error(
        "the authority's key does not belong to its certificate: the two files are of different authorities"
    )]
    KeyMismatch,
}

/// Why a certificate cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The identity is of another cluster.
    #[error(
        "cannot issue a certificate for {identity}: this is the authority of cluster {cluster}"
    )]
    OtherCluster {
        /// Who was asked for.
        identity: Box<Identity>,
        /// The authority's cluster.
        cluster: ClusterName,
    },
    /// The certificate would outlive the authority, and so be refused in its last days.
    #[error(
        "cannot issue a certificate for {identity} until {}: the authority itself ends {}; ask for a shorter life",
        format_rfc3339_seconds(*until), format_rfc3339_seconds(*authority_until)
    )]
    OutlivesAuthority {
        /// Who was asked for.
        identity: Box<Identity>,
        /// The end that was asked for.
        until: SystemTime,
        /// The authority's end.
        authority_until: SystemTime,
    },
    /// A life of zero, or one that ends after the year 9999.
    #[error(
        "cannot issue a certificate for {0}: its life must be longer than zero and end before the year 9999"
    )]
    Life(Box<Identity>),
    /// A host name that no certificate can carry.
    #[error("cannot issue a certificate for {identity}: '{name}' is no host name")]
    HostName {
        /// Who was asked for.
        identity: Box<Identity>,
        /// The name that does not fit.
        name: String,
    },
    /// The cryptography refused.
    #[error("cannot issue a certificate for {identity}")]
    Sign {
        /// Who was asked for.
        identity: Box<Identity>,
        /// What the library says.
        source: rcgen::Error,
    },
}
