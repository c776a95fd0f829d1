//! What may be in a bundle.
//!
//! A bundle takes only what is [`Public`], and each implementation here says what of the type that is. The one type that can
//! carry what must not be told is `OptionValue` of the model: what a spec says to a fence agent or a resource agent, as the
//! name of a secret or in plain. Its plain form is left out wherever it stands, and so are the texts of files and the values that
//! they are made of; and of a URL what stands before its host and behind its path. The text of a spec has no public form at all.

use std::collections::BTreeMap;

use interlock_model::spec::Spec;
use interlock_proto::v1;
use serde_json::{Value, json};

use crate::commands::{event_value, journal_value};
use crate::render::{node_value, operation_value, rfc3339, status_value};

/// What stands for what is left out.
const LEFT_OUT: &str = "(not in a bundle)";

/// How `OptionValue::Plain`, and what a text has in plain, is written by its type (serde, externally tagged); no other type of specs
/// and plans is.
const PLAIN: &str = "plain";

/// What has a form that anybody may read.
pub(super) trait Public {
    /// That form.
    fn public(&self) -> Value;
}

/// Written by this program itself.
#[derive(Debug)]
pub(super) struct Told(pub(super) Value);

impl Public for Told {
    fn public(&self) -> Value {
        self.0.clone()
    }
}

/// What could not be had, and why.
#[derive(Debug)]
pub(super) struct Missing(pub(super) Vec<String>);

impl Public for Missing {
    fn public(&self) -> Value {
        json!(self.0)
    }
}

impl Public for v1::Status {
    fn public(&self) -> Value {
        without_plain(status_value(self))
    }
}

impl Public for v1::NodeStatus {
    fn public(&self) -> Value {
        let mut value = node_value(self);
        value["facts"] = self.facts.as_ref().map_or(Value::Null, |facts| {
            let disk = |disk: &v1::Disk| json!({"mount": disk.mount, "total_bytes": disk.total_bytes, "available_bytes": disk.available_bytes});
            json!({
                "hostname": facts.hostname,
                "os": facts.os,
                "kernel": facts.kernel,
                "cpus": facts.cpus,
                "memory_bytes": facts.memory_bytes,
                "memory_available_bytes": facts.memory_available_bytes,
                "load_percent": facts.load_percent,
                "uptime_s": facts.uptime_s,
                "disks": facts.disks.iter().map(disk).collect::<Value>(),
            })
        });
        without_plain(value)
    }
}

impl Public for v1::Operation {
    fn public(&self) -> Value {
        without_plain(operation_value(self))
    }
}

impl Public for Vec<v1::Event> {
    fn public(&self) -> Value {
        without_plain(self.iter().map(event_value).collect())
    }
}

impl Public for Vec<v1::JournalEntry> {
    fn public(&self) -> Value {
        // An entry has what was dispatched in it.
        without_plain(self.iter().map(journal_value).collect())
    }
}

impl Public for Spec {
    fn public(&self) -> Value {
        let mut spec = self.clone();
        // A configuration is made of them, and nobody keeps a person from writing a password there.
        let files = spec
            .services
            .values_mut()
            .flat_map(|it| it.files.values_mut());
        for file in files {
            let of_nodes = file.nodes.values_mut().flat_map(BTreeMap::values_mut);
            for value in file.values.values_mut().chain(of_nodes) {
                LEFT_OUT.clone_into(value);
            }
        }
        // A spec is written by the same type when it is compared; it cannot fail.
        without_plain(serde_json::to_value(&spec).unwrap_or_default())
    }
}

/// The plan of an operation.
#[derive(Debug)]
pub(super) struct Plan {
    digest: String,
    made: Option<String>,
    plan: Value,
}

impl Plan {
    /// That of this one; nothing in it if this version cannot read it.
    pub(super) fn of(operation: &v1::Operation) -> Self {
        let summary = operation.summary.clone().unwrap_or_default();
        let plan = serde_json::from_str::<interlock_model::plan::Plan>(&operation.plan_json);
        Self {
            digest: summary.digest,
            made: rfc3339(summary.started_ms),
            plan: plan.and_then(serde_json::to_value).unwrap_or_default(),
        }
    }
}

impl Public for Plan {
    fn public(&self) -> Value {
        json!({ "digest": self.digest, "started": self.made, "plan": without_plain(self.plan.clone()) })
    }
}

/// Without what is said in plain to other programs.
fn without_plain(value: Value) -> Value {
    match value {
        Value::Object(fields)
            if fields.len() == 1 && fields.get(PLAIN).is_some_and(Value::is_string) =>
        {
            json!({ PLAIN: LEFT_OUT })
        }
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, without_plain(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_plain).collect(),
        Value::String(text) => Value::String(bare(&text)),
        other => other,
    }
}

/// A text with its URLs bare: evidence names what was asked.
fn bare(text: &str) -> String {
    let words = text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'));
    words.map(bare_url).collect()
}

/// A URL without a user and without a query, which may be a token; any other word as it is.
fn bare_url(word: &str) -> String {
    let text = word.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'));
    let end = &word[text.len()..];
    let Some((scheme, rest)) = text.split_once("://") else {
        return word.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let bare = path.split(['?', '#']).next().unwrap_or_default();
    let query = if bare.len() < path.len() {
        format!("?{LEFT_OUT}")
    } else {
        String::new()
    };
    format!("{scheme}://{host}{bare}{query}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "
cluster: shop
nodes:
  mgmt1: { address: 10.0.0.5 }
  web1: { address: 10.0.0.11, power: { by: kvm1, plug: VM-1, shutdown: agent } }
power:
  kvm1: { fence: fence_virsh, via: [mgmt1], options: { ip: 10.0.0.1, username: ops, phrase: hunter2, identity: { secret: virsh } } }
services:
  web:  # the password is hunter2
    nodes: [web1]
    active: all
    manager: { systemd: { unit: web.service } }
    checks:
      up: { http: 'http://{address}/health?token=hunter2', status: 200 }
    files:
      app: { values: { database_password: hunter2 }, nodes: { web1: { token: hunter2 } } }
";

    #[test]
    fn what_a_spec_says_in_plain_to_other_programs_gets_in_nowhere() {
        let spec = Spec::parse(SPEC.as_bytes(), "shop.yaml").unwrap().spec;
        let public = spec.public().to_string();
        assert!(!public.contains("hunter2"), "{public}");
        for kept in [
            "fence_virsh",
            "virsh",
            "VM-1",
            "web.service",
            "database_password",
            "/health?(not in a bundle)",
        ] {
            assert!(public.contains(kept), "{kept}: {public}");
        }
    }

    #[test]
    fn the_same_goes_for_a_plan() {
        let plan = json!({"steps": [{"action": {"fence": {"options": {"password": {"plain": "hunter2"}, "key": {"secret": "k"}}}}}]});
        let public = without_plain(plan).to_string();
        assert!(
            !public.contains("hunter2") && public.contains("\"secret\":\"k\""),
            "{public}"
        );
    }

    #[test]
    fn of_a_url_the_user_and_the_query_are_left_out() {
        for (url, bare) in [
            ("http://web/x", "http://web/x"),
            ("https://u:p@web:8443/x/y", "https://web:8443/x/y"),
            ("http://web?t=1", "http://web?(not in a bundle)"),
            ("no url", "no url"),
            (
                "web.page on web1 is bad: http://web/?token=t: status 500, not 'http://u@web/'",
                "web.page on web1 is bad: http://web/?(not in a bundle) status 500, not 'http://web/'",
            ),
        ] {
            assert_eq!(super::bare(url), bare);
        }
    }
}
