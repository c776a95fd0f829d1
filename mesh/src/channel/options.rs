//! Time limits of a channel.

use std::time::Duration;

/// Time limits of a channel. Deadlines of requests are the requests' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// From the first packet to the server's first words: name look-up, TCP, TLS and all.
    pub connect_time: Duration,
    /// After so much silence the server is pinged (HTTP/2 PING, RFC 9113 6.7).
    pub keepalive_after: Duration,
    /// A server that does not answer a ping within this time is gone, and requests in progress fail.
    pub keepalive_time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Longer than two lost packets of a TCP handshake (1 s and 2 s, RFC 6298), short for a person who waits.
            connect_time: Duration::from_secs(5),
            keepalive_after: Duration::from_secs(10),
            keepalive_time: Duration::from_secs(5),
        }
    }
}
