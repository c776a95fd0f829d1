//! Placeholders in the texts of checks: `{address}` and `{node}` stand for the node whose instance is checked.

use super::Node;
use crate::check::CheckKind;

/// The placeholders.
pub(crate) const PLACEHOLDERS: [&str; 2] = ["address", "node"];

impl CheckKind {
    /// What is probed for the instance on this node: every `{address}` and `{node}` filled in.
    #[must_use]
    pub fn resolve(&self, node: &Node) -> Self {
        let fill = |text: &String| {
            text.replace("{address}", &node.address)
                .replace("{node}", node.name.as_str())
        };
        match self {
            Self::Tcp { target } => Self::Tcp {
                target: fill(target),
            },
            Self::Http {
                url,
                status,
                body,
                json,
            } => Self::Http {
                url: fill(url),
                status: status.clone(),
                body: body.as_ref().map(fill),
                json: json
                    .iter()
                    .map(|(pointer, text)| (pointer.clone(), fill(text)))
                    .collect(),
            },
            Self::Exec { command } => Self::Exec {
                command: command.clone(),
            },
            Self::Unit { unit } => Self::Unit { unit: unit.clone() },
            Self::Marker { path, content } => Self::Marker {
                path: fill(path),
                content: content.as_ref().map(fill),
            },
            Self::Same { path } => Self::Same { path: fill(path) },
            Self::Address { ip } => Self::Address { ip: fill(ip) },
        }
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
    use super::*;

    #[test]
    fn a_check_is_resolved_for_the_node_of_its_instance() {
        let node = Node {
            name: "jb3".parse().unwrap(),
            address: "10.9.0.33".into(),
            networks: Default::default(),
            host: None,
            labels: Default::default(),
            agentless: None,
            power: None,
        };
        let check = CheckKind::Http {
            url: "http://{address}:8080/health".into(),
            status: vec![200],
            body: Some("I am {node}".into()),
            json: [("/name".to_owned(), "{node}".to_owned())].into(),
        };
        let CheckKind::Http {
            url, body, json, ..
        } = check.resolve(&node)
        else {
            unreachable!()
        };
        assert_eq!(url, "http://10.9.0.33:8080/health");
        assert_eq!(body.as_deref(), Some("I am jb3"));
        assert_eq!(json["/name"], "jb3");
    }

    #[test]
    fn a_placeholder_that_is_none_is_found() {
        assert_eq!(unknown_placeholder("http://{address}:80/{node}"), None);
        assert_eq!(unknown_placeholder("http://{adress}:80/"), Some("adress"));
        assert_eq!(unknown_placeholder("a{"), Some(""));
    }
}
