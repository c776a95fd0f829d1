//! What agents refuse: wire and core.

use interlock_model::action::ShutdownBy;
use interlock_model::check::CheckId;
use interlock_model::permission::{Permission, Refusal};

use super::{Invalid, name};
use crate::v1;

/// A refusal, for the wire.
#[must_use]
pub fn refusal_to_wire(refusal: &Refusal) -> v1::Refusal {
    use v1::refusal::Permission as Wire;
    let permission = match &refusal.permission {
        Permission::Operate(service) => Wire::Operate(service.to_string()),
        Permission::Member {
            balancer,
            service,
            node,
        } => Wire::Member(v1::RefusedMember {
            balancer: balancer.to_string(),
            service: service.to_string(),
            node: node.to_string(),
        }),
        Permission::File { service, file } => Wire::File(v1::RefusedFile {
            service: service.to_string(),
            file: file.to_string(),
        }),
        Permission::Check(check) => Wire::Check(v1::CheckName {
            service: check.service.to_string(),
            check: check.check.to_string(),
        }),
        Permission::Shutdown => Wire::Shutdown(v1::Shutdown::default()),
        Permission::Reboot => Wire::Reboot(v1::Reboot {}),
        Permission::Fence(agent) => Wire::FenceAgent(agent.clone()),
    };
    v1::Refusal {
        permission: Some(permission),
        why: refusal.why.clone(),
    }
}

/// A refusal, from the wire.
///
/// # Errors
/// If it is of a later version, or a name is none.
pub fn refusal_from_wire(wire: &v1::Refusal) -> Result<Refusal, Invalid> {
    use v1::refusal::Permission as Wire;
    let permission = match &wire.permission {
        None => return Err(Invalid::missing("refusal.permission")),
        Some(Wire::Operate(service)) => Permission::Operate(name("refusal.operate", service)?),
        Some(Wire::Member(member)) => Permission::Member {
            balancer: name("refusal.member.balancer", &member.balancer)?,
            service: name("refusal.member.service", &member.service)?,
            node: name("refusal.member.node", &member.node)?,
        },
        Some(Wire::File(wire)) => Permission::File {
            service: name("refusal.file.service", &wire.service)?,
            file: name("refusal.file.file", &wire.file)?,
        },
        Some(Wire::Check(wire)) => Permission::Check(CheckId {
            service: name("refusal.check.service", &wire.service)?,
            check: name("refusal.check.check", &wire.check)?,
        }),
        Some(Wire::Shutdown(_)) => Permission::Shutdown,
        Some(Wire::Reboot(_)) => Permission::Reboot,
        Some(Wire::FenceAgent(agent)) => Permission::Fence(agent.clone()),
    };
    Ok(Refusal {
        permission,
        why: wire.why.clone(),
    })
}

/// Who shuts a machine down, for the wire.
#[must_use]
pub fn shutdown_to_wire(by: ShutdownBy) -> v1::Shutdown {
    v1::Shutdown {
        by_command: by == ShutdownBy::Command,
    }
}

/// Who shuts a machine down, from the wire.
#[must_use]
pub fn shutdown_from_wire(wire: v1::Shutdown) -> ShutdownBy {
    if wire.by_command {
        ShutdownBy::Command
    } else {
        ShutdownBy::Agent
    }
}
