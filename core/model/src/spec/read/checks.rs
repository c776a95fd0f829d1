//! `checks` of a service: what is probed, from where, how often.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Field, Section, parts};
use crate::check::{Check, CheckFrom, CheckKind};
use crate::spec::placeholder::{PLACEHOLDERS, unknown_placeholder};
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, derived, later, optional};

const TIMES: Kind = Kind::Count {
    least: 1,
    most: 1000,
};
const STATUS: Kind = Kind::Count {
    least: 100,
    most: 599,
};

/// One check.
pub(super) static CHECK: Shape = Shape {
    name: "check",
    doc: "A probe with a name. Exactly one of the first seven keys says what is probed. `{address}` and `{node}` in its \
          texts stand for the node whose instance is checked.",
    keys: &[
        optional(
            "tcp",
            Kind::Text,
            "A connection to this `host:port` is accepted.",
        ),
        optional(
            "http",
            Kind::Text,
            "A GET of this `http://` URL answers as expected.",
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
            Kind::Text,
            "The file at this absolute path is equal wherever the check runs.",
        ),
        optional(
            "address",
            Kind::Text,
            "This IP address is assigned to the machine.",
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
            TIMES,
            "3",
            "Failures in a row before the verdict turns bad.",
        ),
        default(
            "pass",
            TIMES,
            "1",
            "Successes in a row before the verdict turns OK again.",
        ),
        derived(
            "fresh",
            Kind::Duration,
            "3 × `every`",
            "The age beyond which a result is unknown. At least `every` + `timeout`.",
        ),
    ],
    choice: &["tcp", "http", "exec", "unit", "marker", "same", "address"],
    later: &[
        later("dns", "a check of a name server's answer"),
        later("drbd", "a check of a replicated block device"),
        later("haproxy", "a check of a load balancer's backends"),
        later(
            "mariadb",
            "a check of a MariaDB or MySQL server and its replication",
        ),
        later("mount", "a check that a file system is mounted"),
        later("pacemaker", "a check of a Pacemaker cluster"),
        later(
            "postgres",
            "a check of a PostgreSQL server and its replication",
        ),
        later("redis", "a check of a Redis server and its replication"),
        later("websocket", "a check of a WebSocket handshake"),
    ],
};

/// The keys that belong to one kind of check.
const BELONGS: [(&str, &str); 7] = [
    ("content", "marker"),
    ("write", "marker"),
    ("status", "http"),
    ("body", "http"),
    ("json", "http"),
    ("paused", "http"),
    ("why", "http"),
];

/// Reads a check.
pub(super) fn check(section: &Section<'_>, external: bool) -> Check {
    for (key, kind) in BELONGS {
        if let (Some(field), None) = (section.get(key), section.get(kind)) {
            field.report_key(
                Problem::error(format!("`{key}` has no meaning here"))
                    .why(format!("it belongs to a check that has `{kind}`")),
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
    let times = |key| {
        section
            .count(key)
            .map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX))
    };
    Check {
        // What cannot be read is reported; something must stand for it while the rest is verified.
        kind: kind(section).unwrap_or(CheckKind::Tcp {
            target: String::new(),
        }),
        from: from(section, external),
        every,
        timeout,
        fail: times("fail"),
        pass: times("pass"),
        fresh,
    }
}

fn short(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn kind(section: &Section<'_>) -> Option<CheckKind> {
    let given = |key| section.get(key);
    let content = section.text("content");
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
        url(&field).map(|url| CheckKind::Http {
            url,
            status,
            body,
            json,
            paused,
            why,
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
    let same = given("same").map(|field| path(&field).map(|path| CheckKind::Same { path }));
    let address = given("address").map(|field| ip(&field).map(|ip| CheckKind::Address { ip }));
    [tcp, http, exec, unit, marker, same, address]
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

/// A text in which placeholders may stand, with each replaced by an example, for looking at its form.
fn filled<'a>(field: &Field<'a>) -> Option<(&'a str, String)> {
    let text = field.text()?;
    if let Some(word) = unknown_placeholder(text) {
        field.report(
            Problem::error(format!(
                "{} is not a placeholder",
                quoted(&format!("{{{word}}}"))
            ))
            .why("placeholders are {address} and {node}")
            .suggest_nearest(word, PLACEHOLDERS),
        );
        return None;
    }
    Some((
        text,
        text.replace("{address}", "192.0.2.1")
            .replace("{node}", "node"),
    ))
}

fn target(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    if let Err(why) = host_and_port(&example) {
        field.report(
            Problem::error(format!("{} is not host:port", quoted(text)))
                .why(why)
                .suggest("write it as 10.1.0.9:2049 or {address}:3306"),
        );
        return None;
    }
    Some(text.to_owned())
}

fn host_and_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    match port.parse::<u16>() {
        Ok(0) | Err(_) => return Err("the port is a number from 1 to 65535"),
        Ok(_) => {}
    }
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) if v6.parse::<IpAddr>().is_ok() => Ok(()),
        Some(_) => Err("what stands in brackets is not an IPv6 address"),
        None if host.contains(':') => Err("an IPv6 address stands in brackets: [fd00::1]:80"),
        None if is_host(host) => Ok(()),
        None => Err("the host is an IP address or a host name"),
    }
}

/// Is it an IP address or made like a host name (RFC 1123)?
pub(in crate::spec) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

fn url(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    let problem =
        |why: &str| Problem::error(format!("{} is not an http:// URL", quoted(text))).why(why);
    let Some(rest) = example.strip_prefix("http://") else {
        field.report(if example.starts_with("https://") {
            problem("https is not available in this version")
                .suggest("check the port without TLS, or with `tcp`")
        } else {
            problem("it begins with http://")
                .suggest(format!("write {}", quoted(&format!("http://{text}"))))
        });
        return None;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let with_port = if authority
        .rsplit(']')
        .next()
        .unwrap_or_default()
        .contains(':')
    {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let why = match host_and_port(&with_port) {
        _ if example.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            "it has white space in it"
        }
        _ if !example.is_ascii() => "characters beyond ASCII are written as %XX",
        Ok(()) => return Some(text.to_owned()),
        Err(why) => why,
    };
    field.report(problem(why));
    None
}

fn path(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    if example.starts_with('/') && !example.split('/').any(|part| part == "..") {
        return Some(text.to_owned());
    }
    field.report(
        Problem::error(format!("{} is not an absolute path", quoted(text)))
            .why("it begins with '/' and has no '..'"),
    );
    None
}

fn ip(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    if example.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    let problem = Problem::error(format!("{} is not an IP address", quoted(text)));
    field.report(match text.split_once('/') {
        Some((bare, _)) if bare.parse::<IpAddr>().is_ok() => problem
            .why("the prefix length does not belong here")
            .suggest(format!("write {bare}")),
        _ => problem,
    });
    None
}
