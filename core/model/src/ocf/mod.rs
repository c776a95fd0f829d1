//! OCF resource agents: programs that start, stop and monitor one kind of thing, called `provider:type`.
//!
//! # Terms
//! * An **agent type** ([`AgentType`]) is what is installed on a node, and describes itself: its parameters and actions.
//! * A **resource** ([`Resource`]) is what the cluster spec makes of it: an agent type, a name that the agent tells its
//!   resources apart by, and values for parameters.
//!
//! # What does not fit
//! [`AgentType::objections`] is the one judge of a resource: the coordinator asks it when a spec is applied, and the agent,
//! with what is installed on its own node, before it does anything. It knows only what the description says, and the
//! descriptions of real agents are careless: a parameter that is said to be required and has a default may be left out,
//! and a type that it does not know takes any text.
//!
//! Source: OCF Resource Agent API 1.0 and 1.1 (`resource-agent-api.md`, `ra-api.rng`).

mod agent_type;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::OptionValue;
use crate::names::LocalName;
use crate::time::human;

pub use agent_type::{ActionAdvice, AgentType, Objection, Parameter, ValueKind, Wrong};

/// The longest provider or type, in characters: each is a file name.
const MAX_WORD: usize = 63;

/// What a parameter's variable begins with in the environment of an agent; what is behind it is the parameter's name.
pub const PARAMETER_PREFIX: &str = "OCF_RESKEY_";

/// What the names of parameters begin with that the cluster manager itself sets.
pub const META_PREFIX: &str = "CRM_meta_";

/// The name of an agent type: `provider:type`, such as `heartbeat:IPaddr2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName {
    provider: String,
    kind: String,
}

/// A text is not the name of an agent type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is PROVIDER:TYPE, such as heartbeat:IPaddr2, each of letters, digits, '.', '_' and '-', beginning with a letter \
     or digit"
)]
pub struct BadAgentName;

impl AgentName {
    /// The provider: the directory of the agent.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The type: the file of the agent.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl FromStr for AgentName {
    type Err = BadAgentName;

    fn from_str(text: &str) -> Result<Self, BadAgentName> {
        let (provider, kind) = text.split_once(':').ok_or(BadAgentName)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_word = |word: &str| {
            word.len() <= MAX_WORD
                && word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word.chars().all(allowed)
        };
        if is_word(provider) && is_word(kind) {
            Ok(Self {
                provider: provider.to_owned(),
                kind: kind.to_owned(),
            })
        } else {
            Err(BadAgentName)
        }
    }
}

impl TryFrom<String> for AgentName {
    type Error = BadAgentName;

    fn try_from(text: String) -> Result<Self, BadAgentName> {
        text.parse()
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.provider, self.kind))
    }
}

/// Something that an OCF resource agent starts, stops and monitors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resource {
    /// Its agent.
    pub agent: AgentName,
    /// What the agent tells it from its other resources by (`OCF_RESOURCE_INSTANCE`).
    pub name: LocalName,
    /// Its parameters. A secret is named here and read from a file on the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, OptionValue>,
    /// How often it is monitored; as its agent advises if none.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub every: Option<Duration>,
    /// The time limits of its agent's actions.
    #[serde(default)]
    pub limits: Limits,
    /// Does it run on every instance of its service, and is promoted with the role?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promotable: bool,
}

/// What an agent has to offer for a resource that is promoted.
pub const OF_ROLES: [&str; 2] = ["promote", "demote"];

/// The time limits of an agent's actions; as the agent advises where none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Of `start`.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub start: Option<Duration>,
    /// Of `stop`.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub stop: Option<Duration>,
    /// Of `monitor`.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub monitor: Option<Duration>,
    /// Of `promote`.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub promote: Option<Duration>,
    /// Of `demote`.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub demote: Option<Duration>,
}

/// The resource agents of a node, as far as its own agent tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Installed {
    /// All that are there. What they say of themselves is not asked: that would be to run them.
    pub names: BTreeSet<AgentName>,
    /// Those that the agent's own file permits, with what they say of themselves.
    pub types: BTreeMap<AgentName, AgentType>,
    /// Those that it permits, and that do not describe themselves: why.
    pub mute: BTreeMap<AgentName, String>,
}

/// Can this be the name of a parameter that a spec gives? What the cluster manager itself sets cannot.
#[must_use]
pub fn is_parameter(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !name.is_empty()
        && name.len() <= MAX_WORD
        && name.chars().all(allowed)
        && !name.to_ascii_lowercase().starts_with("crm_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_agent_cannot_lead_out_of_its_directory() {
        for bad in [
            "",
            "IPaddr2",
            ":IPaddr2",
            "heartbeat:",
            "heartbeat:.ocf-binaries",
            "..:x",
            "heartbeat:../x",
            "a/b:c",
            "ocf:heartbeat:Dummy",
        ] {
            assert!(bad.parse::<AgentName>().is_err(), "{bad}");
        }
        let name: AgentName = "heartbeat:IPaddr2".parse().unwrap();
        assert_eq!((name.provider(), name.kind()), ("heartbeat", "IPaddr2"));
        assert_eq!(name.to_string(), "heartbeat:IPaddr2");
    }

    #[test]
    fn what_the_cluster_manager_sets_is_no_parameter_of_a_spec() {
        for bad in ["CRM_meta_timeout", "crm_feature_set", "", "a b", "a=b"] {
            assert!(!is_parameter(bad), "{bad}");
        }
        assert!(is_parameter("config_file") && is_parameter("monitor-hook"));
    }
}
