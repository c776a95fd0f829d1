//! Members of load balancers.

use std::time::Duration;

use interlock_model::member::{Balancer, HeldMember, Member, Then, is_proxy_name};

use super::{Invalid, millis, name};
use crate::v1;

/// A member, for the wire.
pub(super) fn member_to_wire(member: &Member) -> v1::Member {
    use v1::member::By as Wire;
    v1::Member {
        service: member.service.to_string(),
        node: member.node.to_string(),
        by: Some(match &member.by {
            Balancer::Haproxy { socket } => Wire::HaproxySocket(socket.clone()),
            Balancer::Nginx { file } => Wire::NginxFile(file.clone()),
        }),
        backends: member.backends.clone(),
        server: member.server.clone(),
    }
}

/// A member, from the wire. Its names stand in commands to the balancer: one that could end such a command is refused.
///
/// # Errors
/// If it is missing, is told in a way that this build does not know, or a name is none.
pub(super) fn member_from_wire(member: Option<&v1::Member>) -> Result<Member, Invalid> {
    use v1::member::By as Wire;
    let member = member.ok_or_else(|| Invalid::new("member", "is missing"))?;
    let names = member.backends.iter().chain([&member.server]);
    if member.backends.is_empty() || !names.clone().all(|text| is_proxy_name(text)) {
        return Err(Invalid::new(
            "member",
            "has no backend, or a name that no backend or server can have",
        ));
    }
    Ok(Member {
        service: name("member.service", &member.service)?,
        node: name("member.node", &member.node)?,
        by: match &member.by {
            Some(Wire::HaproxySocket(socket)) => Balancer::Haproxy {
                socket: socket.clone(),
            },
            Some(Wire::NginxFile(file)) => Balancer::Nginx { file: file.clone() },
            None => {
                return Err(Invalid::new(
                    "member",
                    "is told in a way that this version does not know",
                ));
            }
        },
        backends: member.backends.clone(),
        server: member.server.clone(),
    })
}

/// A member that is looked after, for the wire.
#[must_use]
pub fn held_to_wire(held: &HeldMember) -> v1::HeldMember {
    v1::HeldMember {
        member: Some(member_to_wire(&held.member)),
        every_ms: millis(held.every),
        watch_only: held.watch_only,
    }
}

/// A member that is looked after, from the wire.
///
/// # Errors
/// If the member cannot be understood.
pub fn held_from_wire(held: &v1::HeldMember) -> Result<HeldMember, Invalid> {
    Ok(HeldMember {
        member: member_from_wire(held.member.as_ref())?,
        every: Duration::from_millis(held.every_ms),
        watch_only: held.watch_only,
    })
}

/// What follows a drain, from the wire.
///
/// # Errors
/// If this build does not know it.
pub(super) fn then_from_wire(text: &str) -> Result<Then, Invalid> {
    match text {
        "maint" => Ok(Then::Maint),
        "drain" => Ok(Then::Drain),
        _ => Err(Invalid::new("then", "is neither maint nor drain")),
    }
}
