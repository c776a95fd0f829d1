//! Why a connection cannot be made, in words that name the remedy.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::{Address, Target};
use crate::identity::Identity;
use crate::tls::PeerError;

/// Why a connection cannot be made.
///
/// `Clone`, because a channel hands one failure to every request that waited for the connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The host name is unknown.
    #[error("cannot find {address}: check the name, or use the IP address")]
    Lookup {
        /// Where to.
        address: Address,
        /// What the resolver says.
        source: Arc<io::Error>,
    },
    /// The machine is there, and nothing listens on the port.
    #[error(
        "{address} refused the connection: the machine is up, so is the program running, and on this port?"
    )]
    Refused {
        /// Where to.
        address: Address,
    },
    /// No way to the machine.
    #[error(
        "cannot reach {address}: check the network between here and there, and that the machine is up"
    )]
    Unreachable {
        /// Where to.
        address: Address,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Nothing answered in time.
    #[error(
        "{address} did not answer within {after:?}: the machine is down, a firewall drops packets, or it is overloaded"
    )]
    Timeout {
        /// Where to.
        address: Address,
        /// The time limit.
        after: Duration,
    },
    /// The connection ended before the server said anything.
    #[error(
        "{address} closed the connection without giving a reason: see the log of the program there"
    )]
    Closed {
        /// Where to.
        address: Address,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// What listens there does not speak TLS 1.3 as Interlock does.
    #[error("what listens on {address} is not an Interlock program: check the port")]
    Protocol {
        /// Where to.
        address: Address,
        /// What TLS says.
        source: rustls::Error,
    },
    /// The server's certificate is over.
    #[error("the certificate of {address} has expired: renew it there")]
    ServerExpired {
        /// Where to.
        address: Address,
        /// What the verification says.
        source: rustls::Error,
    },
    /// The server's certificate is not valid yet.
    #[error(
        "the certificate of {address} is not valid yet: compare the clocks of the two machines"
    )]
    ServerNotYetValid {
        /// Where to.
        address: Address,
        /// What the verification says.
        source: rustls::Error,
    },
    /// The server belongs to another authority.
    #[error(
        "the certificate of {address} was issued by another authority than the one that is trusted here: \
         it belongs to another cluster, or one of the two sides has an old ca.crt"
    )]
    ServerOtherAuthority {
        /// Where to.
        address: Address,
    },
    /// The server is genuine, but not the one that was called.
    #[error("{address} is not who was called: check the address")]
    WrongServer {
        /// Where to.
        address: Address,
        /// Who it is.
        source: PeerError,
    },
    /// The server's certificate is wrong in another way.
    #[error(
        "the certificate of {address} is not acceptable: issue a new one with `interlockctl pki issue`"
    )]
    ServerCertificate {
        /// Where to.
        address: Address,
        /// What the verification says.
        source: rustls::Error,
    },
    /// The server finds our certificate expired, or not valid yet.
    #[error(
        "{address} refused the certificate of {own}: it has expired, or is not valid yet by the clock there; renew it \
         with `interlockctl pki issue`, or compare the clocks"
    )]
    OwnExpired {
        /// Where to.
        address: Address,
        /// Who we are.
        own: Box<Identity>,
    },
    /// The server trusts another authority than ours.
    #[error(
        "{address} refused the certificate of {own}: it was issued by another authority than the one that is trusted \
         there; use a certificate of that cluster"
    )]
    OwnOtherAuthority {
        /// Where to.
        address: Address,
        /// Who we are.
        own: Box<Identity>,
    },
    /// The server does not take us for a member of its cluster.
    #[error(
        "{address} refused the certificate of {own}: see the log of the program there for the reason ({alert:?})"
    )]
    OwnRefused {
        /// Where to.
        address: Address,
        /// Who we are.
        own: Box<Identity>,
        /// The alert that came (RFC 8446, 6.2).
        alert: AlertDescription,
    },
    /// A failure of the transport that is none of the above.
    #[error("cannot connect to {address}")]
    Transport {
        /// Where to.
        address: Address,
        /// What the transport says.
        source: Arc<tonic::transport::Error>,
    },
}

impl ConnectError {
    /// Finds the reason inside an error of tonic: of a connect, or the status of a request whose reconnect failed.
    #[must_use]
    pub fn inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(current) = next {
            if let Some(found) = current.downcast_ref() {
                return Some(found);
            }
            next = current.source();
        }
        None
    }

    /// Whether trying again, with nothing changed by a person, may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Lookup { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Closed { .. }
            | Self::Transport { .. } => true,
            Self::Protocol { .. }
            | Self::ServerExpired { .. }
            | Self::ServerNotYetValid { .. }
            | Self::ServerOtherAuthority { .. }
            | Self::WrongServer { .. }
            | Self::ServerCertificate { .. }
            | Self::OwnExpired { .. }
            | Self::OwnOtherAuthority { .. }
            | Self::OwnRefused { .. } => false,
        }
    }

    pub(super) fn from_tcp(address: Address, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { address },
            _ => Self::Unreachable {
                address,
                source: Arc::new(source),
            },
        }
    }

    /// Reads the reason out of the error of a handshake, or of the first read after it.
    pub(super) fn from_tls(target: &Target, own: Identity, source: io::Error) -> Self {
        let address = target.address.clone();
        match source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            None => Self::Closed {
                address,
                source: Arc::new(source),
            },
            Some(rustls::Error::AlertReceived(alert)) => {
                Self::from_alert(address, Box::new(own), *alert)
            }
            Some(rustls::Error::InvalidCertificate(error)) => {
                Self::from_certificate(address, error)
            }
            Some(other) => Self::Protocol {
                address,
                source: other.clone(),
            },
        }
    }

    /// The server's verdict on our certificate. Which alert stands for what is set by RFC 8446, 6.2; a server of ours
    /// sends `certificate_unknown` for a genuine certificate of somebody who is no member.
    fn from_alert(address: Address, own: Box<Identity>, alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateExpired => Self::OwnExpired { address, own },
            AlertDescription::UnknownCA => Self::OwnOtherAuthority { address, own },
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => Self::OwnRefused {
                address,
                own,
                alert,
            },
            _ => Self::Protocol {
                address,
                source: rustls::Error::AlertReceived(alert),
            },
        }
    }

    fn from_certificate(address: Address, error: &CertificateError) -> Self {
        if let Some(verdict) = PeerError::inside(error) {
            return Self::WrongServer {
                address,
                source: verdict.clone(),
            };
        }
        let source = rustls::Error::InvalidCertificate(error.clone());
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Self::ServerExpired { address, source }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::ServerNotYetValid { address, source }
            }
            CertificateError::UnknownIssuer => Self::ServerOtherAuthority { address },
            _ => Self::ServerCertificate { address, source },
        }
    }
}
