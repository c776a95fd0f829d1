//! Addresses, as people write them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::Deserialize;
use tonic::codegen::http::Uri;

/// Where a program listens: `HOST:PORT`, with an IPv6 address in brackets. A host name is looked up at each connect,
/// so that it may move.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Address {
    text: Box<str>,
    uri: Uri,
    origin: Uri,
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address: write HOST:PORT, with an IPv6 address in brackets")]
pub struct AddressError(Box<str>);

impl Address {
    /// The address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URI by which tonic is told where to connect: with `http` it leaves TLS to the connector.
    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The URI that the server sees in requests, with the scheme that is really spoken.
    pub(super) const fn origin(&self) -> &Uri {
        &self.origin
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError(text.into());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host_is_good = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            }
        };
        if !host_is_good || port == 0 {
            return Err(bad());
        }
        let uri = |scheme: &str| format!("{scheme}://{text}").parse().map_err(|_| bad());
        Ok(Self {
            text: text.into(),
            uri: uri("http")?,
            origin: uri("https")?,
        })
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for good in [
            "10.9.0.5:7400",
            "mgmt1:7400",
            "mgmt1.site_a.example:1",
            "[::1]:65535",
        ] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            ":7400",
            "mgmt1",
            "mgmt1:",
            "mgmt1:0",
            "mgmt1:65536",
            "::1:7400",
            "[mgmt1]:7400",
            "mgmt 1:7400",
        ] {
            let error = bad.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(&format!("'{bad}'")), "{error}");
        }
        for bad in ["http://mgmt1:7400", "anna@mgmt1:7400", "mgmt1/x:7400"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
