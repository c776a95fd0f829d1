//! The mesh: who may talk to whom in a cluster, and how.
//!
//! Every Interlock program speaks gRPC over mutual TLS, and only so: there is no insecure mode and no switch that
//! weakens a check. This crate is what the programs share for it.
//!
//! | module | is |
//! |---|---|
//! | [`identity`] | who somebody is: `interlock://<cluster>/<kind>/<name>` in the certificate |
//! | [`pki`] | the cluster's certificate authority, and files that hold keys |
//! | [`credentials`] | a program's own certificate, reloaded while it runs |
//! | [`server`] | accepting: handshakes bounded in number and time, refusals logged with their reason |
//! | [`channel`] | connecting: to an address and an expected identity, errors that name the remedy |
//! | [`authz`] | one table, method → callers; what is not in it is denied |
//! | [`backoff`] | how long to wait before trying again |
//! | [`log`] | what is logged: beside the mesh, and the same in every program that has it |
//!
//! ```text
//!             credentials ──────────────┐
//!                  │                    │
//!   channel ── TLS 1.3, both verified ── server ──► authz ──► handler
//!   expects a member                    knows the peer        reads PeerIdentity
//! ```
//!
//! What is decided where: the *handshake* decides whether the peer is a member of this cluster (authority, dates,
//! cluster), and on the client's side whether it is the member that was called; the *request* decides, in [`authz`],
//! whether this member may call this method; the *handler* decides what depends on content, such as that an agent
//! speaks for its own node only.

pub mod authz;
pub mod backoff;
pub mod channel;
pub mod credentials;
pub mod identity;
pub mod log;
pub mod pki;
pub mod reason;
pub mod server;
mod tls;

pub use tls::PeerError;

/// An error and its causes in one line, for the log.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
