//! The mesh as its users meet it: real certificates, real TLS connections on loopback, a real gRPC service.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod acceptor;
mod authorization;
mod backoff;
mod credentials;
mod handshake;
mod identity;
mod pki;
mod reload;
mod support;
mod table;
