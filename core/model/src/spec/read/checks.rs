//! `checks` of a service: what is probed, from where, how often.

mod machine;
mod servers;
mod texts;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Section, parts};
use crate::check::{Check, CheckFrom, CheckKind, Threshold};
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, derived, later, optional};
use machine::{CLOCK, COMPARED, HAPROXY, MOUNT};
use servers::{MARIADB, POSTGRES, REDIS};
use texts::{ip, path, server_name, target, url};

pub(super) use servers::parse_size;
pub(in crate::spec) use texts::{ends_in_a_number, is_host};

const STATUS: Kind = Kind::Count {
    least: 100,
    most: 599,
};

/// One check.
pub(super) static CHECK: Shape = Shape {
    name: "check",
    doc: "A probe with a name. Exactly one of the first fourteen keys says what is probed. `{address}` and `{node}` in \
          its texts stand for the node whose instance is checked.",
    keys: &[
        optional(
            "tcp",
            Kind::Text,
            "A connection to this `host:port` is accepted.",
        ),
        optional(
            "http",
            Kind::Text,
            "A GET of this `http://` or `https://` URL answers as expected.",
        ),
        optional(
            "exec",
            Kind::Text,
            "This command of the agent's own file exits with 0.",
        ),
        optional("unit", Kind::Text, "This systemd unit is active."),
        optional(
            "marker",
            Kind::Text,
            "The file at this absolute path can be read; a hung mount is unknown.",
        ),
        optional(
            "same",
            Kind::AnyOf(&[Kind::Text, Kind::Section(&COMPARED)]),
            "The file at this absolute path, or what a command prints, is equal wherever the check runs.",
        ),
        optional(
            "address",
            Kind::Text,
            "This IP address is assigned to the machine.",
        ),
        optional(
            "redis",
            Kind::Section(&REDIS),
            "This Redis server works, in the role that it should have.",
        ),
        optional(
            "postgres",
            Kind::Section(&POSTGRES),
            "This PostgreSQL server lets the user in, in the role that it should have.",
        ),
        optional(
            "mariadb",
            Kind::Section(&MARIADB),
            "This MariaDB or MySQL server lets the user in, and replicates as it should.",
        ),
        optional(
            "mount",
            Kind::Section(&MOUNT),
            "This file system is mounted.",
        ),
        optional(
            "websocket",
            Kind::Text,
            "The server of this `ws://` or `wss://` URL takes the upgrade: status 101 (RFC 6455).",
        ),
        optional(
            "clock",
            Kind::Section(&CLOCK),
            "The clock of the machine agrees with a time server's.",
        ),
        optional(
            "haproxy",
            Kind::Section(&HAPROXY),
            "No server of the HAProxy on the machine is down or left out, unless a plan has put it out.",
        ),
        optional(
            "content",
            Kind::Text,
            "For `marker`: the exact content, without a newline at its end.",
        ),
        default(
            "write",
            Kind::Flag,
            "false",
            "For `marker`: also write the file `MARKER.NODE` beside it and read it back.",
        ),
        derived(
            "status",
            Kind::AnyOf(&[STATUS, Kind::SomeOf(&STATUS)]),
            "200 for `http`",
            "For `http`: the accepted status, or a list of them.",
        ),
        optional(
            "body",
            Kind::Text,
            "For `http`: a text that the body must contain.",
        ),
        optional(
            "json",
            Kind::TEXTS,
            "For `http`: JSON pointers (RFC 6901) into the body, and the exact text that each must have.",
        ),
        optional(
            "paused",
            Kind::TEXTS,
            "For `http`: JSON pointers and texts by which the instance says that it is paused: it runs, and waits for what \
             it depends on. It is shown as such, and nothing restarts it.",
        ),
        optional(
            "why",
            Kind::Text,
            "For `http`: the JSON pointer to what a paused instance waits for.",
        ),
        optional(
            "server_name",
            Kind::Text,
            "For `https://` and `wss://`: the name that the server's certificate must have, where that is not the host \
             of the URL. The certificate must be one that the agent trusts.",
        ),
        optional(
            "origin",
            Kind::Text,
            "For `websocket`: the `Origin` that is sent.",
        ),
        derived(
            "from",
            Kind::SOME_NAMES,
            "`self`; `consumers` for an external service",
            "Where it runs: `self` (each node of the service; for an agentless node, its `probes_from`), `consumers` \
             (each node of every service that requires this one), or nodes by name.",
        ),
        default("every", Kind::Duration, "10s", "The period."),
        derived(
            "timeout",
            Kind::Duration,
            "5s, but at most `every`",
            "The time limit of one probe. One that reaches it is unknown, never OK.",
        ),
        default(
            "fail",
            Kind::Threshold,
            "3",
            "Failures before the verdict turns bad: so many in a row, or `3 of 5`: three of the last five runs.",
        ),
        default(
            "pass",
            Kind::Threshold,
            "1",
            "Successes before the verdict turns OK again: so many in a row, or `2 of 3`.",
        ),
        derived(
            "fresh",
            Kind::Duration,
            "3 × `every`",
            "The age beyond which a result is unknown. At least `every` + `timeout`.",
        ),
    ],
    choice: &[
        "tcp",
        "http",
        "exec",
        "unit",
        "marker",
        "same",
        "address",
        "redis",
        "postgres",
        "mariadb",
        "mount",
        "websocket",
        "clock",
        "haproxy",
    ],
    later: &[
        later("dns", "a check of a name server's answer"),
        later("drbd", "a check of a replicated block device"),
        later("pacemaker", "a check of a Pacemaker cluster"),
    ],
};

/// The keys that belong to some kinds of check.
const BELONGS: [(&str, &[&str]); 9] = [
    ("content", &["marker"]),
    ("write", &["marker"]),
    ("status", &["http"]),
    ("body", &["http"]),
    ("json", &["http"]),
    ("paused", &["http"]),
    ("why", &["http"]),
    ("server_name", &["http", "websocket"]),
    ("origin", &["websocket"]),
];

/// Reads a check.
pub(super) fn check(section: &Section<'_>, external: bool) -> Check {
    for (key, kinds) in BELONGS {
        let belongs = kinds.iter().any(|kind| section.get(kind).is_some());
        if let (Some(field), false) = (section.get(key), belongs) {
            field.report_key(
                Problem::error(format!("`{key}` has no meaning here")).why(format!(
                    "it belongs to a check that has `{}`",
                    kinds.join("` or `")
                )),
            );
        }
    }
    let every = section.duration("every").unwrap_or_default();
    let timeout = section
        .duration("timeout")
        .unwrap_or_else(|| every.min(Duration::from_secs(5)));
    let fresh = section.duration("fresh").unwrap_or(every * 3);
    if fresh < every + timeout {
        let arithmetic = format!(
            "every {} + timeout {} > fresh {}",
            humantime::format_duration(every),
            humantime::format_duration(timeout),
            humantime::format_duration(fresh)
        );
        section.report(
            Problem::error("results of this check are too old before the next one is there")
                .why(arithmetic)
                .suggest(format!(
                    "write `fresh: {}` or more",
                    short(every * 2 + timeout)
                )),
        );
    }
    Check {
        // What cannot be read is reported; something must stand for it while the rest is verified.
        kind: kind(section).unwrap_or(CheckKind::Tcp {
            target: String::new(),
        }),
        from: from(section, external),
        every,
        timeout,
        fail: section.threshold("fail").unwrap_or(Threshold::ONE),
        pass: section.threshold("pass").unwrap_or(Threshold::ONE),
        fresh,
    }
}

fn short(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn kind(section: &Section<'_>) -> Option<CheckKind> {
    let given = |key| section.get(key);
    let content = section.text("content");
    let server_name = given("server_name").and_then(|field| server_name(&field));
    let origin = section.text("origin");
    let answer = answer(section);
    let tcp = given("tcp").map(|field| target(&field).map(|target| CheckKind::Tcp { target }));
    let http = given("http").map(|field| {
        let Answer {
            status,
            body,
            json,
            paused,
            why,
        } = answer;
        url(&field, ["http", "https"]).map(|url| CheckKind::Http {
            url,
            server_name: server_name.clone(),
            status,
            body,
            json,
            paused,
            why,
        })
    });
    let websocket = given("websocket").map(|field| {
        url(&field, ["ws", "wss"]).map(|url| CheckKind::Websocket {
            url,
            server_name: server_name.clone(),
            origin,
        })
    });
    let exec = given("exec").map(|field| field.name().map(|command| CheckKind::Exec { command }));
    let unit = given("unit").map(|field| parts::unit(&field).map(|unit| CheckKind::Unit { unit }));
    let write = section.flag("write");
    let marker = given("marker").map(|field| {
        path(&field).map(|path| CheckKind::Marker {
            path,
            content,
            write,
        })
    });
    let same =
        given("same").map(|field| machine::compared(&field).map(|what| CheckKind::Same { what }));
    let address = given("address").map(|field| ip(&field).map(|ip| CheckKind::Address { ip }));
    let redis = section.optional("redis", |section| {
        servers::redis(section).map(CheckKind::Redis)
    });
    let postgres = section.optional("postgres", |section| {
        servers::postgres(section).map(CheckKind::Postgres)
    });
    let mariadb = section.optional("mariadb", |section| {
        servers::mariadb(section).map(CheckKind::Mariadb)
    });
    let mount = section.optional("mount", |section| {
        machine::mount(section).map(CheckKind::Mount)
    });
    let clock = section.optional("clock", |section| {
        machine::clock(section).map(CheckKind::Clock)
    });
    let haproxy = section.optional("haproxy", |section| {
        machine::haproxy(section).map(CheckKind::Haproxy)
    });
    [
        tcp, http, exec, unit, marker, same, address, redis, postgres, mariadb, mount, websocket,
        clock, haproxy,
    ]
    .into_iter()
    .flatten()
    .next()?
}

/// What is expected of an HTTP answer.
struct Answer {
    status: Vec<u16>,
    body: Option<String>,
    json: BTreeMap<String, String>,
    paused: BTreeMap<String, String>,
    why: Option<String>,
}

fn answer(section: &Section<'_>) -> Answer {
    let status = section.get("status").map(|status| {
        let each = status.one_or_more();
        each.iter()
            .filter_map(|status| status.count(100, 599))
            .filter_map(|n| u16::try_from(n).ok())
            .collect()
    });
    let (json, paused) = (section.texts("json"), section.texts("paused"));
    let why = section.text("why");
    for pointer in json
        .keys()
        .chain(paused.keys())
        .chain(&why)
        .filter(|pointer| !pointer.is_empty() && !pointer.starts_with('/'))
    {
        section.report(
            Problem::error(format!("{} is not a JSON pointer", quoted(pointer)))
                .why("a JSON pointer begins with '/' (RFC 6901)")
                .suggest(format!("write {}", quoted(&format!("/{pointer}")))),
        );
    }
    Answer {
        status: status.unwrap_or_else(|| vec![200]),
        body: section.text("body"),
        json,
        paused,
        why,
    }
}

fn from(section: &Section<'_>, external: bool) -> CheckFrom {
    let implied = if external {
        CheckFrom::Consumers
    } else {
        CheckFrom::Own
    };
    let Some(field) = section.get("from") else {
        return implied;
    };
    match field.yaml.text() {
        Some("self") if external => {
            field.report(
                Problem::error(
                    "an external service has no node where a check could run from `self`",
                )
                .suggest("write `from: consumers`, or name nodes"),
            );
            implied
        }
        Some("self") => CheckFrom::Own,
        Some("consumers") => CheckFrom::Consumers,
        _ => CheckFrom::Nodes(field.names()),
    }
}
