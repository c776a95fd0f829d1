//! Who is at the other end: a name that a certificate proves.
//!
//! Every certificate that the cluster's authority issues carries exactly one URI subject alternative name
//! (RFC 5280, 4.2.1.6) of the form
//!
//! ```text
//! interlock://<cluster>/agent/<node>
//! interlock://<cluster>/coordinator/<node>
//! interlock://<cluster>/operator/<name>?role=<reader|operator|admin>
//! ```
//!
//! * **One URI, not two.** A person's role stands in the same URI as the name. With a second URI there would be
//!   certificates with no role, or with two, and each reader would have to decide what they mean. A certificate with
//!   two `interlock:` URIs is refused.
//! * **One spelling.** The text is compared byte for byte: no percent-encoding, no upper-case scheme, no trailing
//!   slash. What parses prints again as it was.
//! * **The cluster is part of the name.** Two clusters may by accident share an authority; they still refuse each
//!   other's members.

mod certificate;
mod kind;
mod operator_name;
mod role;
mod uri;

pub use certificate::CertificateError;
pub(crate) use certificate::{from_unix, read_certificate};
pub use kind::Kind;
pub use operator_name::OperatorName;
pub use role::{ROLES, Role, UnknownRole, parse_role};
pub use uri::ParseError;
pub(crate) use uri::SCHEME;

use interlock_model::names::{ClusterName, NodeName};

/// A member of one cluster, or a person who operates it.
///
/// `Display` prints the URI that [`str::parse`] reads; [`caller`](Self::caller) prints what a person wants to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    cluster: ClusterName,
    subject: Subject,
}

/// Who somebody is inside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The agent of a node.
    Agent(NodeName),
    /// The coordinator that runs on a node.
    Coordinator(NodeName),
    /// A person, or a program that acts for one.
    Operator {
        /// What the audit trail calls them.
        name: OperatorName,
        /// What they may do.
        role: Role,
    },
}

impl Identity {
    /// Anybody in `cluster`.
    #[must_use]
    pub const fn new(cluster: ClusterName, subject: Subject) -> Self {
        Self { cluster, subject }
    }

    /// The agent of `node`.
    #[must_use]
    pub const fn agent(cluster: ClusterName, node: NodeName) -> Self {
        Self::new(cluster, Subject::Agent(node))
    }

    /// The coordinator on `node`.
    #[must_use]
    pub const fn coordinator(cluster: ClusterName, node: NodeName) -> Self {
        Self::new(cluster, Subject::Coordinator(node))
    }

    /// A person with a role.
    #[must_use]
    pub const fn operator(cluster: ClusterName, name: OperatorName, role: Role) -> Self {
        Self::new(cluster, Subject::Operator { name, role })
    }

    /// The cluster that it belongs to.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Who it is inside the cluster.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Agent, coordinator or operator.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.subject {
            Subject::Agent(_) => Kind::Agent,
            Subject::Coordinator(_) => Kind::Coordinator,
            Subject::Operator { .. } => Kind::Operator,
        }
    }

    /// The node's or the person's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.subject {
            Subject::Agent(node) | Subject::Coordinator(node) => node.as_str(),
            Subject::Operator { name, .. } => name.as_str(),
        }
    }

    /// The role of a person; a program has none.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self.subject {
            Subject::Operator { role, .. } => Some(role),
            Subject::Agent(_) | Subject::Coordinator(_) => None,
        }
    }

    /// Same cluster, kind and name; the role may differ.
    #[must_use]
    pub fn is_same_member(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.kind() == other.kind() && self.name() == other.name()
    }

    /// The identity for messages: `operator anna (reader)`, `agent dbm1`.
    #[must_use]
    pub const fn caller(&self) -> Caller<'_> {
        Caller(self)
    }
}

/// An [`Identity`] as messages show it: without the cluster, which the reader knows.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a>(&'a Identity);

impl std::fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.kind(), self.0.name())?;
        match self.0.role() {
            Some(role) => write!(f, " ({role})"),
            None => Ok(()),
        }
    }
}
