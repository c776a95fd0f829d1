//! Values that have to be secrets by their names, and stand in the spec.
//!
//! Everybody who may read the spec reads them, and they lie in the store, in each of its backups, and in this file. What a
//! program calls a password, a secret or a token is one; of what it calls otherwise nobody here can know.

use super::Facts;
use super::ocf::keys_of_resources;
use crate::action::OptionValue;
use crate::spec::problem::Problem;

/// The ends of such names, as fence agents and resource agents have them: `passwd`, `snmp_priv_passwd`, `api_token`.
const ENDS: [&str; 5] = ["passwd", "password", "passphrase", "secret", "token"];

pub(super) fn verify(facts: &Facts<'_>) {
    for (device, declared) in &facts.spec.power {
        for (name, value) in &declared.options {
            let keys = ["power", device.as_str(), "options", name];
            one(facts, &keys, value, "the `via` nodes");
        }
    }
    for service in facts.spec.services.values() {
        for (keys, resource) in keys_of_resources(facts, service) {
            for (name, value) in &resource.parameters {
                let below = [keys.as_slice(), &["parameters".to_owned(), name.clone()]].concat();
                let below: Vec<&str> = below.iter().map(String::as_str).collect();
                one(facts, &below, value, "the service's nodes");
            }
        }
    }
}

fn one(facts: &Facts<'_>, keys: &[&str], value: &OptionValue, nodes: &str) {
    let (Some(name), OptionValue::Plain(text)) = (keys.last(), value) else {
        return;
    };
    if text.is_empty()
        || !ENDS
            .iter()
            .any(|end| name.to_ascii_lowercase().ends_with(end))
    {
        return;
    }
    facts.error(keys, || {
        Problem::error(format!("the {name} stands in the spec"))
            .why("everybody who may read the spec can read it, and so can who reads a backup of the store")
            .suggest(format!(
                "write {{ secret: NAME }}, put NAME into a file on {nodes}, and change it: it has been written down"
            ))
    });
}
