//! The whole file, and its short sections.

use super::checks::is_host;
use super::{Field, Reader, Section, gates, nodes, power, services};
use crate::spec::Budget;
use crate::spec::problem::{Problem, Report, quoted};
use crate::spec::shape::{Kind, Shape, default, later, optional, required};
use crate::spec::yaml::{Place, Value, Yaml};
use crate::spec::{Control, Host, Spec};

/// The whole file.
pub(in crate::spec) static ROOT: Shape = Shape {
    name: "spec",
    doc: "The whole file: one cluster.",
    keys: &[
        required(
            "cluster",
            Kind::Text,
            "The cluster's name. Its certificates are made for it.",
        ),
        optional(
            "control",
            Kind::Section(&CONTROL),
            "Where the control plane itself runs, and its timings.",
        ),
        optional(
            "hosts",
            Kind::MapOf(&Kind::Section(&HOST)),
            "The VM hosts, by name.",
        ),
        optional(
            "power",
            Kind::MapOf(&Kind::Section(&power::POWER)),
            "The power devices, by name.",
        ),
        required(
            "nodes",
            Kind::MapOf(&Kind::Section(&nodes::NODE)),
            "The nodes, by name. A name may be a range, such as `jb[1-6]`; then a text below it that has a range too \
             must have as many numbers, which are given out in order.",
        ),
        optional(
            "services",
            Kind::MapOf(&Kind::Section(&services::SERVICE)),
            "The services, by name.",
        ),
        optional(
            "gates",
            Kind::MapOf(&Kind::Section(&gates::GATE)),
            "The gates that people open, by name.",
        ),
    ],
    choice: &[],
    later: &[],
};

static CONTROL: Shape = Shape {
    name: "control",
    doc: "Where the control plane itself runs: a plan does not switch that off underneath itself. And how it hears of \
          nodes.",
    keys: &[
        optional(
            "coordinators",
            Kind::NAMES,
            "The nodes that run a coordinator. A name that is no node of the cluster is a machine outside of it.",
        ),
        optional(
            "etcd",
            Kind::ListOf(&Kind::Text),
            "The etcd endpoints, as `https://10.0.0.5:2379`, if the coordinators keep their state there (each one's own file says \
             how it connects). No plan switches a machine that carries one.",
        ),
        default(
            "heartbeat",
            Kind::Duration,
            "1s",
            "The period of an agent's heartbeat.",
        ),
        default(
            "late",
            Kind::Duration,
            "3s",
            "The silence after which a node is *late*: a warning. Above `heartbeat`.",
        ),
        default(
            "lost",
            Kind::Duration,
            "10s",
            "The silence after which a node is *lost*: unknown. Above `late`.",
        ),
        default(
            "failovers",
            Kind::Count {
                least: 1,
                most: 10_000,
            },
            "20",
            "How often roles may move by themselves in the whole cluster within `failover_window`. Then they all wait for a \
             person (`interlockctl unblock --all`): so many are no broken machine.",
        ),
        default(
            "failover_window",
            Kind::Duration,
            "10m",
            "The sliding window of `failovers`.",
        ),
    ],
    choice: &[],
    later: &[],
};

static HOST: Shape = Shape {
    name: "host",
    doc: "A VM host (hypervisor) that carries nodes.",
    keys: &[optional("address", Kind::Text, "Its address, for people.")],
    choice: &[],
    later: &[later("maintenance", "evacuation of the host")],
};

/// Reads a whole file.
pub(in crate::spec) fn spec(yaml: &Yaml, report: &Report) -> Option<Spec> {
    let reader = Reader::new(report);
    let top = Field {
        reader: &reader,
        yaml,
        at: Place::START,
        path: String::new(),
    };
    if !matches!(yaml.value, Value::Map(_)) {
        top.report(
            Problem::error(format!(
                "the file holds {}, not a cluster spec",
                yaml.kind()
            ))
            .why("a cluster spec is a map with the keys cluster, nodes and services"),
        );
        return None;
    }
    top.section(&ROOT, |section| {
        Some(Spec {
            // A missing name is reported, and must not keep the rest from being verified.
            cluster: section.name("cluster").or_else(|| "unnamed".parse().ok())?,
            control: section.section("control", control),
            hosts: section.map("hosts", |_, host| Host {
                address: host.text("address"),
            }),
            power: section.map("power", |_, device| power::power(device)),
            nodes: section
                .get("nodes")
                .map(|field| nodes::nodes(&field))
                .unwrap_or_default(),
            services: section.map("services", services::service),
            gates: section.map("gates", |_, gate| gates::gate(gate)),
        })
    })
}

/// `https://HOST:PORT`, or without the scheme.
fn endpoint(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let authority = text.strip_prefix("https://").unwrap_or(text);
    let is_endpoint = authority.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        is_host(bare.unwrap_or(host)) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !is_endpoint {
        field.report(
            Problem::error(format!("{} is no endpoint of etcd", quoted(text)))
                .suggest("write it as https://10.0.0.5:2379"),
        );
        return None;
    }
    Some(text.to_owned())
}

fn control(section: &Section<'_>) -> Control {
    let etcd = section.get("etcd").map(|field| field.items());
    Control {
        coordinators: section.names("coordinators"),
        etcd: etcd.iter().flatten().filter_map(endpoint).collect(),
        heartbeat: section.duration("heartbeat").unwrap_or_default(),
        late: section.duration("late").unwrap_or_default(),
        lost: section.duration("lost").unwrap_or_default(),
        failovers: Budget {
            times: section
                .count("failovers")
                .map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            window: section.duration("failover_window").unwrap_or_default(),
        },
    }
}
