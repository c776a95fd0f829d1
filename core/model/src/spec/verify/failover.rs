//! `failover`: what must be so for a lease to protect anything (safety rules E1, E4, E6, E15).

use std::time::Duration;

use super::Facts;
use crate::action::Part;
use crate::lease::{ControlLoss, Costs, Election, VmPause};
use crate::names::ServiceName;
use crate::postgres::Synchronous;
use crate::spec::problem::{Problem, quoted};
use crate::spec::yaml::{Yaml, find};
use crate::spec::{Clients, Failover, Fence, Service, TRANSACTIONS};

/// How long a coordinator waits for an endpoint of etcd that is lost before it asks the next one.
const ENDPOINT: Duration = Duration::from_secs(2);

pub(super) fn verify(facts: &Facts<'_>) {
    for (name, service) in &facts.spec.services {
        if service.external {
            continue;
        }
        match &service.failover {
            Some(failover) => lease(facts, name, service, failover),
            None => nobody_holds(facts, name, service),
        }
    }
}

/// Parts of a primary, where nothing says who that is.
fn nobody_holds(facts: &Facts<'_>, name: &ServiceName, service: &Service) {
    let mut moving = service.parts.iter().filter(|part| part.is_promoted());
    let Some(part) = moving.next().or(service.primary_parts.first()) else {
        return;
    };
    let keys = ["services", name.as_str()];
    if facts.has(&["services", name.as_str(), "failover"]) {
        // It was refused for a reason of its own.
        return;
    }
    facts.error(&keys, || {
        Problem::error(format!(
            "{part} belongs to the primary of {name}, and nothing makes one instance primary"
        ))
        .why("what is the primary's goes where the lease goes")
        .suggest("write `failover: {}` for a lease with the cautious choices, and `active: one`")
    });
}

fn lease(facts: &Facts<'_>, name: &ServiceName, service: &Service, failover: &Failover) {
    let own = ["services", name.as_str(), "failover"];
    if !service.is_exclusive() {
        facts.error(&own, || {
            Problem::error(format!("every instance of {name} is active"))
                .why("a lease is of one")
                .suggest("write `active: one`, or remove `failover`")
        });
        return;
    }
    if service.nodes.len() < 2 {
        facts.error(&own, || {
            Problem::error(format!("the role of {name} can move nowhere"))
                .why("it has one node")
                .suggest("remove `failover`, or name another node")
        });
    }
    if service.primary_parts.is_empty() && !service.parts.iter().any(Part::is_promoted) {
        facts.error(&own, || {
            Problem::error(format!("nothing of {name} moves with its role"))
                .why("none of its parts is the primary's")
                .suggest("write `on: primary` in the parts that only the primary has, or add an `address`")
        });
    }
    if !service.active_when.is_empty() {
        let keys = ["services", name.as_str(), "active_when"];
        facts.error(&keys, || {
            Problem::error(format!(
                "two things say which instance of {name} is primary"
            ))
            .why("it has a lease, and whoever holds it is primary")
            .note(facts.place(&own), "the lease")
            .suggest("remove `active_when`; a check that fails on a primary is an ordinary check")
        });
    }
    clients(facts, name, service, failover);
    data(facts, name, service, failover);
    fence(facts, name, service, failover);
    expiry(facts, name, failover);
    elections(facts, name, failover);
}

fn clients(facts: &Facts<'_>, name: &ServiceName, service: &Service, failover: &Failover) {
    let address = |part: &Part| matches!(part, Part::Address(_));
    if failover.clients == Clients::Address && !service.primary_parts.iter().any(address) {
        let keys = ["services", name.as_str(), "failover", "clients"];
        facts.error(&keys, || {
            Problem::error(format!(
                "{name} has no address that its clients could come by"
            ))
            .suggest("add a part `address: { ip: …, interface: … }`, or write `clients: any`")
        });
    }
}

/// What a standby has to have before it takes over.
fn data(facts: &Facts<'_>, name: &ServiceName, service: &Service, failover: &Failover) {
    let own = ["services", name.as_str(), "failover"];
    let servers = service.parts.iter().filter(|part| part.is_server());
    let servers: Vec<&Part> = servers.collect();
    let lag = find(facts.tree, &[&own[..], &["max_lag"]].concat()).and_then(Yaml::text);
    if let ([server], Some(lag)) = (servers.as_slice(), lag) {
        measure(facts, &[&own[..], &["max_lag"]].concat(), server, lag);
    }
    match servers.as_slice() {
        [] if facts.has(&[&own[..], &["max_lag"]].concat()) => {
            facts.error(&[&own[..], &["max_lag"]].concat(), || {
                Problem::error(format!("nothing of {name} lags"))
                    .why("none of its parts has data that a standby follows")
                    .suggest("remove `max_lag`")
            });
        }
        [server] if failover.automatic && failover.max_lag == 0 && !waits(server) => {
            let suggestion = match server {
                Part::Postgres(_) => "write `max_lag: 16MiB`, or `synchronous: on` in its server",
                Part::Mariadb(_) => "write `max_lag: 10tx`",
                _ => "write `max_lag: 1MiB`",
            };
            facts.warning(&own, || {
                Problem::warning(format!(
                    "{name} moves by itself only while its standby has every write"
                ))
                .why("`max_lag` is nothing, and writes do not wait for a standby")
                .suggest(suggestion)
            });
        }
        [] | [_] => {}
        [_, ..] => facts.error(&["services", name.as_str(), "parts"], || {
            Problem::error(format!("{name} has more than one database server"))
                .why("a lease measures one position")
                .suggest("make each a service of its own")
        }),
    }
}

/// What lags is measured in what its server counts.
fn measure(facts: &Facts<'_>, keys: &[&str], server: &Part, lag: &str) {
    let counted = lag.ends_with(TRANSACTIONS);
    let (why, write) = match (server.mariadb().is_some(), counted) {
        (true, false) => ("a MariaDB server counts transactions", "max_lag: 10tx"),
        (false, true) => ("it counts bytes", "max_lag: 16MiB"),
        (true, true) | (false, false) => return,
    };
    facts.error(keys, || {
        Problem::error(format!("{server} does not lag by {}", quoted(lag)))
            .why(why)
            .suggest(format!("write `{write}`"))
    });
}

/// Do writes to a server ever wait for a standby?
fn waits(server: &Part) -> bool {
    let server = server.postgres();
    server.is_some_and(|server| server.synchronous != Synchronous::Off)
}

/// Who may be switched off has to have a power source that somebody else reaches, and nothing on it that all depend on.
fn fence(facts: &Facts<'_>, name: &ServiceName, service: &Service, failover: &Failover) {
    if failover.fence == Fence::Never {
        return;
    }
    let keys = ["services", name.as_str(), "failover", "fence"];
    for node in service
        .nodes
        .iter()
        .filter_map(|it| facts.spec.nodes.get(it))
    {
        let device = node.power.as_ref();
        let device = device.and_then(|power| facts.spec.power.get(&power.by));
        let why = match device {
            None if node.power.is_some() => continue, // refused for a reason of its own
            None => "it has no power source",
            Some(device) if device.via.iter().all(|via| *via == node.name) => {
                "its power source is reached through itself alone"
            }
            Some(_) if facts.spec.runs_control(node) => {
                "a coordinator or a member of etcd runs on it, and would be switched off with it"
            }
            Some(_) => continue,
        };
        facts.error(&keys, || {
            Problem::error(format!(
                "{} cannot be switched off when it is lost",
                quoted(node.name.as_str())
            ))
            .why(why)
            .suggest("correct that, or write `fence: never`")
        });
    }
}

/// An automatic failover needs a proof that the former primary is over. What gives its role back is one; a machine that is lost
/// gives nothing back, and then it takes an expiry that counts as one, or a power source that is asked for it.
fn expiry(facts: &Facts<'_>, name: &ServiceName, failover: &Failover) {
    if !failover.automatic || failover.fence == Fence::Off {
        return;
    }
    let (why, write) = if failover.on_control_loss == ControlLoss::Hold {
        (
            "with `on_control_loss: hold` a lease never expires, so nothing proves that a lost primary has stopped",
            "on_control_loss: demote",
        )
    } else if failover.vm_pause == VmPause::Possible {
        (
            "with `vm_pause: possible` time proves nothing: a paused primary would go on where it was",
            "vm_pause: accepted",
        )
    } else if failover.clients == Clients::Any {
        (
            "nothing that a spec knows of acts on a node whose agent cannot: its instance would go on taking writes, unless the files of \
             its agents require a watchdog",
            "clients: address",
        )
    } else {
        return;
    };
    let keys = ["services", name.as_str(), "failover", "automatic"];
    facts.warning(&keys, || {
        Problem::warning(format!(
            "{name} moves by itself only when its primary gives the role back, and not when its machine is lost"
        ))
        .why(why)
        .suggest(format!(
            "write `{write}` if that is so, or `fence: off` where its nodes have a power source; else a person moves it then"
        ))
    });
}

fn elections(facts: &Facts<'_>, name: &ServiceName, failover: &Failover) {
    if failover.on_control_loss == ControlLoss::Hold {
        return;
    }
    let control = &facts.spec.control;
    let keys = ["services", name.as_str(), "failover"];
    let election = if control.etcd.is_empty() {
        Election::EMBEDDED
    } else {
        Election::ETCD
    };
    if let Err(bad) = failover.timings.survives(election) {
        facts.error(&keys, || {
            Problem::error(format!("the timings of {name} do not survive the store"))
                .why(bad.to_string())
        });
    }
    if failover.on_control_loss == ControlLoss::Demote {
        absences(facts, name, failover);
    }
}

/// How long a coordinator may be away, and what `demote` makes of it (safety rule E15).
fn absences(facts: &Facts<'_>, name: &ServiceName, failover: &Failover) {
    let control = &facts.spec.control;
    let text = |duration| humantime::format_duration(duration);
    let timings = failover.timings;
    let (renewal, fence) = (timings.renewal(), timings.fence());
    let remedy = "write `on_control_loss: failsafe`: it goes on while all other nodes of the service promise to wait";
    let keys = ["services", name.as_str(), "failover", "on_control_loss"];
    // One of them leads and renews; the next one waits until the hold of a lost one has run out.
    let mut longest = ("another coordinator leads", Costs::EXPECTED.leadership);
    if control.coordinators.len() < 2 {
        longest = ("the next endpoint of etcd is asked", ENDPOINT);
    }
    let needed = renewal + longest.1 + renewal;
    let endpoints = control.etcd.len() > 1;
    if (control.coordinators.len() > 1 || endpoints) && fence < needed {
        facts.warning(&keys, || {
            Problem::warning(format!(
                "{} stops a healthy primary of {name} whenever it takes up to {} until {}",
                quoted("demote"),
                text(longest.1),
                longest.0
            ))
            .why(format!(
                "S would have to be R + {} + R = {} + {} + {} = {}, and it is {}",
                text(longest.1),
                text(renewal),
                text(longest.1),
                text(renewal),
                text(needed),
                text(fence)
            ))
            .suggest(remedy)
        });
    }
    if control.coordinators.len() < 2 {
        facts.warning(&keys, || {
            Problem::warning(format!(
                "{} stops a healthy primary whenever the only coordinator is away for {}",
                quoted("demote"),
                text(fence)
            ))
            .why("there is one coordinator")
            .suggest(remedy)
        });
    }
}
