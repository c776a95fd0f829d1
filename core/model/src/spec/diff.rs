//! What differs between two specs, for people.
//!
//! Resolved specs are compared, so that a list that became a range, or a default that is now written out, is no
//! difference.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::Spec;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The keys that lead to it, such as `services.web.at_least`.
    pub path: String,
    /// What it was; none if it is new.
    pub from: Option<String>,
    /// What it is now; none if it is gone.
    pub to: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "~ {}: {from} -> {to}", self.path),
            (None, Some(to)) => write!(f, "+ {}: {to}", self.path),
            (Some(from), None) => write!(f, "- {}: {from}", self.path),
            (None, None) => write!(f, "  {}", self.path),
        }
    }
}

/// The differences from one spec to another, ordered by path. A thing that is new or gone is one change, not one for
/// each of its keys.
#[must_use]
pub fn diff(old: &Spec, new: &Spec) -> Vec<Change> {
    let mut changes = Vec::new();
    // Both are maps with text keys: this cannot fail.
    let value = |spec: &Spec| serde_json::to_value(spec).unwrap_or_default();
    compare(String::new(), &value(old), &value(new), &mut changes);
    changes
}

fn compare(path: String, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    if let (Value::Object(before), Value::Object(after)) = (old, new) {
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let below = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let nothing = &Value::Null;
            compare(
                below,
                before.get(key).unwrap_or(nothing),
                after.get(key).unwrap_or(nothing),
                changes,
            );
        }
        return;
    }
    let shown = |value: &Value| (!value.is_null()).then(|| show(value));
    changes.push(Change {
        path,
        from: shown(old),
        to: shown(new),
    });
}

/// A value on one line, in the manner of YAML.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(show).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(entries) => {
            let given = entries.iter().filter(|(_, value)| !is_nothing(value));
            format!(
                "{{ {} }}",
                given
                    .map(|(key, value)| format!("{key}: {}", show(value)))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}

/// Is it what a spec has where nothing was written?
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        Spec::parse(text.as_bytes(), "test.yaml")
            .unwrap_or_else(|problems| panic!("{}", problems.render(text.as_bytes())))
            .spec
    }

    const OLD: &str = "
cluster: c
nodes: { 'n[1-3]': { address: '10.0.0.[1-3]' } }
services:
  web: { nodes: 'n[1-3]', active: all, manager: { systemd: { unit: a.service } } }
  old: { nodes: [n1], manager: { systemd: { unit: b.service } } }
";

    #[test]
    fn the_same_spec_written_otherwise_is_no_difference() {
        let other = "
cluster: c
nodes: { n1: { address: 10.0.0.1 }, n2: { address: 10.0.0.2 }, n3: { address: 10.0.0.3 } }
services:
  web: { nodes: [n1, n2, n3], active: all, boot: manual, parts: [ { systemd: { unit: a.service } } ] }
  old: { nodes: n1, active: all, manager: { systemd: { unit: b.service } } }
";
        assert_eq!(diff(&spec(OLD), &spec(other)), []);
    }

    #[test]
    fn each_difference_is_named_once_by_its_keys() {
        let new = "
cluster: c
nodes: { 'n[1-4]': { address: '10.0.0.[1-4]' } }
services:
  web: { nodes: 'n[2-4]', active: all, at_least: 2, manager: { systemd: { unit: a.service } }, timeouts: { stop: 90s } }
";
        let changes: Vec<String> = diff(&spec(OLD), &spec(new))
            .iter()
            .map(Change::to_string)
            .collect();
        assert_eq!(
            changes,
            [
                "+ nodes.n4: { address: 10.0.0.4, name: n4 }",
                "- services.old: { active: all, at_least: 0, boot: manual, external: false, guard: { backoff: 1s, \
                 budget: 3, window: 10m }, name: old, nodes: [n1], parts: [{ systemd: { unit: b.service } }], \
                 sequence: { start: none, stop: none }, start_within: 5m, stop_within: 5m }",
                "~ services.web.at_least: 1 -> 2",
                "~ services.web.nodes: [n1, n2, n3] -> [n2, n3, n4]",
                "~ services.web.stop_within: 5m -> 1m 30s",
            ]
        );
    }
}
