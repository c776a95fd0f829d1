//! Placeholders in the texts of checks, and in the names of members of load balancers: `{address}` and `{node}` stand for the node whose instance is meant.

use std::net::Ipv6Addr;

use super::Node;
use crate::check::{
    CheckKind, ClockCheck, Compared, MariadbCheck, MountCheck, PostgresCheck, RedisCheck,
};
use crate::member::Membership;

/// The placeholders.
pub(crate) const PLACEHOLDERS: [&str; 2] = ["address", "node"];

impl CheckKind {
    /// Does it look inside of the machine where it runs? Any other goes to an instance over the network.
    #[must_use]
    pub fn looks_inside(&self) -> bool {
        match self {
            Self::Tcp { .. }
            | Self::Http { .. }
            | Self::Exec { .. }
            | Self::Redis(_)
            | Self::Postgres(_)
            | Self::Mariadb(_)
            | Self::Websocket { .. } => false,
            Self::Unit { .. }
            | Self::Marker { .. }
            | Self::Same { .. }
            | Self::Address { .. }
            | Self::Mount(_)
            | Self::Clock(_)
            | Self::Haproxy(_) => true,
        }
    }

    /// What is probed for the instance on this node: every `{address}` and `{node}` filled in.
    #[must_use]
    pub fn resolve(&self, node: &Node) -> Self {
        let fill = |text: &String| {
            text.replace("{address}", &node.address)
                .replace("{node}", node.name.as_str())
        };
        // Before a port an IPv6 address stands in brackets (RFC 3986), whether the spec has them or not.
        let host = match node.address.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => node.address.clone(),
        };
        let fill_host = |text: &String| {
            let text = text.replace("[{address}]", "{address}");
            text.replace("{address}", &host)
                .replace("{node}", node.name.as_str())
        };
        match self {
            Self::Tcp { target } => Self::Tcp {
                target: fill_host(target),
            },
            Self::Http {
                url,
                server_name,
                status,
                body,
                json,
                paused,
                why,
            } => Self::Http {
                url: fill_host(url),
                server_name: server_name.clone(),
                status: status.clone(),
                body: body.as_ref().map(fill),
                json: json
                    .iter()
                    .map(|(pointer, text)| (pointer.clone(), fill(text)))
                    .collect(),
                paused: paused.clone(),
                why: why.clone(),
            },
            Self::Exec { command } => Self::Exec {
                command: command.clone(),
            },
            Self::Unit { unit } => Self::Unit { unit: unit.clone() },
            Self::Marker {
                path,
                content,
                write,
            } => Self::Marker {
                path: fill(path),
                content: content.as_ref().map(fill),
                write: *write,
            },
            Self::Same { what } => Self::Same {
                what: match what {
                    Compared::Path(path) => Compared::Path(fill(path)),
                    Compared::Command(command) => Compared::Command(command.clone()),
                },
            },
            Self::Address { ip } => Self::Address { ip: fill(ip) },
            Self::Redis(check) => Self::Redis(RedisCheck {
                target: fill_host(&check.target),
                ..check.clone()
            }),
            Self::Postgres(check) => Self::Postgres(PostgresCheck {
                target: fill_host(&check.target),
                ..check.clone()
            }),
            Self::Mariadb(check) => Self::Mariadb(MariadbCheck {
                target: fill_host(&check.target),
                ..check.clone()
            }),
            Self::Mount(check) => Self::Mount(MountCheck {
                path: fill(&check.path),
                source: check.source.as_ref().map(fill),
                marker: check.marker.as_ref().map(fill),
                content: check.content.as_ref().map(fill),
                ..check.clone()
            }),
            Self::Websocket {
                url,
                server_name,
                origin,
            } => Self::Websocket {
                url: fill_host(url),
                server_name: server_name.clone(),
                origin: origin.clone(),
            },
            Self::Clock(check) => Self::Clock(ClockCheck {
                target: fill_host(&check.target),
                ..check.clone()
            }),
            Self::Haproxy(check) => Self::Haproxy(check.clone()),
        }
    }
}

impl Membership {
    /// What the instance on this node is called in the balancer.
    #[must_use]
    pub fn server_on(&self, node: &Node) -> String {
        self.server
            .replace("{address}", &node.address)
            .replace("{node}", node.name.as_str())
    }
}

/// The first thing in braces that looks like a placeholder but is none.
pub(crate) fn unknown_placeholder(text: &str) -> Option<&str> {
    text.split('{').skip(1).find_map(|rest| {
        let word = rest.split_once('}').map_or(rest, |(word, _)| word);
        (!PLACEHOLDERS.contains(&word)).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(address: &str) -> Node {
        Node {
            name: "jb3".parse().unwrap(),
            address: address.into(),
            networks: BTreeMap::new(),
            host: None,
            labels: BTreeMap::new(),
            agentless: None,
            power: None,
        }
    }

    #[test]
    fn a_check_is_resolved_for_the_node_of_its_instance() {
        let check = CheckKind::Http {
            url: "http://{address}:8080/health".into(),
            server_name: None,
            status: vec![200],
            body: Some("I am {node}".into()),
            json: [("/name".to_owned(), "{node}".to_owned())].into(),
            paused: BTreeMap::new(),
            why: None,
        };
        let expected = CheckKind::Http {
            url: "http://10.9.0.33:8080/health".into(),
            server_name: None,
            status: vec![200],
            body: Some("I am jb3".into()),
            json: [("/name".to_owned(), "jb3".to_owned())].into(),
            paused: BTreeMap::new(),
            why: None,
        };
        assert_eq!(check.resolve(&node("10.9.0.33")), expected);
    }

    #[test]
    fn an_ipv6_address_before_a_port_gets_its_brackets() {
        for target in ["{address}:80", "[{address}]:80"] {
            let check = CheckKind::Tcp {
                target: target.into(),
            };
            let resolved = |address| match check.resolve(&node(address)) {
                CheckKind::Tcp { target } => target,
                other => other.word().to_owned(),
            };
            assert_eq!(resolved("fd00::1"), "[fd00::1]:80");
            assert_eq!(resolved("10.0.0.1"), "10.0.0.1:80");
            assert_eq!(resolved("db.example"), "db.example:80");
        }
        let check = CheckKind::Address {
            ip: "{address}".into(),
        };
        assert_eq!(
            check.resolve(&node("fd00::1")),
            CheckKind::Address {
                ip: "fd00::1".into()
            }
        );
    }

    #[test]
    fn a_placeholder_that_is_none_is_found() {
        assert_eq!(unknown_placeholder("http://{address}:80/{node}"), None);
        assert_eq!(unknown_placeholder("http://{adress}:80/"), Some("adress"));
        assert_eq!(unknown_placeholder("a{"), Some(""));
    }
}
