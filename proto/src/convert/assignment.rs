//! What an agent is asked to observe.

use std::time::Duration;

use interlock_model::check::{
    Check, CheckFrom, CheckId, CheckKind, ClockCheck, Compared, HaproxyCheck, MountCheck, Threshold,
};

use super::{Invalid, millis, name, servers};
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
        fail: check.fail.runs(),
        fail_of: check.fail.of(),
        pass: check.pass.runs(),
        pass_of: check.pass.of(),
        fresh_ms: millis(check.fresh),
        kind: Some(match &check.kind {
            CheckKind::Tcp { target } => Kind::Tcp(v1::TcpCheck {
                target: target.clone(),
            }),
            CheckKind::Http {
                url,
                server_name,
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
                server_name: server_name.clone().unwrap_or_default(),
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
            CheckKind::Same {
                what: Compared::Path(path),
            } => Kind::Same(path.clone()),
            CheckKind::Same {
                what: Compared::Command(command),
            } => Kind::SameOutput(command.to_string()),
            CheckKind::Address { ip } => Kind::Address(ip.clone()),
            CheckKind::Redis(redis) => servers::redis_to_wire(redis),
            CheckKind::Postgres(postgres) => servers::postgres_to_wire(postgres),
            CheckKind::Mariadb(mariadb) => servers::mariadb_to_wire(mariadb),
            CheckKind::Mount(mount) => Kind::Mount(v1::MountCheck {
                path: mount.path.clone(),
                source: mount.source.clone().unwrap_or_default(),
                fstype: mount.fstype.clone().unwrap_or_default(),
                writable: mount.writable,
                marker: mount.marker.clone().unwrap_or_default(),
                content: mount.content.clone(),
            }),
            CheckKind::Websocket {
                url,
                server_name,
                origin,
            } => Kind::Websocket(v1::WebsocketCheck {
                url: url.clone(),
                server_name: server_name.clone().unwrap_or_default(),
                origin: origin.clone().unwrap_or_default(),
            }),
            CheckKind::Clock(clock) => Kind::Clock(v1::ClockCheck {
                target: clock.target.clone(),
                max_offset_ms: millis(clock.max_offset),
            }),
            CheckKind::Haproxy(haproxy) => Kind::Haproxy(v1::HaproxyCheck {
                socket: haproxy.socket.clone(),
                backends: haproxy.backends.clone(),
            }),
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
            server_name: given(&http.server_name),
            status: http
                .status
                .iter()
                .map(|code| {
                    u16::try_from(*code)
                        .map_err(|_| Invalid::new("check.http.status", "is above 65535"))
                })
                .collect::<Result<_, _>>()?,
            body: given(&http.body),
            json: http.json.clone(),
            paused: http.paused.clone(),
            why: given(&http.why),
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
        Some(Kind::Same(path)) => CheckKind::Same {
            what: Compared::Path(path.clone()),
        },
        Some(Kind::SameOutput(command)) => CheckKind::Same {
            what: Compared::Command(name("check.same_output", command)?),
        },
        Some(Kind::Address(ip)) => CheckKind::Address { ip: ip.clone() },
        Some(Kind::Redis(redis)) => CheckKind::Redis(servers::redis_from_wire(redis)?),
        Some(Kind::Postgres(postgres)) => {
            CheckKind::Postgres(servers::postgres_from_wire(postgres)?)
        }
        Some(Kind::Mariadb(mariadb)) => CheckKind::Mariadb(servers::mariadb_from_wire(mariadb)?),
        Some(Kind::OverTls(check)) => servers::over_tls_from_wire(check)?,
        Some(Kind::Haproxy(haproxy)) => CheckKind::Haproxy(HaproxyCheck {
            socket: haproxy.socket.clone(),
            backends: haproxy.backends.clone(),
        }),
        Some(Kind::Mount(mount)) => CheckKind::Mount(MountCheck {
            path: mount.path.clone(),
            source: given(&mount.source),
            fstype: given(&mount.fstype),
            writable: mount.writable,
            marker: given(&mount.marker),
            content: mount.content.clone(),
        }),
        Some(Kind::Websocket(websocket)) => CheckKind::Websocket {
            url: websocket.url.clone(),
            server_name: given(&websocket.server_name),
            origin: given(&websocket.origin),
        },
        Some(Kind::Clock(clock)) => CheckKind::Clock(ClockCheck {
            target: clock.target.clone(),
            max_offset: Duration::from_millis(clock.max_offset_ms),
        }),
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
        fail: threshold("fail", wire.fail, wire.fail_of)?,
        pass: threshold("pass", wire.pass, wire.pass_of)?,
        fresh: Duration::from_millis(wire.fresh_ms),
    };
    Ok((id, check))
}

/// Without a number of runs to look at, as from an earlier version, they are meant in a row.
fn threshold(field: &'static str, runs: u32, of: u32) -> Result<Threshold, Invalid> {
    match of {
        0 => Ok(Threshold::in_a_row(runs)),
        of => Threshold::new(runs, of).map_err(|error| Invalid::new(field, error.to_string())),
    }
}

/// An optional text: the empty one stands for none.
pub(super) fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
