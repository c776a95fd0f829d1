//! What an agent says about itself, and whether a resource fits that.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AgentName, OF_ROLES, Resource};
use crate::action::OptionValue;
use crate::suggest;
use crate::time::human;

/// An agent type, as its own `meta-data` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentType {
    /// Its name.
    pub agent: AgentName,
    /// The version of the agent.
    pub version: String,
    /// What it is for, in a line.
    pub about: String,
    /// Its parameters, by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// Its actions, in its own order. One name may occur several times, with other depths or roles.
    pub actions: Vec<ActionAdvice>,
}

/// A parameter of an agent type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// What it takes.
    pub kind: ValueKind,
    /// What the agent takes it for if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Must it be given?
    pub required: bool,
    /// What it is for, in a line.
    pub about: String,
}

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// Any text: `string`, and every type that this version does not know.
    Text,
    /// A whole number.
    Integer,
    /// What the library of the agents takes for true or false.
    Boolean,
    /// One of these (1.1).
    Select(Vec<String>),
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.pad("text"),
            Self::Integer => f.pad("integer"),
            Self::Boolean => f.pad("boolean"),
            Self::Select(options) => f.pad(&format!("one of {}", options.join(", "))),
        }
    }
}

/// What an agent advises for one of its actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionAdvice {
    /// The action: `start`, `monitor`.
    pub name: String,
    /// The least time limit that makes sense.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    /// How often it should run; none for what does not run by itself.
    #[serde(
        default,
        with = "human::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub interval: Option<Duration>,
    /// How deep it looks (`OCF_CHECK_LEVEL`).
    pub depth: u32,
    /// The role that it is for; empty for any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
}

/// Why a resource does not fit its agent type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The parameter at fault.
    pub parameter: String,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The agent has no such parameter; this one has the nearest name, if any is near.
    Unknown(Option<String>),
    /// It must be given, and is not.
    Missing,
    /// The value is none of this kind.
    Value {
        /// As it is given.
        value: String,
        /// What the parameter takes.
        kind: ValueKind,
        /// What was probably meant.
        near: Option<String>,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameter = &self.parameter;
        match &self.wrong {
            Wrong::Unknown(None) => write!(f, "it has no parameter '{parameter}'"),
            Wrong::Unknown(Some(near)) => {
                write!(
                    f,
                    "it has no parameter '{parameter}': did you mean '{near}'?"
                )
            }
            Wrong::Missing => write!(f, "its parameter '{parameter}' must be given"),
            Wrong::Value { value, kind, near } => {
                write!(
                    f,
                    "'{value}' is no value of its parameter '{parameter}', which takes "
                )?;
                match kind {
                    ValueKind::Text => f.write_str("text"),
                    ValueKind::Integer => f.write_str("a whole number"),
                    ValueKind::Boolean => f.write_str("true or false"),
                    ValueKind::Select(_) => kind.fmt(f),
                }?;
                match near {
                    Some(near) => write!(f, ": did you mean '{near}'?"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl AgentType {
    /// Everything about a resource that does not fit, in the order of its parameters; then what is missing.
    #[must_use]
    pub fn objections(&self, resource: &Resource) -> Vec<Objection> {
        let mut objections = Vec::new();
        for (name, value) in &resource.parameters {
            let wrong = match self.parameters.get(name) {
                None => {
                    let known = self.parameters.keys().map(String::as_str);
                    let near = suggest::nearest(name, known).map(str::to_owned);
                    Some(Wrong::Unknown(near))
                }
                Some(parameter) => parameter.wrong(value),
            };
            objections.extend(wrong.map(|wrong| Objection {
                parameter: name.clone(),
                wrong,
            }));
        }
        let missing = self.parameters.iter().filter(|(name, parameter)| {
            parameter.required
                && parameter.default.is_none()
                && resource.parameters.get(*name).is_none_or(is_empty)
        });
        objections.extend(missing.map(|(name, _)| Objection {
            parameter: name.clone(),
            wrong: Wrong::Missing,
        }));
        objections
    }

    /// The actions that a resource needs and the agent does not have.
    #[must_use]
    pub fn lacks(&self, resource: &Resource) -> Vec<&'static str> {
        let needed = OF_ROLES.iter().filter(|_| resource.promotable);
        needed
            .copied()
            .filter(|action| self.advice(action).is_none())
            .collect()
    }

    /// What the agent advises for an action, for an instance without a role.
    #[must_use]
    pub fn advice(&self, action: &str) -> Option<&ActionAdvice> {
        let of_action = || self.actions.iter().filter(|it| it.name == action);
        of_action()
            .find(|it| it.role.is_empty() && it.depth == 0)
            .or_else(|| of_action().next())
    }
}

fn is_empty(value: &OptionValue) -> bool {
    matches!(value, OptionValue::Plain(text) if text.is_empty())
}

impl Parameter {
    fn wrong(&self, value: &OptionValue) -> Option<Wrong> {
        // What a secret holds is known on its node alone.
        let OptionValue::Plain(value) = value else {
            return None;
        };
        let fits = |value: &str| match &self.kind {
            ValueKind::Text => true,
            ValueKind::Integer => value.trim().parse::<i64>().is_ok(),
            ValueKind::Boolean => BOOLEANS.contains(&value),
            ValueKind::Select(options) => options.iter().any(|option| option == value),
        };
        // A type that its own default does not have is not what the agent means.
        let is_meant = self
            .default
            .as_deref()
            .is_none_or(|it| it.is_empty() || fits(it));
        // To the agent, which is a shell script, an empty text is none.
        if value.is_empty() || fits(value) || !is_meant {
            return None;
        }
        let near = match &self.kind {
            ValueKind::Text | ValueKind::Integer => None,
            ValueKind::Boolean => suggest::nearest(value, BOOLEANS),
            ValueKind::Select(options) => {
                suggest::nearest(value, options.iter().map(String::as_str))
            }
        };
        Some(Wrong::Value {
            value: value.clone(),
            kind: self.kind.clone(),
            near: near.map(str::to_owned),
        })
    }
}

/// What `ocf_is_true` of the agents' library takes for true (`heartbeat/ocf-shellfuncs`), and the opposites in the same
/// spellings. Whatever else it is given is false to it, so that `Yes` would be.
const BOOLEANS: [&str; 18] = [
    "true", "false", "yes", "no", "1", "0", "on", "off", "ja", "nein", "True", "False", "TRUE",
    "FALSE", "YES", "NO", "ON", "OFF",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(kind: ValueKind, default: Option<&str>, required: bool) -> Parameter {
        Parameter {
            kind,
            default: default.map(str::to_owned),
            required,
            about: String::new(),
        }
    }

    fn agent_type() -> AgentType {
        let select = ValueKind::Select(vec!["fast".into(), "slow".into()]);
        let advice = |name: &str, depth, role: &str, seconds| ActionAdvice {
            name: name.into(),
            timeout: Some(Duration::from_secs(seconds)),
            interval: None,
            depth,
            role: role.into(),
        };
        AgentType {
            agent: "test:Thing".parse().unwrap(),
            version: "1".into(),
            about: String::new(),
            parameters: BTreeMap::from([
                ("ip".into(), parameter(ValueKind::Text, None, true)),
                (
                    "port".into(),
                    parameter(ValueKind::Integer, Some("80"), true),
                ),
                (
                    "odd".into(),
                    parameter(ValueKind::Boolean, Some("/etc/x"), false),
                ),
                ("shared".into(), parameter(ValueKind::Boolean, None, false)),
                ("speed".into(), parameter(select, Some("fast"), false)),
            ]),
            actions: vec![
                advice("monitor", 10, "", 60),
                advice("monitor", 0, "Promoted", 30),
                advice("monitor", 0, "", 20),
                advice("start", 0, "Promoted", 40),
            ],
        }
    }

    fn objections(parameters: &[(&str, &str)]) -> Vec<String> {
        let resource = Resource {
            agent: "test:Thing".parse().unwrap(),
            name: "thing".parse().unwrap(),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).into(), OptionValue::Plain((*value).into())))
                .collect(),
            every: None,
            limits: super::super::Limits::default(),
            promotable: false,
        };
        let found = agent_type().objections(&resource);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_fits_meets_no_objection() {
        let fits = [
            ("ip", "any"),
            ("port", "8080"),
            ("shared", "YES"),
            ("speed", "slow"),
        ];
        assert_eq!(objections(&fits), [""; 0]);
    }

    #[test]
    fn everything_that_does_not_fit_is_told_with_what_was_probably_meant() {
        assert_eq!(
            objections(&[
                ("prot", "1"),
                ("port", "http"),
                ("shared", "ture"),
                ("speed", "slwo")
            ]),
            [
                "'http' is no value of its parameter 'port', which takes a whole number",
                "it has no parameter 'prot': did you mean 'port'?",
                "'ture' is no value of its parameter 'shared', which takes true or false: did you mean 'true'?",
                "'slwo' is no value of its parameter 'speed', which takes one of fast, slow: did you mean 'slow'?",
                "its parameter 'ip' must be given",
            ]
        );
    }

    #[test]
    fn what_the_library_of_the_agents_would_silently_take_for_false_is_no_truth_value() {
        assert_eq!(
            objections(&[("ip", "x"), ("shared", "Yes")]),
            [
                "'Yes' is no value of its parameter 'shared', which takes true or false: did you mean 'yes'?"
            ]
        );
    }

    #[test]
    fn an_empty_text_is_none() {
        assert_eq!(
            objections(&[("ip", ""), ("port", "")]),
            ["its parameter 'ip' must be given"]
        );
    }

    #[test]
    fn a_type_that_its_own_default_does_not_have_is_not_asked_for() {
        assert_eq!(objections(&[("ip", "x"), ("odd", "/etc/y")]), [""; 0]);
    }

    #[test]
    fn what_is_promoted_needs_an_agent_that_promotes_and_demotes() {
        let mut agent = agent_type();
        let mut resource = Resource {
            agent: agent.agent.clone(),
            name: "thing".parse().unwrap(),
            parameters: BTreeMap::new(),
            every: None,
            limits: super::super::Limits::default(),
            promotable: true,
        };
        assert_eq!(agent.lacks(&resource), ["promote", "demote"]);
        let monitor = agent.actions[0].clone();
        agent.actions.push(ActionAdvice {
            name: "promote".into(),
            ..monitor
        });
        assert_eq!(agent.lacks(&resource), ["demote"]);
        resource.promotable = false;
        assert_eq!(agent.lacks(&resource), [""; 0]);
    }

    #[test]
    fn a_secret_is_judged_on_its_node_alone() {
        let secret = OptionValue::Secret("port".parse().unwrap());
        assert_eq!(agent_type().parameters["port"].wrong(&secret), None);
    }

    #[test]
    fn advice_is_that_for_no_role_and_the_cheapest_look() {
        let seconds = |action| {
            let found = agent_type().advice(action)?.timeout;
            found.map(|limit| limit.as_secs())
        };
        assert_eq!(seconds("monitor"), Some(20));
        assert_eq!(seconds("start"), Some(40), "better than none");
        assert_eq!(seconds("stop"), None);
    }
}
