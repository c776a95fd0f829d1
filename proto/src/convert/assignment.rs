//! What an agent is asked to observe.

use std::time::Duration;

use interlock_model::check::{Check, CheckFrom, CheckId, CheckKind};

use super::{Invalid, millis, name};
use crate::v1;

/// A check for one node; `from` has been resolved by then and does not travel.
#[must_use]
pub fn check_to_wire(id: &CheckId, check: &Check) -> v1::AssignedCheck {
    use v1::assigned_check::Kind;
    v1::AssignedCheck {
        service: id.service.to_string(),
        check: id.check.to_string(),
        every_ms: millis(check.every),
        timeout_ms: millis(check.timeout),
        fail: check.fail,
        pass: check.pass,
        fresh_ms: millis(check.fresh),
        kind: Some(match &check.kind {
            CheckKind::Tcp { target } => Kind::Tcp(v1::TcpCheck {
                target: target.clone(),
            }),
            CheckKind::Http {
                url,
                status,
                body,
                json,
                paused,
                why,
            } => Kind::Http(v1::HttpCheck {
                url: url.clone(),
                status: status.iter().map(|code| u32::from(*code)).collect(),
                body: body.clone().unwrap_or_default(),
                json: json.clone(),
                paused: paused.clone(),
                why: why.clone().unwrap_or_default(),
            }),
            CheckKind::Exec { command } => Kind::Exec(command.to_string()),
            CheckKind::Unit { unit } => Kind::Unit(unit.clone()),
            CheckKind::Marker {
                path,
                content,
                write,
            } => Kind::Marker(v1::MarkerCheck {
                path: path.clone(),
                content: content.clone(),
                write: *write,
            }),
            CheckKind::Same { path } => Kind::Same(path.clone()),
            CheckKind::Address { ip } => Kind::Address(ip.clone()),
        }),
    }
}

/// A check, from the wire; it runs where it arrives.
///
/// # Errors
/// If it is of a kind that this build does not know, or a field is not what it should be.
pub fn check_from_wire(wire: &v1::AssignedCheck) -> Result<(CheckId, Check), Invalid> {
    use v1::assigned_check::Kind;
    let id = CheckId {
        service: name("check.service", &wire.service)?,
        check: name("check.check", &wire.check)?,
    };
    let kind = match &wire.kind {
        None => {
            return Err(Invalid::new(
                "check.kind",
                "is of a kind that this version does not know",
            ));
        }
        Some(Kind::Tcp(tcp)) => CheckKind::Tcp {
            target: tcp.target.clone(),
        },
        Some(Kind::Http(http)) => CheckKind::Http {
            url: http.url.clone(),
            status: http
                .status
                .iter()
                .map(|code| {
                    u16::try_from(*code)
                        .map_err(|_| Invalid::new("check.http.status", "is above 65535"))
                })
                .collect::<Result<_, _>>()?,
            body: (!http.body.is_empty()).then(|| http.body.clone()),
            json: http.json.clone(),
            paused: http.paused.clone(),
            why: (!http.why.is_empty()).then(|| http.why.clone()),
        },
        Some(Kind::Exec(command)) => CheckKind::Exec {
            command: name("check.exec", command)?,
        },
        Some(Kind::Unit(unit)) => CheckKind::Unit { unit: unit.clone() },
        Some(Kind::Marker(marker)) => CheckKind::Marker {
            path: marker.path.clone(),
            content: marker.content.clone(),
            write: marker.write,
        },
        Some(Kind::Same(path)) => CheckKind::Same { path: path.clone() },
        Some(Kind::Address(ip)) => CheckKind::Address { ip: ip.clone() },
    };
    if wire.every_ms == 0 || wire.timeout_ms == 0 {
        return Err(Invalid::new(
            "check",
            "every and timeout must be above zero",
        ));
    }
    let check = Check {
        kind,
        from: CheckFrom::Own,
        every: Duration::from_millis(wire.every_ms),
        timeout: Duration::from_millis(wire.timeout_ms),
        fail: wire.fail.max(1),
        pass: wire.pass.max(1),
        fresh: Duration::from_millis(wire.fresh_ms),
    };
    Ok((id, check))
}
