//! A network of the loopback range that no other cluster has.

use std::io::ErrorKind;
use std::net::TcpListener;

use anyhow::{Context as _, Result, bail};

/// How many networks are tried before giving up.
const TRIES: u32 = 200;

/// `127.x.y.0/24`, held for as long as this value lives: whoever listens on port 1024 of its first address has it.
#[derive(Debug)]
pub(super) struct Network {
    prefix: String,
    _held: TcpListener,
}

impl Network {
    pub(super) fn take() -> Result<Self> {
        let seed = std::process::id();
        for attempt in 0..TRIES {
            let number = seed
                .wrapping_mul(31)
                .wrapping_add(attempt.wrapping_mul(7919));
            let prefix = format!("127.{}.{}.", 64 + number % 128, (number / 128) % 250);
            match TcpListener::bind(holder(&prefix)) {
                Ok(held) => {
                    return Ok(Self {
                        prefix,
                        _held: held,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).context("cannot listen in 127.0.0.0/8"),
            }
        }
        bail!("all of {TRIES} networks of 127.0.0.0/8 that were tried are taken")
    }

    /// Whoever listens there has it.
    pub(super) fn holder(&self) -> String {
        holder(&self.prefix)
    }

    /// Its addresses without their last number: `127.77.0.`.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}

fn holder(prefix: &str) -> String {
    format!("{prefix}1:1024")
}
