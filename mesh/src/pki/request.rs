//! What to put into a certificate.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::identity::Identity;

/// A certificate that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueRequest {
    /// Who the holder is.
    pub identity: Identity,
    /// Addresses and host names under which other tools reach the holder. Interlock itself does not look at them.
    pub names: Vec<SubjectName>,
    /// The first instant at which the certificate is valid.
    pub not_before: SystemTime,
    /// How long it is valid from then on.
    pub life: Duration,
}

/// An address or a host name of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectName {
    /// An IP address.
    Ip(IpAddr),
    /// A host name.
    Dns(String),
}

/// A text is neither an IP address nor a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is neither an IP address nor a host name, such as 10.1.0.9 or db1.example", .0.escape_debug())]
pub struct BadSubjectName(String);

impl FromStr for SubjectName {
    type Err = BadSubjectName;

    /// What parses as an IP address is one. A host name is made of labels of letters, digits and hyphens, with no hyphen at
    /// either end (RFC 1123, section 2.1), and its last label is no number: that would be a mistyped address (RFC 3696,
    /// section 2).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let numeric = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        if text.len() <= 253
            && text.split('.').all(label)
            && !text.rsplit('.').next().is_some_and(numeric)
        {
            Ok(Self::Dns(text.to_owned()))
        } else {
            Err(BadSubjectName(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_server_is_an_address_or_a_host_name() {
        for address in ["10.1.0.9", "fd00::1"] {
            assert_eq!(
                address.parse(),
                Ok(SubjectName::Ip(address.parse().unwrap()))
            );
        }
        let longest = format!("{}.abcde", vec!["a".repeat(61); 4].join("."));
        for host in ["m2", "M2.example", "3com.example", "a-b", &longest] {
            assert_eq!(host.parse(), Ok(SubjectName::Dns(host.into())), "{host}");
        }
        for bad in [
            "",
            "not an ip!!",
            "10.0.0.256",
            "5",
            "db1:22",
            "-a",
            "a-.example",
            "a..b",
            "a.",
            "döner",
            "*.example",
            &"a".repeat(64),
            &format!("{longest}f"),
        ] {
            assert!(bad.parse::<SubjectName>().is_err(), "{bad}");
        }
    }
}
