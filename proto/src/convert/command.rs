//! Commands to agents.

use std::time::Duration;

use interlock_model::action::{Command, FenceAction, FenceCall, OptionValue, Part, ShutdownBy};
use interlock_model::address::FloatingAddress;

use super::file::{file_from_wire, file_to_wire};
use super::mariadb::{mariadb_from_wire, mariadb_to_wire};
use super::member::{member_from_wire, member_to_wire, then_from_wire};
use super::ocf::{resource_from_wire, resource_to_wire};
use super::postgres::{postgres_from_wire, postgres_to_wire};
use super::redis::{redis_from_wire, redis_to_wire};
use super::{Invalid, millis, name};
use crate::v1;

/// A part of an instance, for the wire.
#[must_use]
pub fn part_to_wire(part: &Part) -> v1::Part {
    use v1::part::Part as Wire;
    v1::Part {
        part: Some(match part {
            Part::Systemd { unit } => Wire::SystemdUnit(unit.clone()),
            Part::Process { name } => Wire::Process(name.to_string()),
            Part::Exec { name } => Wire::Exec(name.to_string()),
            Part::Ocf(resource) => Wire::Ocf(resource_to_wire(resource)),
            Part::Address(address) => Wire::Address(v1::FloatingAddress {
                ip: address.ip.to_string(),
                prefix: u32::from(address.prefix),
                interface: address.interface.clone(),
                whole_interface: address.whole_interface,
            }),
            Part::Postgres(postgres) => Wire::Postgres(postgres_to_wire(postgres)),
            Part::Redis(redis) => Wire::Redis(redis_to_wire(redis)),
            Part::Mariadb(mariadb) => Wire::Mariadb(mariadb_to_wire(mariadb)),
        }),
    }
}

/// A part of an instance, from the wire.
///
/// # Errors
/// If it is of a kind that this build does not know, or a name is none.
pub fn part_from_wire(part: &v1::Part) -> Result<Part, Invalid> {
    use v1::part::Part as Wire;
    match &part.part {
        Some(Wire::SystemdUnit(unit)) => Ok(Part::Systemd { unit: unit.clone() }),
        Some(Wire::Process(text)) => Ok(Part::Process {
            name: name("part.process", text)?,
        }),
        Some(Wire::Exec(text)) => Ok(Part::Exec {
            name: name("part.exec", text)?,
        }),
        Some(Wire::Ocf(resource)) => Ok(Part::Ocf(resource_from_wire(resource)?)),
        Some(Wire::Address(address)) => Ok(Part::Address(address_from_wire(address)?)),
        Some(Wire::Postgres(postgres)) => Ok(Part::Postgres(postgres_from_wire(postgres)?)),
        Some(Wire::Redis(redis)) => Ok(Part::Redis(redis_from_wire(redis)?)),
        Some(Wire::Mariadb(mariadb)) => Ok(Part::Mariadb(mariadb_from_wire(mariadb)?)),
        None => Err(Invalid::new(
            "part",
            "is of a kind that this version does not know",
        )),
    }
}

fn address_from_wire(wire: &v1::FloatingAddress) -> Result<FloatingAddress, Invalid> {
    let ip = wire.ip.parse().map_err(|_| {
        Invalid::new(
            "part.address.ip",
            format!("{:?} is not an address", wire.ip),
        )
    })?;
    let longest = FloatingAddress::longest_prefix(ip);
    let prefix = u8::try_from(wire.prefix)
        .ok()
        .filter(|prefix| (1..=longest).contains(prefix))
        .ok_or_else(|| Invalid::new("part.address.prefix", "is not the length of a prefix"))?;
    if !FloatingAddress::is_interface(&wire.interface) {
        return Err(Invalid::new(
            "part.address.interface",
            "is not the name of an interface",
        ));
    }
    Ok(FloatingAddress {
        ip,
        prefix,
        interface: wire.interface.clone(),
        whole_interface: wire.whole_interface,
    })
}

fn instance_to_wire(
    service: &interlock_model::names::ServiceName,
    parts: &[Part],
) -> v1::InstanceCommand {
    v1::InstanceCommand {
        service: service.to_string(),
        parts: parts.iter().map(part_to_wire).collect(),
    }
}

fn instance_from_wire(
    command: &v1::InstanceCommand,
) -> Result<(interlock_model::names::ServiceName, Vec<Part>), Invalid> {
    let service = name("command.service", &command.service)?;
    let parts = command
        .parts
        .iter()
        .map(part_from_wire)
        .collect::<Result<_, _>>()?;
    Ok((service, parts))
}

/// A command, for the wire.
#[must_use]
pub fn command_to_wire(command: &Command) -> v1::dispatch::Command {
    use v1::dispatch::Command as Wire;
    match command {
        Command::Start { service, parts } => Wire::Start(instance_to_wire(service, parts)),
        Command::Stop { service, parts } => Wire::Stop(instance_to_wire(service, parts)),
        Command::Verify { service, parts } => Wire::Verify(instance_to_wire(service, parts)),
        Command::Promote { service } => Wire::Promote(v1::PromoteCommand {
            service: service.to_string(),
        }),
        Command::Drain {
            balancer,
            member,
            within,
            then,
        } => Wire::Drain(v1::MemberCommand {
            balancer: balancer.to_string(),
            member: Some(member_to_wire(member)),
            within_ms: millis(*within),
            then: then.to_string(),
        }),
        Command::Admit { balancer, member } => Wire::Admit(v1::MemberCommand {
            balancer: balancer.to_string(),
            member: Some(member_to_wire(member)),
            ..v1::MemberCommand::default()
        }),
        Command::File {
            service,
            file,
            work,
        } => Wire::File(file_to_wire(service, file, work)),
        Command::Shutdown { by } => Wire::Shutdown(v1::Shutdown {
            by_command: *by == ShutdownBy::Command,
        }),
        Command::Reboot => Wire::Reboot(v1::Reboot {}),
        Command::Fence { request } => Wire::Fence(fence_to_wire(request)),
    }
}

/// A command, from the wire.
///
/// # Errors
/// If it is of a kind that this build does not know, or a field is not what it should be.
pub fn command_from_wire(command: Option<&v1::dispatch::Command>) -> Result<Command, Invalid> {
    use v1::dispatch::Command as Wire;
    Ok(match command {
        None => {
            return Err(Invalid::new(
                "command",
                "is of a kind that this version does not know",
            ));
        }
        Some(Wire::Start(wire)) => {
            let (service, parts) = instance_from_wire(wire)?;
            Command::Start { service, parts }
        }
        Some(Wire::Stop(wire)) => {
            let (service, parts) = instance_from_wire(wire)?;
            Command::Stop { service, parts }
        }
        Some(Wire::Verify(wire)) => {
            let (service, parts) = instance_from_wire(wire)?;
            Command::Verify { service, parts }
        }
        Some(Wire::Promote(wire)) => Command::Promote {
            service: name("command.service", &wire.service)?,
        },
        Some(Wire::Drain(wire)) => Command::Drain {
            balancer: name("command.balancer", &wire.balancer)?,
            member: member_from_wire(wire.member.as_ref())?,
            within: Duration::from_millis(wire.within_ms),
            then: then_from_wire(&wire.then)?,
        },
        Some(Wire::Admit(wire)) => Command::Admit {
            balancer: name("command.balancer", &wire.balancer)?,
            member: member_from_wire(wire.member.as_ref())?,
        },
        Some(Wire::File(wire)) => file_from_wire(wire)?,
        Some(Wire::Shutdown(wire)) => Command::Shutdown {
            by: if wire.by_command {
                ShutdownBy::Command
            } else {
                ShutdownBy::Agent
            },
        },
        Some(Wire::Reboot(_)) => Command::Reboot,
        Some(Wire::Fence(wire)) => match fence_from_wire(wire)? {
            request if request.action == FenceAction::List => {
                return Err(Invalid::new(
                    "fence.action",
                    "is a list, which is no command",
                ));
            }
            request => Command::Fence { request },
        },
    })
}

/// A call of a fence agent, for the wire.
#[must_use]
pub fn fence_to_wire(call: &FenceCall) -> v1::FenceCall {
    use v1::fence_option::Value;
    v1::FenceCall {
        device: call.device.to_string(),
        agent: call.agent.clone(),
        action: match call.action {
            FenceAction::On => "on",
            FenceAction::Off => "off",
            FenceAction::Status => "status",
            FenceAction::List => "list",
        }
        .to_owned(),
        node: call.node.to_string(),
        plug: call.plug.clone(),
        options: call
            .options
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    OptionValue::Plain(text) => Value::Plain(text.clone()),
                    OptionValue::Secret(secret) => Value::Secret(secret.to_string()),
                };
                (key.clone(), v1::FenceOption { value: Some(value) })
            })
            .collect(),
        limit_ms: millis(call.limit),
    }
}

/// A call of a fence agent, from the wire.
///
/// # Errors
/// If the action is not on, off, status or list, or a name is none.
pub fn fence_from_wire(wire: &v1::FenceCall) -> Result<FenceCall, Invalid> {
    use v1::fence_option::Value;
    let action = match wire.action.as_str() {
        "on" => FenceAction::On,
        "off" => FenceAction::Off,
        "status" => FenceAction::Status,
        "list" => FenceAction::List,
        other => {
            return Err(Invalid::new(
                "fence.action",
                format!("'{other}' is not on, off, status or list"),
            ));
        }
    };
    let mut options = std::collections::BTreeMap::new();
    for (key, option) in &wire.options {
        let value = match &option.value {
            Some(Value::Plain(text)) => OptionValue::Plain(text.clone()),
            Some(Value::Secret(text)) => OptionValue::Secret(name("fence.options", text)?),
            None => return Err(Invalid::missing(&format!("fence.options.{key}"))),
        };
        options.insert(key.clone(), value);
    }
    Ok(FenceCall {
        device: name("fence.device", &wire.device)?,
        agent: wire.agent.clone(),
        action,
        node: name("fence.node", &wire.node)?,
        plug: wire.plug.clone(),
        options,
        limit: Duration::from_millis(wire.limit_ms),
    })
}
