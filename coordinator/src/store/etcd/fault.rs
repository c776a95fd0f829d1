//! What it means when a call to etcd fails.
//!
//! etcd tells its errors apart by gRPC code and, within a code, by text
//! (`api/v3rpc/rpctypes/error.go` of etcd). Two things follow from one: whether another endpoint
//! may do better, and whether a transaction may have been applied although the call failed. When
//! in doubt the answer to the second is yes; asking back costs one round trip.

use std::error::Error as StdError;
use std::sync::Arc;

use super::super::{Cause, Error};
use crate::driver::chain;

/// A failed call.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    kind: Kind,
    cause: Cause,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No answer, a broken connection, no leader, too busy.
    Unavailable,
    /// The quota is used up (`NOSPACE`).
    Quota,
    /// The revision that was asked for is compacted.
    Compacted,
    /// Certificate, user, password or permission.
    Refused,
    /// The request itself.
    Rejected,
    /// There is no such lease (any more).
    NoLease,
}

/// What a server, or the way to it, said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl Fault {
    /// What `error` of the endpoint means.
    pub(crate) fn of(endpoint: &str, error: &etcd_client::Error) -> Self {
        let (kind, text) = match error {
            etcd_client::Error::GRpcStatus(status) => (of_status(status), told(status)),
            etcd_client::Error::TransportError(transport) => {
                let kind = if is_certificate(transport) {
                    Kind::Refused
                } else {
                    Kind::Unavailable
                };
                (kind, chain(transport))
            }
            etcd_client::Error::LeaseKeepAliveError(text) if text.contains("not found") => {
                (Kind::NoLease, text.clone())
            }
            etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) => {
                (Kind::Rejected, error.to_string())
            }
            other => (Kind::Unavailable, other.to_string()),
        };
        Self::new(kind, format!("{endpoint}: {text}"))
    }

    /// No answer in time.
    pub(crate) fn late(endpoint: &str) -> Self {
        Self::new(Kind::Unavailable, format!("{endpoint}: no answer in time"))
    }

    /// A file with a certificate, key or password cannot be used.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Kind::Refused, format!("{}: {error}", path.display()))
    }

    /// A server says what no etcd says.
    pub(crate) fn nonsense(text: &str) -> Self {
        Self::new(Kind::Rejected, text.to_owned())
    }

    fn new(kind: Kind, text: String) -> Self {
        let cause = Arc::new(Said(text));
        Self { kind, cause }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether another endpoint, or a new connection with credentials read anew, may do better.
    pub(crate) fn is_of_the_endpoint(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Refused)
    }

    /// Whether a transaction that failed so was certainly not applied, and will not be.
    pub(crate) fn is_before_applying(&self) -> bool {
        match self.kind {
            Kind::Quota | Kind::Refused | Kind::Rejected | Kind::NoLease => true,
            Kind::Unavailable | Kind::Compacted => false,
        }
    }

    /// The error for the store's caller.
    pub(crate) fn at(self, place: &str) -> Error {
        let (place, source) = (place.to_owned(), self.cause);
        match self.kind {
            Kind::Unavailable => Error::Unavailable { place, source },
            Kind::Quota => Error::Quota { place, source },
            Kind::Refused => Error::Refused { place, source },
            Kind::Compacted | Kind::Rejected => Error::Rejected { place, source },
            Kind::NoLease => Error::Superseded { place },
        }
    }
}

fn of_status(status: &tonic::Status) -> Kind {
    use tonic::Code;
    let says = |text| status.message().contains(text);
    match status.code() {
        Code::ResourceExhausted if says("space exceeded") => Kind::Quota,
        Code::OutOfRange if says("compacted") => Kind::Compacted,
        Code::NotFound if says("lease not found") => Kind::NoLease,
        // The permissions changed between the token and the call: a new token is what helps.
        Code::InvalidArgument if says("revision of auth store is old") => Kind::Unavailable,
        Code::Unauthenticated | Code::PermissionDenied => Kind::Refused,
        // Login with a wrong password, without a user, at a server without users.
        Code::InvalidArgument | Code::FailedPrecondition
            if says("authentication") || says("user name") =>
        {
            Kind::Refused
        }
        Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition => Kind::Rejected,
        _ if is_certificate(status) => Kind::Refused,
        // Everything else, an unknown code above all, may come after the request was taken.
        _ => Kind::Unavailable,
    }
}

/// Whether a TLS handshake failed over a certificate, ours or theirs.
fn is_certificate(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let tls = inner
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            return matches!(
                tls,
                rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)
            );
        }
        next = error.source();
    }
    false
}

/// The message of a status with its causes; a status has much more to say that helps nobody.
fn told(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    if let Some(source) = status.source() {
        text.push_str(": ");
        text.push_str(&chain(source));
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    #[test]
    fn what_etcd_says_decides_what_is_done_about_it() {
        for (code, text, kind) in [
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Kind::Quota,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Kind::Unavailable,
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out",
                Kind::Unavailable,
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                Kind::Unavailable,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Kind::Refused,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Kind::Refused,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Kind::Refused,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                Kind::Refused,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                Kind::Unavailable,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                Kind::Rejected,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Kind::Compacted,
            ),
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                Kind::NoLease,
            ),
            (Code::Unknown, "anything", Kind::Unavailable),
        ] {
            assert_eq!(of_status(&Status::new(code, text)), kind, "{text}");
        }
    }

    #[test]
    fn only_what_is_refused_beforehand_is_taken_as_not_applied() {
        let fault = |code, text: &str| {
            Fault::of(
                "e",
                &etcd_client::Error::GRpcStatus(Status::new(code, text)),
            )
        };
        assert!(!Fault::late("e").is_before_applying());
        assert!(!fault(Code::Unavailable, "etcdserver: leader changed").is_before_applying());
        assert!(fault(Code::ResourceExhausted, "database space exceeded").is_before_applying());
    }
}
