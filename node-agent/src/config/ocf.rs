//! What the cluster may ask of OCF resource agents on this node.
//!
//! A resource agent runs as root, and many of their parameters name a program to run or a file to write. So a permit is
//! for one agent type and for values of parameters: `parameters = { ip = ["10.0.0.10"], password = { secret = "vip" },
//! comment = true }`. What is not among them may not be given.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use interlock_model::action::OptionValue;
use interlock_model::names::LocalName;
use interlock_model::ocf::{AgentName, Resource};
use serde::Deserialize;

/// Where resource agents are, and where they keep what they remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ocf {
    /// The directories of providers, searched in this order.
    pub path: Vec<PathBuf>,
    /// Where agents keep their state files (`HA_RSCTMP`). Must not outlive a boot.
    pub state: PathBuf,
}

/// A resource agent that may be used, and what it may be given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OcfPermit {
    /// The agent type.
    pub agent: AgentName,
    /// What may be given, by parameter.
    #[serde(default)]
    pub parameters: BTreeMap<String, Permitted>,
}

/// What may be given to a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "write a list of values, true for any, or { secret = \"NAME\" }"
)]
pub enum Permitted {
    /// These values alone.
    Values(Vec<String>),
    /// This secret.
    Secret(SecretName),
    /// Any text, or nothing at all; never a secret.
    Any(bool),
}

/// A secret by its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// The name.
    pub secret: LocalName,
}

impl OcfPermit {
    /// What permits this resource and nothing more.
    pub(super) fn of(resource: &Resource) -> Self {
        let parameters = resource.parameters.iter().map(|(name, value)| {
            let permitted = match value {
                OptionValue::Plain(text) => Permitted::Values(vec![text.clone()]),
                OptionValue::Secret(secret) => Permitted::Secret(SecretName {
                    secret: secret.clone(),
                }),
            };
            (name.clone(), permitted)
        });
        Self {
            agent: resource.agent.clone(),
            parameters: parameters.collect(),
        }
    }

    pub(super) fn permits(&self, resource: &Resource) -> bool {
        let permitted = |(name, value): (&String, &OptionValue)| {
            let permitted = self.parameters.get(name);
            match (permitted, value) {
                (Some(Permitted::Values(values)), OptionValue::Plain(text)) => {
                    values.contains(text)
                }
                (Some(Permitted::Any(any)), OptionValue::Plain(_)) => *any,
                (Some(Permitted::Secret(one)), OptionValue::Secret(secret)) => {
                    one.secret == *secret
                }
                (None, _) | (Some(_), OptionValue::Plain(_) | OptionValue::Secret(_)) => false,
            }
        };
        self.agent == resource.agent && resource.parameters.iter().all(permitted)
    }
}

/// As the file writes it.
impl fmt::Display for OcfPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ agent = \"{}\"", self.agent)?;
        if !self.parameters.is_empty() {
            let parameters: Vec<String> = self
                .parameters
                .iter()
                .map(|(name, permitted)| match permitted {
                    Permitted::Values(values) => {
                        let values = values.iter().cloned().map(toml::Value::String);
                        format!("{name} = {}", toml::Value::Array(values.collect()))
                    }
                    Permitted::Secret(one) => {
                        format!("{name} = {{ secret = \"{}\" }}", one.secret)
                    }
                    Permitted::Any(any) => format!("{name} = {any}"),
                })
                .collect();
            write!(f, ", parameters = {{ {} }}", parameters.join(", "))?;
        }
        f.write_str(" }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(parameters: &[(&str, OptionValue)]) -> Resource {
        Resource {
            agent: "heartbeat:Dummy".parse().unwrap(),
            name: "dummy".parse().unwrap(),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            every: None,
            limits: Default::default(),
            promotable: false,
        }
    }

    fn plain(text: &str) -> OptionValue {
        OptionValue::Plain(text.to_owned())
    }

    fn secret(name: &str) -> OptionValue {
        OptionValue::Secret(name.parse().unwrap())
    }

    #[test]
    fn what_is_permitted_of_an_agent_is_its_type_and_values_of_its_parameters() {
        let text = "agent = \"heartbeat:Dummy\"\n[parameters]\nstate = [\"/run/a\", \"/run/b\"]\nfake = true\n\
                    passwd = { secret = \"key\" }\nop_sleep = false\n";
        let permit: OcfPermit = toml::from_str(text).unwrap();
        for permitted in [
            &[][..],
            &[("state", plain("/run/b")), ("fake", plain("whatever"))],
            &[("passwd", secret("key"))],
        ] {
            assert!(permit.permits(&resource(permitted)), "{permitted:?}");
        }
        for refused in [
            ("state", plain("/etc/shadow")),
            ("state", secret("key")),
            ("fake", secret("key")),
            ("passwd", secret("other")),
            ("passwd", plain("key")),
            ("op_sleep", plain("1")),
            ("trace_file", plain("/etc/x")),
        ] {
            assert!(
                !permit.permits(&resource(std::slice::from_ref(&refused))),
                "{refused:?}"
            );
        }
        let other = Resource {
            agent: "heartbeat:IPaddr2".parse().unwrap(),
            ..resource(&[])
        };
        assert!(!permit.permits(&other));
    }

    #[test]
    fn the_line_that_permits_a_resource_permits_it() {
        let resource = resource(&[("state", plain("a \"b\"\\")), ("passwd", secret("key"))]);
        let line = format!("permit = {}", OcfPermit::of(&resource));
        let mut read: BTreeMap<String, OcfPermit> = toml::from_str(&line).unwrap();
        assert!(read.remove("permit").unwrap().permits(&resource), "{line}");
    }
}
