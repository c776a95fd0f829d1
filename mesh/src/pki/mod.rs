//! The cluster's certificate authority, and files that hold keys.
//!
//! One authority per cluster, made by one command, kept where only the people who add nodes can read it. It signs
//! leaf certificates only (path length 0, RFC 5280 4.2.1.9), with ECDSA on P-256 throughout: small, fast to verify,
//! and understood by every tool that an operator may point at a port.
//!
//! | holder | extended key usage (RFC 5280 4.2.1.12) | names |
//! |---|---|---|
//! | agent, coordinator | server and client | its URI; addresses and host names for other tools |
//! | operator | client only: nobody can serve with a stolen operator's key | its URI |
//!
//! Time is passed in: a certificate is valid from `not_before` for `life`, and never longer than the authority.
//!
//! Keys are written once: mode 0600, complete or not at all (temporary file, `fsync`, rename, `fsync` of the
//! directory), and an existing key is not replaced unless the caller says so.

mod authority;
mod error;
mod files;
mod issued;
mod request;

pub use authority::CertificateAuthority;
pub use error::{AuthorityError, IssueError};
pub use files::{Existing, WriteError, write_private, write_public};
pub use issued::Issued;
pub use request::{BadSubjectName, IssueRequest, SubjectName};
