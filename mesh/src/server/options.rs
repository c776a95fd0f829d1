//! Bounds of a server.

use std::time::Duration;

use tonic::transport;

/// Bounds of a server, with defaults that serve a thousand agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many handshakes may be under way at a time; at least 1. More connections wait in the kernel.
    pub handshakes: usize,
    /// The time limit of one handshake.
    pub handshake_time: Duration,
    /// After so much silence of a peer it is pinged (HTTP/2 PING, RFC 9113 6.7).
    pub keepalive_after: Duration,
    /// A peer that does not answer a ping within this time is gone.
    pub keepalive_time: Duration,
    /// How many requests one connection may have open at a time.
    pub requests_per_connection: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // On two cores some 2,000 handshakes a second: a place is free again within 50 ms.
            handshakes: 100,
            // Generous for a machine that swaps, short for one that only wants to hold a place.
            handshake_time: Duration::from_secs(10),
            keepalive_after: Duration::from_secs(20),
            keepalive_time: Duration::from_secs(10),
            // An agent has one stream, an operator a handful.
            requests_per_connection: 128,
        }
    }
}

/// Why options make no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// A number of which none is of no use.
    #[error("a server needs at least one {0}")]
    None(&'static str),
    /// A time limit that nothing can meet.
    #[error("{0} of a server must be longer than zero")]
    Zero(&'static str),
}

impl Options {
    /// Checks options that come from a configuration file.
    ///
    /// # Errors
    /// [`InvalidOptions`] for the first value with which no peer could ever be served.
    pub const fn validated(self) -> Result<Self, InvalidOptions> {
        if self.handshakes == 0 {
            return Err(InvalidOptions::None("handshake at a time"));
        }
        if self.requests_per_connection == 0 {
            return Err(InvalidOptions::None("request per connection"));
        }
        if self.handshake_time.is_zero() {
            return Err(InvalidOptions::Zero("the time limit of a handshake"));
        }
        if self.keepalive_after.is_zero() || self.keepalive_time.is_zero() {
            return Err(InvalidOptions::Zero("the time limit of a keepalive"));
        }
        Ok(self)
    }

    /// tonic's server with these bounds.
    pub(super) fn transport(&self) -> transport::Server {
        transport::Server::builder()
            .http2_keepalive_interval(Some(self.keepalive_after))
            .http2_keepalive_timeout(Some(self.keepalive_time))
            .max_concurrent_streams(self.requests_per_connection)
    }
}
