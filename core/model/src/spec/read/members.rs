//! `balancer` and `member_of`: load balancers, and who is behind them.

use super::{Field, Section};
use crate::member::{Balancer, Membership, Then, is_proxy_name};
use crate::spec::placeholder::unknown_placeholder;
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, optional, required};

/// How a load balancer is told.
pub(super) static BALANCER: Shape = Shape {
    name: "balancer",
    doc: "How each instance of a load balancer is told which members take part. Exactly one of the keys. The service is \
          started and stopped by its `manager` like any other.",
    keys: &[
        optional(
            "haproxy",
            Kind::Section(&HAPROXY),
            "Through HAProxy's runtime socket.",
        ),
        optional(
            "nginx",
            Kind::Section(&NGINX),
            "nginx open source: through a file of its configuration, and a reload.",
        ),
    ],
    choice: &["haproxy", "nginx"],
    later: &[],
};

static HAPROXY: Shape = Shape {
    name: "haproxy balancer",
    doc: "HAProxy's runtime socket (`stats socket PATH level admin` in its `global` section).",
    keys: &[required(
        "socket",
        Kind::Text,
        "The absolute path of the socket on each of the balancer's nodes. The agents' own files must permit it.",
    )],
    choice: &[],
    later: &[],
};

static NGINX: Shape = Shape {
    name: "nginx balancer",
    doc: "A file of nginx's configuration. An instance is taken out by the word `down` in its `server` line, which is never \
          deleted: with `ip_hash` that would send the clients of all others elsewhere, too. The file is tested and reloaded \
          then, and put back if nginx refuses it. The `backend` of a member is its `upstream`, its `server` the address as \
          the line has it, such as `{address}:3000`. nginx knows no `drain`: `then` is always `maint`.",
    keys: &[required(
        "file",
        Kind::Text,
        "The absolute path of the file with the `upstream` blocks on each of the balancer's nodes. The agents' own files \
         must permit it, and say how nginx is tested and reloaded there.",
    )],
    choice: &[],
    later: &[],
};

/// The membership of a service in one load balancer.
pub(super) static MEMBERSHIP: Shape = Shape {
    name: "membership",
    doc: "How the instances of a service are members of a load balancer.",
    keys: &[
        required(
            "backend",
            Kind::SOME_NAMES,
            "The backend (of nginx: `upstream`), or backends, of the balancer that each instance is a server of.",
        ),
        default(
            "server",
            Kind::Text,
            "{node}",
            "What an instance is called there; `{node}` and `{address}` stand for its node.",
        ),
        default(
            "drain",
            Kind::Duration,
            "10m",
            "How long the sessions of a drained instance get to end by themselves. Where a cookie keeps clients on their \
             server: its `maxlife`.",
        ),
        default(
            "then",
            Kind::Word {
                words: &["maint", "drain"],
                later: &[],
            },
            "maint",
            "What follows: `maint` sends clients whose cookie names the instance to another one, `drain` lets them stay.",
        ),
        default(
            "every",
            Kind::Duration,
            "10s",
            "How often each balancer is looked at, whether an instance is still as a plan has put it. What a reload has \
             forgotten, or a person has changed, is put back and logged.",
        ),
        default(
            "watch_only",
            Kind::Flag,
            "false",
            "`true`: it is logged, and not put back. Plans switch it all the same.",
        ),
        optional(
            "checks",
            Kind::SOME_NAMES,
            "For nginx, which has no checks of its own: checks of this service (`http`, `tcp` or `websocket`, from `self`) that \
             the agent of each balancer's node runs on each instance as well. One that is bad there is left out, while \
             `at_least` others are well, and comes back when it is well.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads how a load balancer is told.
pub(super) fn balancer(section: &Section<'_>) -> Option<Balancer> {
    let haproxy = section.optional("haproxy", |haproxy| {
        let socket = socket(&haproxy.get("socket")?)?;
        Some(Balancer::Haproxy { socket })
    });
    let nginx = section.optional("nginx", |nginx| {
        let field = nginx.get("file")?;
        let file = absolute(&field, field.text()?)?;
        Some(Balancer::Nginx { file })
    });
    haproxy.flatten().or(nginx.flatten())
}

/// The longest path that a Unix socket can have (unix(7): `sun_path` has 108 bytes with the one that ends it).
const LONGEST_SOCKET: usize = 107;

/// Reads the path of a socket.
pub(super) fn socket(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.len() > LONGEST_SOCKET {
        field.report(
            Problem::error("this path is too long for a socket")
                .why(format!("it has at most {LONGEST_SOCKET} bytes")),
        );
        return None;
    }
    absolute(field, text)
}

fn absolute(field: &Field<'_>, text: &str) -> Option<String> {
    if text.starts_with('/') && !text.split('/').any(|part| part == "..") {
        return Some(text.to_owned());
    }
    field.report(
        Problem::error(format!("{} is not an absolute path", quoted(text)))
            .why("it begins with '/' and has no '..'"),
    );
    None
}

/// Reads a membership.
pub(super) fn membership(section: &Section<'_>) -> Membership {
    let backends = section.get("backend").map(|field| proxy_names(&field));
    Membership {
        backends: backends.unwrap_or_default(),
        server: server(section).unwrap_or_else(|| "{node}".to_owned()),
        drain: section.duration("drain").unwrap_or_default(),
        then: section.word("then").unwrap_or(Then::Maint),
        every: section.duration("every").unwrap_or_default(),
        watch_only: section.flag("watch_only"),
        checks: section.names("checks"),
    }
}

/// Reads the name of a backend, or several.
pub(super) fn proxy_names(field: &Field<'_>) -> Vec<String> {
    let each = field.one_or_more();
    let names = each.iter().filter_map(|field| {
        let text = field.text()?;
        named(field, text, text).then(|| text.to_owned())
    });
    names.collect()
}

fn server(section: &Section<'_>) -> Option<String> {
    let field = section.get("server")?;
    let text = field.text()?;
    if let Some(word) = unknown_placeholder(text) {
        let what = format!("{} stands for nothing here", quoted(&format!("{{{word}}}")));
        field.report(Problem::error(what).why("there are {node} and {address}"));
        return None;
    }
    // As it would be for some node.
    let example = text.replace("{node}", "n").replace("{address}", "10.0.0.1");
    named(&field, text, &example).then(|| text.to_owned())
}

fn named(field: &Field<'_>, text: &str, example: &str) -> bool {
    let is_name = is_proxy_name(example);
    if !is_name {
        field.report(
            Problem::error(format!(
                "{} is no name of a backend or server",
                quoted(text)
            ))
            .why("it is made of letters, digits and any of - _ . : [ ]"),
        );
    }
    is_name
}
