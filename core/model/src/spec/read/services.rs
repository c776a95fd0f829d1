//! `services`: what runs on the nodes.

use std::time::Duration;

use super::parts::Parts;
use super::{Section, checks, dependencies, failover, files, members, parts};
use crate::names::{NodeName, ServiceName};
use crate::plan::Wait;
use crate::spec::problem::Problem;
use crate::spec::shape::{Kind, Shape, default, derived, optional};
use crate::spec::{Activity, Boot, GuardPolicy, Sequence, Service};

/// One service.
pub(super) static SERVICE: Shape = Shape {
    name: "service",
    doc: "Something on nodes with start, stop and check. Its copy on one node is an instance.",
    keys: &[
        default(
            "external",
            Kind::Flag,
            "false",
            "It exists outside of the cluster: a gate and a root cause, never operated. It has no nodes and no manager.",
        ),
        optional(
            "nodes",
            Kind::SOME_NAMES,
            "The nodes of its instances. Where instances follow one another and activity does not decide, they start in \
             this order and stop in the reverse.",
        ),
        derived(
            "active",
            Kind::Word {
                words: &["one", "all"],
                later: &[],
            },
            "`all` on a single node; must be given for more",
            "`one`: one instance is primary, the others are standbys; the standby stops first and starts last. `all`: \
             every instance works.",
        ),
        optional(
            "active_when",
            Kind::NAMES,
            "The checks, run from `self`, that are all green on the primary and on no other instance. Otherwise it is \
             unknown which one is primary, and a plan must be told.",
        ),
        optional(
            "manager",
            Kind::Section(&parts::PART),
            "What starts and stops it: the short form of a single part.",
        ),
        optional(
            "parts",
            Kind::SomeOf(&Kind::Section(&parts::PART)),
            "What makes up an instance: started downwards, stopped upwards. Instead of `manager`. None of them is a part of another service on the same node.",
        ),
        optional(
            "requires",
            dependencies::REQUIRES,
            "The services that it needs, as a list, or as a map with wait conditions.",
        ),
        optional(
            "after",
            dependencies::AFTER,
            "The services that only matter for the order: never a root cause. As `requires`.",
        ),
        derived(
            "at_least",
            Kind::Count {
                least: 0,
                most: 10_000,
            },
            "1 for `active: all` on more than one node, otherwise 0",
            "Capacity: the fewest healthy instances that a plan may leave while it keeps the service running.",
        ),
        default(
            "boot",
            Kind::Word {
                words: &["manual", "autostart"],
                later: &[],
            },
            "manual",
            "`autostart`: it comes up with its VM; plans verify it, and restart it if it came before what it requires.",
        ),
        optional(
            "sequence",
            Kind::Section(&SEQUENCE),
            "How its instances follow one another.",
        ),
        optional(
            "checks",
            Kind::MapOf(&Kind::Section(&checks::CHECK)),
            "Its checks, by name.",
        ),
        optional(
            "timeouts",
            Kind::Section(&TIMEOUTS),
            "The time limits of its steps.",
        ),
        optional(
            "guard",
            Kind::Section(&GUARD),
            "How a dead instance is restarted.",
        ),
        optional(
            "balancer",
            Kind::Section(&members::BALANCER),
            "It is a load balancer: how each instance is told which members take part.",
        ),
        optional(
            "member_of",
            Kind::MapOf(&Kind::Section(&members::MEMBERSHIP)),
            "The load balancers that its instances are members of, by service. Plans drain a member before they stop \
             the instance, and admit it when the instance is healthy, on each node where the balancer runs.",
        ),
        optional(
            "files",
            Kind::MapOf(&Kind::Section(&files::FILE)),
            "The files that `restart --config` may write on its nodes, by name. Where each of them lies, who owns it and \
             what checks it, is a matter of the agents' own files.",
        ),
        optional(
            "failover",
            Kind::Section(&failover::FAILOVER),
            "Its lease: who is primary, and how the role moves. Only for `active: one`.",
        ),
    ],
    choice: &[],
    later: &[],
};

static SEQUENCE: Shape = Shape {
    name: "sequence",
    doc: "How the instances of one service follow one another.",
    keys: &[
        derived(
            "start",
            dependencies::START,
            "`up` for `active: one`, otherwise `none`",
            "What the next instance's start waits for on the one before.",
        ),
        derived(
            "stop",
            dependencies::STOP,
            "`down` for `active: one`, otherwise `none`",
            "What the next instance's stop waits for on the one before.",
        ),
    ],
    choice: &[],
    later: &[],
};

static TIMEOUTS: Shape = Shape {
    name: "timeouts",
    doc: "The time limits of a service's steps.",
    keys: &[
        default(
            "start",
            Kind::Duration,
            "5m",
            "The limit of a start, until its manager says running; once more until it is healthy.",
        ),
        default(
            "stop",
            Kind::Duration,
            "5m",
            "The limit of a stop, until its manager says stopped.",
        ),
    ],
    choice: &[],
    later: &[],
};

static GUARD: Shape = Shape {
    name: "guard",
    doc: "How the guard restarts an instance that died: on active and standby alike, within a budget.",
    keys: &[
        default(
            "budget",
            Kind::Count {
                least: 0,
                most: 1000,
            },
            "3",
            "Restarts within `window` before the guard gives up. 0 leaves the restarting to others. A unit whose own \
             file sets `Restart=` is restarted by systemd alone, whatever the budget.",
        ),
        default(
            "window",
            Kind::Duration,
            "10m",
            "The sliding window of the budget.",
        ),
        default(
            "backoff",
            Kind::Duration,
            "1s",
            "The pause before the first restart; doubles with each further one.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads a service.
pub(super) fn service(name: &ServiceName, section: &Section<'_>) -> Service {
    let external = section.flag("external");
    let nodes: Vec<NodeName> = section.names("nodes");
    let active = activity(section, nodes.len());
    let exclusive = active == Activity::One;
    let Parts { every, primary } = parts::parts(section, name);
    if external {
        nothing_to_operate(section);
    } else if section.get("nodes").is_none() && !section.is_absent() {
        section.report(
            Problem::error("this service has no `nodes`")
                .suggest("name its nodes, or write `external: true` if it is not of this cluster"),
        );
    }
    let implied = u32::from(!exclusive && nodes.len() > 1);
    let at_least = section
        .count("at_least")
        .map_or(implied, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let (start, stop) = if exclusive {
        (Wait::Up, Wait::Down)
    } else {
        (Wait::None, Wait::None)
    };
    let (start_within, stop_within) = section.section("timeouts", |limits| {
        let limit = |key| limits.duration(key).unwrap_or_default();
        (limit("start"), limit("stop"))
    });
    Service {
        name: name.clone(),
        external,
        nodes,
        active,
        active_when: section.names("active_when"),
        dependencies: dependencies::dependencies(section),
        at_least,
        boot: section.word("boot").unwrap_or(Boot::Manual),
        sequence: section.section("sequence", |sequence| Sequence {
            start: sequence.word("start").unwrap_or(start),
            stop: sequence.word("stop").unwrap_or(stop),
        }),
        checks: section.map("checks", |_, check| checks::check(check, external)),
        start_within,
        stop_within,
        guard: section.section("guard", guard),
        balancer: section.optional("balancer", members::balancer).flatten(),
        member_of: section.map("member_of", |_, membership| members::membership(membership)),
        files: section.map("files", |_, file| files::file(file)),
        parts: every,
        primary_parts: primary,
        failover: section.optional("failover", failover::failover).flatten(),
    }
}

/// `active` must be said where it makes a difference: to take a pair of databases for two that both work would stop
/// both at once.
fn activity(section: &Section<'_>, nodes: usize) -> Activity {
    if section.get("active").is_none() && nodes > 1 {
        section.report(
            Problem::error("this service does not say how many of its instances are `active`")
                .why(format!("it has {nodes} nodes"))
                .suggest("write `active: one` if one is primary and the others stand by, else `active: all`"),
        );
    }
    section.word("active").unwrap_or(Activity::All)
}

fn nothing_to_operate(section: &Section<'_>) {
    let operated = [
        "nodes",
        "manager",
        "parts",
        "active",
        "active_when",
        "at_least",
        "sequence",
        "guard",
        "timeouts",
        "boot",
        "balancer",
        "member_of",
        "files",
        "failover",
    ];
    for key in operated {
        if let Some(field) = section.get(key) {
            field.report_key(
                Problem::error(format!("an external service has no `{key}`"))
                    .why("it is never operated, only checked")
                    .suggest(format!("remove `{key}`, or `external: true`")),
            );
        }
    }
}

fn guard(section: &Section<'_>) -> GuardPolicy {
    let budget = section
        .count("budget")
        .map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
    GuardPolicy {
        budget,
        window: section.duration("window").unwrap_or(Duration::ZERO),
        backoff: section.duration("backoff").unwrap_or(Duration::ZERO),
    }
}
