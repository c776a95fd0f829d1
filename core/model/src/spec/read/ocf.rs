//! `ocf`: a resource of an OCF resource agent.

use super::parts::ON;
use super::power::{SECRET, option};
use super::{Field, Section};
use crate::action::OptionValue;
use crate::names::{LocalName, ServiceName};
use crate::ocf::{AgentName, Limits, Resource, is_parameter};
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, derived, optional, required};

/// A resource.
pub(super) static OCF: Shape = Shape {
    name: "ocf resource",
    doc: "Something that an OCF resource agent starts, stops and monitors, and promotes if it has a primary side. What its agent does \
          not have, requires or take is told when the spec is applied, by nodes whose agents permit it.",
    keys: &[
        required(
            "agent",
            Kind::Text,
            "The resource agent as PROVIDER:TYPE, such as `heartbeat:IPaddr2`.",
        ),
        derived(
            "name",
            Kind::Text,
            "the name of the service",
            "What the agent tells it from others of its kind by. No two parts in the spec have one.",
        ),
        optional(
            "parameters",
            Kind::MapOf(&Kind::AnyOf(&[Kind::Text, Kind::Section(&SECRET)])),
            "Its parameters, which `interlockctl agent-types` lists. What it calls a password, a secret or a token is a secret.",
        ),
        derived(
            "every",
            Kind::Duration,
            "as the agent advises, else 10s",
            "How often it is monitored.",
        ),
        optional(
            "timeouts",
            Kind::Section(&TIMEOUTS),
            "The time limits of single actions of the agent, within those of the service.",
        ),
        default(
            "promotable",
            Kind::Flag,
            "false",
            "It runs on every instance of a service with `failover`, and its agent promotes it where the role is.",
        ),
        ON,
    ],
    choice: &[],
    later: &[],
};

static TIMEOUTS: Shape = Shape {
    name: "ocf timeouts",
    doc: "The time limits of single actions of a resource agent. What has not ended by then is killed with all that it \
          started, and whether it has happened is unknown.",
    keys: &[
        derived(
            "start",
            Kind::Duration,
            "as the agent advises, else 20s",
            "The limit of `start`.",
        ),
        derived(
            "stop",
            Kind::Duration,
            "as the agent advises, else 20s",
            "The limit of `stop`.",
        ),
        derived(
            "monitor",
            Kind::Duration,
            "as the agent advises, else 20s",
            "The limit of `monitor`.",
        ),
        derived(
            "promote",
            Kind::Duration,
            "as the agent advises, else 20s",
            "The limit of `promote`.",
        ),
        derived(
            "demote",
            Kind::Duration,
            "as the agent advises, else 20s",
            "The limit of `demote`.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads a resource of a service.
pub(super) fn resource(section: &Section<'_>, service: &ServiceName) -> Option<Resource> {
    let agent = section.get("agent").and_then(|field| agent(&field));
    let given = section.get("name").map(|field| field.name());
    let parameters = section
        .get("parameters")
        .map_or_else(Vec::new, |field| field.entries());
    let parameters = parameters
        .into_iter()
        .filter_map(|(name, field)| Some((name.to_owned(), parameter(name, &field)?)))
        .collect();
    let every = section.duration("every");
    let limits = section.section("timeouts", |limits| Limits {
        start: limits.duration("start"),
        stop: limits.duration("stop"),
        monitor: limits.duration("monitor"),
        promote: limits.duration("promote"),
        demote: limits.duration("demote"),
    });
    let promotable = section.flag("promotable");
    let name: LocalName = match given {
        Some(given) => given?,
        None => service.as_str().parse().ok()?,
    };
    Some(Resource {
        agent: agent?,
        name,
        parameters,
        every,
        limits,
        promotable,
    })
}

fn agent(field: &Field<'_>) -> Option<AgentName> {
    let text = field.text()?;
    match text.parse() {
        Ok(agent) => Some(agent),
        Err(why) => {
            let problem = Problem::error(format!("{} is not a resource agent", quoted(text)))
                .why(why.to_string());
            // As Pacemaker writes it.
            let short = text.strip_prefix("ocf:");
            let short = short.filter(|short| short.parse::<AgentName>().is_ok());
            field.report(match short {
                Some(short) => problem.suggest(format!("write {}", quoted(short))),
                None => problem,
            });
            None
        }
    }
}

fn parameter(name: &str, field: &Field<'_>) -> Option<OptionValue> {
    if !is_parameter(name) {
        field.report_key(
            Problem::error(format!("{} is not a parameter of a resource agent", quoted(name)))
                .why("it is made of letters, digits, '_' and '-', and what begins with CRM_ is not given by a spec"),
        );
        return None;
    }
    option(field)
}
