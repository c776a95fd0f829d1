//! Members of load balancers.

use std::time::Duration;

use interlock_model::member::{
    Balancer, HeldMember, Member, MemberObservation, MemberState, PutBack, PutBackWhy, Then,
    is_proxy_name,
};
use interlock_model::time::Timestamp;

use super::{Invalid, check_from_wire, check_to_wire, millis, name};
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
        checks: held
            .checks
            .iter()
            .map(|(id, check)| check_to_wire(id, check))
            .collect(),
        at_least: held.at_least,
    }
}

/// A member that is looked after, from the wire.
///
/// # Errors
/// If the member cannot be understood, or by which checks it is left out.
pub fn held_from_wire(held: &v1::HeldMember) -> Result<HeldMember, Invalid> {
    let checks = held.checks.iter().map(check_from_wire);
    Ok(HeldMember {
        member: member_from_wire(held.member.as_ref())?,
        every: Duration::from_millis(held.every_ms),
        watch_only: held.watch_only,
        checks: checks.collect::<Result<_, _>>()?,
        at_least: held.at_least,
    })
}

/// What is known of a member, for the wire.
#[must_use]
pub fn member_seen_to_wire(seen: &MemberObservation) -> v1::MemberSeen {
    let put_back = seen.put_back.as_ref();
    v1::MemberSeen {
        service: seen.service.to_string(),
        node: seen.node.to_string(),
        state: v1::MemberState::from(seen.state).into(),
        detail: seen.detail.clone(),
        put_back_ms: put_back.map_or(0, |it| it.at.0),
        put_back: put_back.map(|it| it.text.clone()).unwrap_or_default(),
        put_back_why: put_back
            .map_or(v1::PutBackWhy::Unspecified, |it| match it.why {
                PutBackWhy::Changed => v1::PutBackWhy::Changed,
                PutBackWhy::Sick => v1::PutBackWhy::Sick,
                PutBackWhy::Well => v1::PutBackWhy::Well,
            })
            .into(),
    }
}

/// What is known of a member, from the wire.
///
/// # Errors
/// If a name is none.
pub fn member_seen_from_wire(wire: &v1::MemberSeen) -> Result<MemberObservation, Invalid> {
    Ok(MemberObservation {
        service: name("member.service", &wire.service)?,
        node: name("member.node", &wire.node)?,
        state: wire.state().into(),
        detail: wire.detail.clone(),
        put_back: (wire.put_back_ms > 0).then(|| PutBack {
            at: Timestamp(wire.put_back_ms),
            why: match wire.put_back_why() {
                v1::PutBackWhy::Unspecified | v1::PutBackWhy::Changed => PutBackWhy::Changed,
                v1::PutBackWhy::Sick => PutBackWhy::Sick,
                v1::PutBackWhy::Well => PutBackWhy::Well,
            },
            text: wire.put_back.clone(),
        }),
    })
}

impl From<MemberState> for v1::MemberState {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Unknown => Self::Unknown,
            MemberState::Ready => Self::Ready,
            MemberState::Drain => Self::Drain,
            MemberState::Maint => Self::Maint,
            MemberState::Down => Self::Down,
        }
    }
}

impl From<v1::MemberState> for MemberState {
    fn from(state: v1::MemberState) -> Self {
        match state {
            v1::MemberState::Unspecified | v1::MemberState::Unknown => Self::Unknown,
            v1::MemberState::Ready => Self::Ready,
            v1::MemberState::Drain => Self::Drain,
            v1::MemberState::Maint => Self::Maint,
            v1::MemberState::Down => Self::Down,
        }
    }
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
