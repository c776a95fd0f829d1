//! What to put into a certificate.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::identity::Identity;

/// A certificate that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueRequest {
    /// Who the holder is.
    pub identity: Identity,
    /// Addresses and host names under which other tools reach the holder. Interlock itself does not look at them.
    pub names: Vec<SubjectName>,
    /// The first instant at which the certificate is valid.
    pub not_before: SystemTime,
    /// How long it is valid from then on.
    pub life: Duration,
}

/// An address or a host name of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectName {
    /// An IP address.
    Ip(IpAddr),
    /// A host name.
    Dns(String),
}

impl From<&str> for SubjectName {
    /// What parses as an IP address is one; everything else is a host name.
    fn from(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Dns(text.to_owned()), Self::Ip)
    }
}
