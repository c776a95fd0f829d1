//! OCF resource agents and resources: wire and core.

use std::time::Duration;

use interlock_model::action::OptionValue;
use interlock_model::ocf::{
    ActionAdvice, AgentName, AgentType, Installed, Limits, Parameter, Resource, ValueKind,
};

use super::{Invalid, millis, name};
use crate::v1;

/// A resource, for the wire.
#[must_use]
pub fn resource_to_wire(resource: &Resource) -> v1::OcfResource {
    use v1::ocf_parameter::Value;
    let parameters = resource.parameters.iter().map(|(key, value)| {
        let value = match value {
            OptionValue::Plain(text) => Value::Plain(text.clone()),
            OptionValue::Secret(secret) => Value::Secret(secret.to_string()),
        };
        (key.clone(), v1::OcfParameter { value: Some(value) })
    });
    v1::OcfResource {
        agent: resource.agent.to_string(),
        name: resource.name.to_string(),
        parameters: parameters.collect(),
        every_ms: none_is_zero(resource.every),
        start_ms: none_is_zero(resource.limits.start),
        stop_ms: none_is_zero(resource.limits.stop),
        monitor_ms: none_is_zero(resource.limits.monitor),
        promotable: resource.promotable,
        promote_ms: none_is_zero(resource.limits.promote),
        demote_ms: none_is_zero(resource.limits.demote),
    }
}

/// A resource, from the wire.
///
/// # Errors
/// If a name is none, or a parameter has a value of a later version.
pub fn resource_from_wire(wire: &v1::OcfResource) -> Result<Resource, Invalid> {
    use v1::ocf_parameter::Value;
    let parameters = wire.parameters.iter().map(|(key, parameter)| {
        let value = match &parameter.value {
            Some(Value::Plain(text)) => OptionValue::Plain(text.clone()),
            Some(Value::Secret(text)) => OptionValue::Secret(name("ocf.parameters", text)?),
            None => return Err(Invalid::missing(&format!("ocf.parameters.{key}"))),
        };
        Ok((key.clone(), value))
    });
    Ok(Resource {
        agent: agent_name("ocf.agent", &wire.agent)?,
        name: name("ocf.name", &wire.name)?,
        parameters: parameters.collect::<Result<_, _>>()?,
        every: zero_is_none(wire.every_ms),
        limits: Limits {
            start: zero_is_none(wire.start_ms),
            stop: zero_is_none(wire.stop_ms),
            monitor: zero_is_none(wire.monitor_ms),
            promote: zero_is_none(wire.promote_ms),
            demote: zero_is_none(wire.demote_ms),
        },
        promotable: wire.promotable,
    })
}

/// The resource agents of a node, for the wire.
#[must_use]
pub fn installed_to_wire(installed: &Installed) -> v1::OcfAgents {
    let mute = installed.mute.iter().map(|(agent, why)| v1::MuteOcfAgent {
        agent: agent.to_string(),
        why: why.clone(),
    });
    v1::OcfAgents {
        installed: installed.names.iter().map(ToString::to_string).collect(),
        types: installed.types.values().map(type_to_wire).collect(),
        mute: mute.collect(),
    }
}

/// The resource agents of a node, from the wire.
///
/// # Errors
/// If a name is none.
pub fn installed_from_wire(wire: &v1::OcfAgents) -> Result<Installed, Invalid> {
    let names = wire.installed.iter();
    let types = wire.types.iter().map(|wire| {
        let known = type_from_wire(wire)?;
        Ok((known.agent.clone(), known))
    });
    let mute = wire
        .mute
        .iter()
        .map(|mute| Ok((agent_name("ocf.mute", &mute.agent)?, mute.why.clone())));
    Ok(Installed {
        names: names
            .map(|text| agent_name("ocf.installed", text))
            .collect::<Result<_, _>>()?,
        types: types.collect::<Result<_, Invalid>>()?,
        mute: mute.collect::<Result<_, Invalid>>()?,
    })
}

fn type_to_wire(known: &AgentType) -> v1::OcfAgentType {
    let parameters = known.parameters.iter().map(|(name, parameter)| {
        let (kind, options) = match &parameter.kind {
            ValueKind::Text => ("text", Vec::new()),
            ValueKind::Integer => ("integer", Vec::new()),
            ValueKind::Boolean => ("boolean", Vec::new()),
            ValueKind::Select(options) => ("select", options.clone()),
        };
        v1::OcfParameterType {
            name: name.clone(),
            kind: kind.to_owned(),
            options,
            default: parameter.default.clone(),
            required: parameter.required,
            about: parameter.about.clone(),
        }
    });
    let actions = known.actions.iter().map(|action| v1::OcfAction {
        name: action.name.clone(),
        timeout_ms: none_is_zero(action.timeout),
        interval_ms: none_is_zero(action.interval),
        depth: action.depth,
        role: action.role.clone(),
    });
    v1::OcfAgentType {
        agent: known.agent.to_string(),
        version: known.version.clone(),
        about: known.about.clone(),
        parameters: parameters.collect(),
        actions: actions.collect(),
    }
}

fn type_from_wire(wire: &v1::OcfAgentType) -> Result<AgentType, Invalid> {
    let parameters = wire.parameters.iter().map(|wire| {
        let parameter = Parameter {
            kind: match wire.kind.as_str() {
                "integer" => ValueKind::Integer,
                "boolean" => ValueKind::Boolean,
                "select" => ValueKind::Select(wire.options.clone()),
                _ => ValueKind::Text,
            },
            default: wire.default.clone(),
            required: wire.required,
            about: wire.about.clone(),
        };
        (wire.name.clone(), parameter)
    });
    let actions = wire.actions.iter().map(|wire| ActionAdvice {
        name: wire.name.clone(),
        timeout: zero_is_none(wire.timeout_ms),
        interval: zero_is_none(wire.interval_ms),
        depth: wire.depth,
        role: wire.role.clone(),
    });
    Ok(AgentType {
        agent: agent_name("ocf.type", &wire.agent)?,
        version: wire.version.clone(),
        about: wire.about.clone(),
        parameters: parameters.collect(),
        actions: actions.collect(),
    })
}

fn agent_name(field: &str, text: &str) -> Result<AgentName, Invalid> {
    text.parse()
        .map_err(|why| Invalid::new(field, format!("'{text}' is not a resource agent: {why}")))
}

fn none_is_zero(duration: Option<Duration>) -> u64 {
    duration.map_or(0, millis)
}

fn zero_is_none(millis: u64) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_resource_and_the_agents_of_a_node_arrive_as_they_were_sent() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let agent: AgentName = "heartbeat:Dummy".parse().unwrap();
        let secret = OptionValue::Secret("key".parse().unwrap());
        let resource = Resource {
            agent: agent.clone(),
            name: "probe".parse().unwrap(),
            parameters: BTreeMap::from([
                ("fake".to_owned(), OptionValue::Plain("x".to_owned())),
                ("password".to_owned(), secret),
            ]),
            every: seconds(5),
            limits: Limits {
                start: seconds(7),
                stop: None,
                monitor: seconds(9),
                promote: seconds(11),
                demote: None,
            },
            promotable: true,
        };
        assert_eq!(
            resource_from_wire(&resource_to_wire(&resource)),
            Ok(resource)
        );

        let parameter = |kind| Parameter {
            kind,
            default: Some("1".to_owned()),
            required: true,
            about: "about".to_owned(),
        };
        let select = ValueKind::Select(vec!["a".to_owned(), "b".to_owned()]);
        let kinds = [
            ValueKind::Text,
            ValueKind::Integer,
            ValueKind::Boolean,
            select,
        ];
        let numbered = (0..).map(|number: u32| number.to_string());
        let known = AgentType {
            agent: agent.clone(),
            version: "1.2".to_owned(),
            about: "an example".to_owned(),
            parameters: numbered.zip(kinds.map(parameter)).collect(),
            actions: vec![ActionAdvice {
                name: "monitor".to_owned(),
                timeout: seconds(20),
                interval: seconds(10),
                depth: 10,
                role: "Promoted".to_owned(),
            }],
        };
        let installed = Installed {
            names: BTreeSet::from([agent.clone()]),
            types: BTreeMap::from([(agent.clone(), known)]),
            mute: BTreeMap::from([(agent, "why".to_owned())]),
        };
        assert_eq!(
            installed_from_wire(&installed_to_wire(&installed)),
            Ok(installed)
        );
    }
}
