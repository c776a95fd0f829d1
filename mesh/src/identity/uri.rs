//! The URI of an identity: reading and printing.

use std::fmt;
use std::str::FromStr;

use interlock_model::names::NameError;

use super::{Identity, Kind, Subject, UnknownRole, parse_role};

/// The scheme, with what follows it. Also how a certificate's URI is recognised as one of ours.
pub(crate) const SCHEME: &str = "interlock://";

/// What stands between an operator's name and role.
const ROLE: &str = "?role=";

/// Why a text is not the URI of an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Another scheme, or no URI at all.
    #[error("'{0}' does not begin with {SCHEME}")]
    Scheme(String),
    /// Not three parts.
    #[error("'{0}' is not of the form {SCHEME}<cluster>/<kind>/<name>")]
    Shape(String),
    /// The cluster's name is none.
    #[error("the cluster in '{uri}' is not a name")]
    Cluster {
        /// The whole text.
        uri: String,
        /// What is wrong with the part.
        source: NameError,
    },
    /// The kind is unknown.
    #[error("the kind '{kind}' in '{uri}' is not agent, coordinator or operator")]
    Kind {
        /// The whole text.
        uri: String,
        /// The part that is wrong.
        kind: String,
    },
    /// The member's name is none.
    #[error("the last part of '{uri}' is not a name")]
    Name {
        /// The whole text.
        uri: String,
        /// What is wrong with the part.
        source: NameError,
    },
    /// An operator's URI says no role.
    #[error(
        "'{0}' says no role: an operator's URI ends in {ROLE}reader, {ROLE}operator or {ROLE}admin"
    )]
    NoRole(String),
    /// An operator's URI says a role that does not exist.
    #[error("the role in '{uri}' is unknown")]
    Role {
        /// The whole text.
        uri: String,
        /// What is wrong with the part.
        source: UnknownRole,
    },
}

impl FromStr for Identity {
    type Err = ParseError;

    fn from_str(uri: &str) -> Result<Self, ParseError> {
        let path = uri
            .strip_prefix(SCHEME)
            .ok_or_else(|| ParseError::Scheme(uri.to_owned()))?;
        let mut parts = path.split('/');
        let (Some(cluster), Some(kind), Some(member), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseError::Shape(uri.to_owned()));
        };

        let cluster = cluster.parse().map_err(|source| ParseError::Cluster {
            uri: uri.to_owned(),
            source,
        })?;
        let bad_name = |source| ParseError::Name {
            uri: uri.to_owned(),
            source,
        };
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| ParseError::Kind {
                uri: uri.to_owned(),
                kind: kind.to_owned(),
            })?;
        let subject = match kind {
            Kind::Agent => Subject::Agent(member.parse().map_err(bad_name)?),
            Kind::Coordinator => Subject::Coordinator(member.parse().map_err(bad_name)?),
            Kind::Operator => {
                let (name, role) = member
                    .split_once(ROLE)
                    .ok_or_else(|| ParseError::NoRole(uri.to_owned()))?;
                let name = name.parse().map_err(bad_name)?;
                let role = parse_role(role).map_err(|source| ParseError::Role {
                    uri: uri.to_owned(),
                    source,
                })?;
                Subject::Operator { name, role }
            }
        };
        Ok(Self::new(cluster, subject))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{SCHEME}{}/{}/{}",
            self.cluster(),
            self.kind(),
            self.name()
        )?;
        match self.role() {
            Some(role) => write!(f, "{ROLE}{role}"),
            None => Ok(()),
        }
    }
}
