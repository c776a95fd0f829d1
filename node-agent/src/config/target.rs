//! Where probes may connect to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// An entry of `probe_targets`: a host, a host with a port, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeTarget {
    /// A host name or address, on this port or on any.
    Host {
        /// As written, in lower case.
        host: String,
        /// Any port if none.
        port: Option<u16>,
    },
    /// All addresses of a network, on any port.
    Network {
        /// An address of it.
        address: IpAddr,
        /// How many of its leading bits count.
        prefix: u8,
    },
}

/// A text is not an entry of `probe_targets`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a probe target: write a host, host:port, or a network such as 10.1.0.0/16")]
pub struct BadTarget(String);

impl ProbeTarget {
    /// May a probe connect to this host and port? Names are compared as text: a network permits only targets that
    /// are given as addresses, because a name could lead elsewhere by the time of the probe.
    #[must_use]
    pub fn permits(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Host {
                host: allowed,
                port: only,
            } => allowed.eq_ignore_ascii_case(host) && only.is_none_or(|only| only == port),
            Self::Network { address, prefix } => host
                .parse()
                .is_ok_and(|host: IpAddr| in_network(host, *address, *prefix)),
        }
    }
}

fn in_network(host: IpAddr, address: IpAddr, prefix: u8) -> bool {
    let shared = |left: u128, right: u128, width: u32| {
        let ignored = width.saturating_sub(prefix.into());
        left.checked_shr(ignored).unwrap_or(0) == right.checked_shr(ignored).unwrap_or(0)
    };
    match (host.to_canonical(), address) {
        (IpAddr::V4(host), IpAddr::V4(address)) => {
            shared(host.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(host), IpAddr::V6(address)) => shared(host.to_bits(), address.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Splits `host:port`, `[v6]:port` and URLs of checks, whose port may be that of their scheme.
pub(super) fn host_and_port(target: &str) -> Option<(&str, u16)> {
    let (authority, default) = match target.split_once("://") {
        Some((scheme, rest)) => {
            let default = match scheme {
                "http" | "ws" => 80,
                "https" | "wss" => 443,
                _ => return None,
            };
            (rest.split(['/', '?', '#']).next()?, Some(default))
        }
        None => (target, None),
    };
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = after.strip_prefix(':').map(str::parse).transpose().ok()?;
        return Some((host, port.or(default)?));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((authority, default?)),
    }
    // A user in the authority is no host, and none of our checks has one.
    .filter(|(host, _)| !host.is_empty() && !host.contains(['@', ':']))
}

impl FromStr for ProbeTarget {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| bad())?;
            let prefix: u8 = prefix.parse().map_err(|_| bad())?;
            let width = if address.is_ipv4() { 32 } else { 128 };
            return if prefix <= width {
                Ok(Self::Network { address, prefix })
            } else {
                Err(bad())
            };
        }
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self::Host {
                host: text.to_ascii_lowercase(),
                port: None,
            });
        }
        if let Some((host, port)) = host_and_port(text).filter(|_| !text.contains("://")) {
            return Ok(Self::Host {
                host: host.to_ascii_lowercase(),
                port: Some(port),
            });
        }
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.is_empty() || !text.chars().all(name) {
            return Err(bad());
        }
        Ok(Self::Host {
            host: text.to_ascii_lowercase(),
            port: None,
        })
    }
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host {
                host,
                port: Some(port),
            } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host {
                host,
                port: Some(port),
            } => write!(f, "{host}:{port}"),
            Self::Host { host, port: None } => f.write_str(host),
            Self::Network { address, prefix } => write!(f, "{address}/{prefix}"),
        }
    }
}

impl<'de> Deserialize<'de> for ProbeTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(entry: &str, target: &str) -> bool {
        let entry: ProbeTarget = entry.parse().unwrap();
        host_and_port(target).is_some_and(|(host, port)| entry.permits(host, port))
    }

    #[test]
    fn an_entry_permits_what_it_says_and_no_more() {
        for (entry, target, expected) in [
            ("db1", "db1:5432", true),
            ("db1", "DB1:5432", true),
            ("db1", "db12:5432", false),
            ("db1:5432", "db1:5432", true),
            ("db1:5432", "db1:22", false),
            ("10.1.0.0/16", "10.1.255.9:80", true),
            ("10.1.0.0/16", "10.2.0.9:80", false),
            ("10.1.0.0/16", "http://10.1.0.9/health", true),
            ("10.1.0.0/16", "db1:80", false),
            ("0.0.0.0/0", "192.0.2.1:1", true),
            ("fd00::/8", "[fd12::1]:443", true),
            ("fd00::/8", "[fe80::1]:443", false),
            ("[fd12::1]:443", "[fd12::1]:443", true),
            ("web", "http://web/", true),
            ("web:80", "http://web:8080/", false),
            ("web", "http://web@evil/", false),
            ("web:443", "https://web/", true),
            ("web:443", "wss://web/x", true),
            ("web:80", "ws://web/x", true),
            ("web", "ftp://web/", false),
        ] {
            assert_eq!(permits(entry, target), expected, "{entry} {target}");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for bad in [
            "",
            "a b",
            "10.0.0.0/33",
            "x/8",
            "db1:",
            "db1:99999",
            "http://x/",
        ] {
            assert!(bad.parse::<ProbeTarget>().is_err(), "{bad}");
        }
    }
}
