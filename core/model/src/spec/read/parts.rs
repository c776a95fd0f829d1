//! `manager` and `parts`: what starts and stops an instance.

use std::net::IpAddr;

use super::{Field, Section, ocf};
use crate::action::Part;
use crate::address::FloatingAddress;
use crate::mariadb::Mariadb;
use crate::names::ServiceName;
use crate::observation::Side;
use crate::postgres::{Postgres, Rejoin, Synchronous};
use crate::redis::Redis;
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Key, Kind, Shape, default, derived, later, optional, required};

/// One part.
pub(super) static PART: Shape = Shape {
    name: "manager",
    doc: "What starts and stops one part of an instance. Exactly one of the keys.",
    keys: &[
        optional("systemd", Kind::Section(&SYSTEMD), "A systemd unit."),
        optional(
            "process",
            Kind::Section(&PROCESS),
            "A process that the agent supervises.",
        ),
        optional(
            "exec",
            Kind::Section(&EXEC),
            "Start, stop and check commands of the operator.",
        ),
        optional(
            "ocf",
            Kind::Section(&ocf::OCF),
            "A resource of an OCF resource agent.",
        ),
        optional(
            "address",
            Kind::Section(&ADDRESS),
            "An IP address that is where the primary is.",
        ),
        optional(
            "postgres",
            Kind::Section(&POSTGRES),
            "A PostgreSQL server that is promoted with the role.",
        ),
        optional(
            "redis",
            Kind::Section(&REDIS),
            "A Redis server that is promoted with the role.",
        ),
        optional(
            "mariadb",
            Kind::Section(&MARIADB),
            "A MariaDB server that is promoted with the role.",
        ),
    ],
    choice: &[
        "systemd", "process", "exec", "ocf", "address", "postgres", "redis", "mariadb",
    ],
    later: &[
        later("drbd", "a replicated block device"),
        later("haproxy", "a load balancer"),
        later("mount", "a file system that moves with the primary"),
        later("nginx", "a load balancer"),
        later("pacemaker", "a resource of a Pacemaker cluster"),
    ],
};

static SYSTEMD: Shape = Shape {
    name: "systemd unit",
    doc: "A unit that systemd starts and stops.",
    keys: &[
        required(
            "unit",
            Kind::Text,
            "The unit, with its suffix: `haproxy.service`.",
        ),
        ON,
    ],
    choice: &[],
    later: &[],
};

/// Where a part runs.
pub(super) const ON: Key = derived(
    "on",
    Kind::Word {
        words: &["primary"],
        later: &[],
    },
    "every instance",
    "`primary`: it runs where the primary is, and is started and stopped with the role.",
);

static ADDRESS: Shape = Shape {
    name: "address",
    doc: "An IP address that is on the node of the primary, and on no other.",
    keys: &[
        required(
            "ip",
            Kind::Text,
            "The address with the length of its prefix: `10.1.0.10/24`.",
        ),
        required("interface", Kind::Text, "The interface that it is put on."),
        default(
            "whole_interface",
            Kind::Flag,
            "false",
            "The interface is the role's: it is switched on for the address, and off when that has gone. It is down on every standby, so \
             whether it has a link there is not known.",
        ),
        default(
            "on",
            Kind::Word {
                words: &["primary"],
                later: &[],
            },
            "primary",
            "Nothing else: an address goes with the role, also where this is not written.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Whom standbys log in as if nothing is said.
const REPLICATOR: &str = "replicator";

static POSTGRES: Shape = Shape {
    name: "postgres server",
    doc: "A PostgreSQL server of a service with `failover`. It runs on every instance, as a standby of the primary, and is \
          promoted with the role. The lease's `max_lag` says how far behind a standby may be.",
    keys: &[
        required(
            "cluster",
            Kind::Text,
            "Its name in the agent's own file, which says where its data is and how it is run.",
        ),
        default(
            "port",
            Kind::Count {
                least: 1,
                most: 65_535,
            },
            "5432",
            "The port at which standbys reach the primary, at the `address` of its node.",
        ),
        default(
            "user",
            Kind::Text,
            REPLICATOR,
            "The database role that standbys log in as at the primary: with `REPLICATION`, and for `rejoin: rewind` with \
             the rights that pg_rewind(1) lists. Its password is in a file that the agent's own file names.",
        ),
        default(
            "synchronous",
            Kind::Word {
                words: &["off", "on", "strict"],
                later: &[],
            },
            "off",
            "Whether writes wait for a standby. `off`: never, so a failover may lose the last of them. `on`: while one \
             follows; without one they go on, and are known to be asynchronous before the first of them. `strict`: always; \
             without a standby nothing is written. Sessions with a `synchronous_commit` below `on` do not wait.",
        ),
        default(
            "rejoin",
            Kind::Word {
                words: &["never", "rewind", "clone"],
                later: &[],
            },
            "never",
            "What becomes of a former primary that has what the new one never got. `never`: a person decides. `rewind` \
             and `clone`: that is saved aside, then it is rewound, or copied anew.",
        ),
    ],
    choice: &[],
    later: &[],
};

static REDIS: Shape = Shape {
    name: "redis server",
    doc: "A Redis server of a service with `failover`. It runs on every instance, as a replica of the primary, and is promoted \
          with the role. It acknowledges a write before a replica has it: the lease's `max_lag` says how far behind, in bytes \
          of its replication stream, a replica may be that takes over.",
    keys: &[
        required(
            "server",
            Kind::Text,
            "Its name in the agent's own file, which says where its configuration is and how it is run.",
        ),
        default(
            "port",
            Kind::Count {
                least: 1,
                most: 65_535,
            },
            "6379",
            "The port at which replicas reach the primary, at the `address` of its node.",
        ),
        default(
            "rejoin",
            Kind::Word {
                words: &["never", "clone"],
                later: &[],
            },
            "never",
            "What becomes of a former primary that has what the new one never got, or may have. `never`: a person decides. \
             `clone`: its data is saved aside, then copied anew.",
        ),
    ],
    choice: &[],
    later: &[],
};

static MARIADB: Shape = Shape {
    name: "mariadb server",
    doc: "A MariaDB server (10.11 and later) of a service with `failover`. It runs on every instance, as a replica of the primary \
          that is read-only, and is promoted with the role. It acknowledges a transaction before a replica has it: the \
          lease's `max_lag` says how many transactions a replica may lack that takes over (`max_lag: 10tx`).",
    keys: &[
        required(
            "server",
            Kind::Text,
            "Its name in the agent's own file, which says where its configuration is and how it is run.",
        ),
        default(
            "port",
            Kind::Count {
                least: 1,
                most: 65_535,
            },
            "3306",
            "The port at which replicas reach the primary, at the `address` of its node.",
        ),
        default(
            "user",
            Kind::Text,
            REPLICATOR,
            "The user that replicas, and agents, log in as at the other servers: with `REPLICATION SLAVE`. Its password is a \
             secret that the agent's own file names.",
        ),
    ],
    choice: &[],
    later: &[],
};

static PROCESS: Shape = Shape {
    name: "process",
    doc: "A process that the agent supervises.",
    keys: &[
        required(
            "name",
            Kind::Text,
            "Its name in the agent's own file, which says what is run.",
        ),
        ON,
    ],
    choice: &[],
    later: &[],
};

static EXEC: Shape = Shape {
    name: "exec",
    doc: "Start, stop and check commands of the operator.",
    keys: &[
        required(
            "name",
            Kind::Text,
            "Their name in the agent's own file, which says what is run.",
        ),
        ON,
    ],
    choice: &[],
    later: &[],
};

/// The parts of a service: of every instance, and of the primary alone.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) every: Vec<Part>,
    pub(super) primary: Vec<Part>,
}

/// Reads the parts of a service, in either form.
pub(super) fn parts(section: &Section<'_>, service: &ServiceName) -> Parts {
    let manager = section.get("manager");
    let parts = section.get("parts");
    if let (Some(_), Some(parts)) = (&manager, &parts) {
        parts.report_key(
            Problem::error("this service has both `manager` and `parts`")
                .why("`manager` is the short form of a single part")
                .suggest("make the manager one of the parts"),
        );
    }
    let items = parts.map(|field| field.items()).unwrap_or_default();
    let mut read = Parts::default();
    for field in manager.iter().chain(&items) {
        let Some((part, on_primary)) = part(field, service) else {
            continue;
        };
        if on_primary {
            read.primary.push(part);
        } else if read.primary.is_empty() {
            read.every.push(part);
        } else {
            field.report(
                Problem::error("a part of every instance comes after one of the primary")
                    .why("parts start downwards, and this one runs before there is a primary")
                    .suggest("put it above the first part with `on: primary`, or write `on: primary` here as well"),
            );
        }
    }
    read
}

/// A part, and whether it is the primary's.
fn part(field: &Field<'_>, service: &ServiceName) -> Option<(Part, bool)> {
    /// What the section says, and where the part runs.
    fn read(
        section: &Section<'_>,
        key: &'static str,
        body: impl FnOnce(&Section<'_>) -> Option<Part>,
    ) -> Option<(Part, bool)> {
        section
            .optional(key, |section| {
                let on_primary = section.get("on").is_some();
                // Read in any case: a wrong word is a problem.
                let _: Option<Side> = section.word("on");
                body(section).map(|part| (part, on_primary))
            })
            .flatten()
    }
    field.section(&PART, |section| {
        let found = [
            read(section, "systemd", |systemd| {
                let unit = systemd.get("unit").and_then(|field| unit(&field))?;
                Some(Part::Systemd { unit })
            }),
            read(section, "process", |process| {
                Some(Part::Process {
                    name: process.name("name")?,
                })
            }),
            read(section, "exec", |exec| {
                Some(Part::Exec {
                    name: exec.name("name")?,
                })
            }),
            read(section, "ocf", |ocf| {
                ocf::resource(ocf, service).map(Part::Ocf)
            }),
            // There is no other place for it.
            read(section, "address", address).map(|(part, _)| (part, true)),
            // It runs everywhere, and is promoted.
            section
                .optional("postgres", postgres)
                .flatten()
                .map(|part| (part, false)),
            section
                .optional("redis", redis)
                .flatten()
                .map(|part| (part, false)),
            section
                .optional("mariadb", mariadb)
                .flatten()
                .map(|part| (part, false)),
        ];
        found.into_iter().flatten().next()
    })
}

/// Reads a PostgreSQL server.
fn postgres(section: &Section<'_>) -> Option<Part> {
    // Each is read, whatever is wrong with the others.
    let cluster = section.name("cluster");
    let port = section.count("port");
    let user = section.text("user");
    let synchronous: Option<Synchronous> = section.word("synchronous");
    let rejoin: Option<Rejoin> = section.word("rejoin");
    Some(Part::Postgres(Postgres {
        cluster: cluster?,
        port: port.and_then(|port| u16::try_from(port).ok())?,
        user: user.unwrap_or_else(|| REPLICATOR.to_owned()),
        synchronous: synchronous.unwrap_or_default(),
        rejoin: rejoin.unwrap_or_default(),
    }))
}

/// Reads a Redis server.
fn redis(section: &Section<'_>) -> Option<Part> {
    // Each is read, whatever is wrong with the others.
    let server = section.name("server");
    let port = section.count("port");
    let rejoin: Option<Rejoin> = section.word("rejoin");
    Some(Part::Redis(Redis {
        server: server?,
        port: port.and_then(|port| u16::try_from(port).ok())?,
        rejoin: rejoin.unwrap_or_default(),
    }))
}

/// Reads a MariaDB server.
fn mariadb(section: &Section<'_>) -> Option<Part> {
    // Each is read, whatever is wrong with the others.
    let server = section.name("server");
    let port = section.count("port");
    let user = section.text("user");
    Some(Part::Mariadb(Mariadb {
        server: server?,
        port: port.and_then(|port| u16::try_from(port).ok())?,
        user: user.unwrap_or_else(|| REPLICATOR.to_owned()),
    }))
}

/// Reads an address.
fn address(section: &Section<'_>) -> Option<Part> {
    let ip = section.get("ip").and_then(|field| cidr(&field));
    let interface = section.get("interface").and_then(|field| {
        let text = field.text()?;
        if FloatingAddress::is_interface(text) {
            return Some(text.to_owned());
        }
        field.report(
            Problem::error(format!("{} is not the name of an interface", quoted(text)))
                .why("the kernel takes up to 15 characters without spaces, `/` and `:`"),
        );
        None
    });
    let whole_interface = section.flag("whole_interface");
    let ((ip, prefix), interface) = (ip?, interface?);
    Some(Part::Address(FloatingAddress {
        ip,
        prefix,
        interface,
        whole_interface,
    }))
}

fn cidr(field: &Field<'_>) -> Option<(IpAddr, u8)> {
    let text = field.text()?;
    let (ip, prefix) = text.split_once('/').unwrap_or((text, ""));
    let Ok(ip) = ip.parse::<IpAddr>() else {
        field.report(
            Problem::error(format!("{} is not an address", quoted(text)))
                .suggest("write it with the length of its prefix, such as 10.1.0.10/24"),
        );
        return None;
    };
    let longest = FloatingAddress::longest_prefix(ip);
    match prefix.parse::<u8>() {
        Ok(prefix) if (1..=longest).contains(&prefix) => Some((ip, prefix)),
        _ => {
            field.report(
                Problem::error(format!("{} has no length of its prefix", quoted(text)))
                    .why(format!("the length is a number from 1 to {longest}"))
                    .suggest(format!(
                        "write {ip}/{longest} if it is an address of its own"
                    )),
            );
            None
        }
    }
}

/// The suffixes of units that can be started and stopped (systemd.unit(5)).
const SUFFIXES: [&str; 7] = [
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "timer",
    "path",
];

/// Reads the name of a systemd unit. The characters are those of systemd.unit(5).
pub(super) fn unit(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let (stem, suffix) = text.rsplit_once('.').unwrap_or((text, ""));
    if text.len() > 255 || !text.bytes().all(allowed) || stem.is_empty() {
        field.report(
            Problem::error(format!(
                "{} is not the name of a systemd unit",
                quoted(text)
            ))
            .why("it is made of letters, digits and any of : - _ . \\ @"),
        );
        return None;
    }
    if text.starts_with('-') {
        field.report(
            Problem::error(format!(
                "{} is not the name of a unit that can be operated",
                quoted(text)
            ))
            .why("what begins with '-' is taken for an option"),
        );
        return None;
    }
    if !SUFFIXES.contains(&suffix) {
        field.report(
            Problem::error(format!(
                "the unit {} has no suffix that systemd knows",
                quoted(text)
            ))
            .why(format!(
                "units that can be operated end in one of {}",
                SUFFIXES.join(", ")
            ))
            .suggest(format!(
                "did you mean {}?",
                quoted(&format!("{text}.service"))
            )),
        );
        return None;
    }
    Some(text.to_owned())
}
