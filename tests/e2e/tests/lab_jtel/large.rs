//! "Large V2": thirteen machines.
//!
//! Seen to fail: with `start: none` on the edge from `dbm` to `lb` the startup is out of order, with `stop: issued` on
//! the edge from `dbs` to `dbm` the shutdown is. With a plain connection as the gate `lb.database` it stays green with all
//! databases dead.

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::Journal;
use interlock_e2e::{Host, Lab, Machine, eventually};

use crate::SOON;
use crate::hosts::{self, Database};
use crate::site::{self, Site};

const SPEC: &str = include_str!("../../../../deploy/clusters/jtel-large-v2.yaml");

/// The machines, with the last octet of their addresses, as in the spec.
const NODES: [(&str, u8); 13] = [
    ("store", 11),
    ("lb1", 21),
    ("lb2", 22),
    ("dbm1", 31),
    ("dbm2", 32),
    ("dbs1", 41),
    ("dbs2", 42),
    ("tel1", 51),
    ("tel2", 52),
    ("jb1", 61),
    ("jb2", 62),
    ("jb3", 63),
    ("jb4", 64),
];

/// Web and telephony.
const CONSUMERS: [(&str, &str); 6] = [
    ("jb", "jb1"),
    ("jb", "jb2"),
    ("jb", "jb3"),
    ("jb", "jb4"),
    ("tel", "tel1"),
    ("tel", "tel2"),
];

/// The virtual address of the load balancers.
const VIRTUAL: u8 = 20;

/// Puts on a machine what it runs in the call centre.
fn furnish(lab: &Lab, host: &Host) -> Result<()> {
    let at = |number: u8| format!("{}{number}", lab.network());
    let (database, share) = (format!("{}:3306", at(VIRTUAL)), "/home/jtel/shared/.alive");
    match host.name() {
        "store" => hosts::store(host),
        "lb1" | "lb2" => {
            let (dbm1, dbm2) = (format!("{}:3306", at(31)), format!("{}:3306", at(32)));
            let web: Vec<(String, String)> = (1..=4)
                .map(|n| (format!("jb{n}"), format!("{}:8080", at(60 + n))))
                .collect();
            let web: Vec<(&str, &str)> = web
                .iter()
                .map(|(name, to)| (name.as_str(), to.as_str()))
                .collect();
            hosts::load_balancer(host, &[("dbm2", &dbm2), ("dbm1", &dbm1)], &web)?;
            hosts::virtual_address(host, &at(VIRTUAL))
        }
        "dbm2" => {
            hosts::watched(host)?;
            hosts::database(host, Database::Writable(host.number()))
        }
        "dbm1" | "dbs1" | "dbs2" => {
            hosts::watched(host)?;
            hosts::database(host, Database::ReadOnly(host.number(), &at(32)))
        }
        name => {
            hosts::mounted_share(host, &at(11))?;
            if name.starts_with("jb") {
                hosts::web(host, &database, share)
            } else {
                hosts::telephony(host, &database, share)
            }
        }
    }
}

#[test]
fn a_call_centre_goes_down_and_comes_up_in_order_and_remembers_which_side_was_active() -> Result<()>
{
    let Some(lab) = site::open("jtel-large")? else {
        return Ok(());
    };
    let spec = site::adapted(SPEC, &lab, &NODES)?;
    let site = Site::build(&lab, "jtel-large-v2", &spec, &NODES, &[], |host| {
        furnish(&lab, host)
    })?;

    // Nothing was ever active here: without a word about it there is no plan, not a guess.
    let said = site.cluster.run_to(
        interlock_e2e::cluster::NO_PLAN,
        &["plan", "startup", "--all"],
    )?;
    ensure!(said.contains("dbm") && said.contains("lb"), "{said}");

    let started = site.start_and_approve(&["--assume-active", "lb=lb2,dbm=dbm2"])?;
    assert_started_in_order(&started)?;
    assert_red_without_databases(&lab, &site)?;
    assert_in_service(&lab, &site)?;
    let boots: Vec<u32> = site.hosts().map(|host| host.boots()).collect();
    ensure!(boots.iter().all(|boots| *boots == 1), "{boots:?}");

    let stopped = site.operate(&["shutdown", "--all"])?;
    assert_stopped_in_order(&site.cluster.journal(&stopped)?)?;
    // An orderly end, not a pulled plug.
    site.went_off()?;

    let again = site.start_and_approve(&[])?;
    assert_started_in_order(&again)?;
    assert_in_service(&lab, &site)?;
    lab.close()
}

/// The right half of the operators' list, with lb2 and dbm2 the active ones.
fn assert_started_in_order(journal: &Journal) -> Result<()> {
    for (later, earlier) in [
        ("power-on:lb2", "start:store@store"),
        ("power-on:lb1", "start:lb@lb2"),
        ("power-on:dbm2", "start:lb@lb1"),
        ("power-on:dbm1", "start:dbm@dbm2"),
        ("power-on:dbs2", "start:dbm@dbm1"),
        ("power-on:dbs1", "start:dbs@dbs2"),
    ] {
        journal.waited(later, earlier, "up")?;
    }
    let call = journal
        .entries()
        .iter()
        .position(|entry| entry.what == "approved");
    for (service, node) in CONSUMERS {
        journal.waited(&format!("power-on:{node}"), "start:dbs@dbs1", "up")?;
        journal.waited(&format!("power-on:{node}"), "start:store@store", "healthy")?;
        let healthy = journal.reached(&format!("start:{service}@{node}"), "healthy")?;
        ensure!(
            call.is_some_and(|call| healthy < call),
            "{node} was not healthy before the test call"
        );
        // Web and telephony are in no order with each other.
        for (other_service, other) in CONSUMERS.iter().filter(|(_, other)| *other != node) {
            journal.did_not_wait(
                &format!("power-on:{node}"),
                &format!("start:{other_service}@{other}"),
                "up",
            )?;
        }
    }
    for (node, _) in NODES {
        ensure!(
            journal
                .proof(&format!("power-on:{node}"))?
                .detail
                .contains("boot"),
            "{node}: no new boot is the proof"
        );
    }
    Ok(())
}

/// The left half of the list.
fn assert_stopped_in_order(journal: &Journal) -> Result<()> {
    for (service, node) in CONSUMERS {
        let stop = format!("stop:{service}@{node}");
        journal.waited("stop:dbs@dbs1", &stop, "issued")?;
        journal.waited("stop:store@store", &format!("power-off:{node}"), "down")?;
    }
    // The slaves need not wait until anything is down, only until it is issued.
    let last_down = CONSUMERS
        .iter()
        .map(|(_, node)| journal.reached(&format!("power-off:{node}"), "down"))
        .collect::<Result<Vec<_>>>()?;
    let last_down = last_down.into_iter().max().unwrap_or_default();
    ensure!(
        journal.intent("stop:dbs@dbs1")? < last_down,
        "the slaves waited for web and telephony:\n{journal}"
    );
    journal.waited("stop:dbs@dbs2", "stop:dbs@dbs1", "issued")?;
    journal.did_not_wait("stop:dbs@dbs2", "power-off:dbs1", "down")?;
    for (later, earlier) in [
        ("stop:dbm@dbm1", "power-off:dbs1"),
        ("stop:dbm@dbm1", "power-off:dbs2"),
        ("stop:dbm@dbm2", "power-off:dbm1"),
        ("stop:lb@lb1", "power-off:dbm2"),
        ("stop:lb@lb2", "power-off:lb1"),
        ("stop:store@store", "power-off:lb2"),
    ] {
        journal.waited(later, earlier, "down")?;
    }
    // Each step took its conditions in order: told, going down, down.
    for step in journal
        .entries()
        .iter()
        .filter(|entry| entry.what == "intent")
    {
        let (issued, down) = (
            journal.reached(&step.step, "issued")?,
            journal.reached(&step.step, "down")?,
        );
        let going = journal.reached(&step.step, "going-down")?;
        ensure!(issued <= going && going <= down, "{}: {journal}", step.step);
    }
    for (node, _) in NODES {
        let proof = &journal.proof(&format!("power-off:{node}"))?.detail;
        ensure!(
            proof.contains("off"),
            "{node}: the power source is not the proof: {proof}"
        );
    }
    Ok(())
}

/// With all databases dead the load balancer still takes connections, and the consumers' gate is red; not any more when they
/// are back.
fn assert_red_without_databases(lab: &Lab, site: &Site<'_>) -> Result<()> {
    let gates_are = |wanted: &str| {
        eventually(&format!("lb.database to be {wanted}"), SOON, || {
            for (_, node) in CONSUMERS {
                let verdict = site.verdict(node, "lb.database")?;
                ensure!(verdict == wanted, "{node}: {verdict}");
            }
            Ok(())
        })
    };
    gates_are("ok")?;
    for master in ["dbm1", "dbm2"] {
        site.host(master)?
            .exec(&["systemctl", "stop", "mariadb.service"])?;
    }
    gates_are("bad")?;
    let address = format!("{}{VIRTUAL}", lab.network());
    let connects = ["nc", "-z", "-w", "2", &address, "3306"];
    site.host("jb1")?
        .exec(&connects)
        .context("the load balancer takes no connection: a connection would do as a gate")?;
    for master in ["dbm2", "dbm1"] {
        site.host(master)?
            .exec(&["systemctl", "start", "mariadb.service"])?;
    }
    gates_are("ok")
}

/// Everything works, where it is used, and the cluster says so.
fn assert_in_service(lab: &Lab, site: &Site<'_>) -> Result<()> {
    for (service, active) in [("lb", "lb2"), ("dbm", "dbm2")] {
        eventually(&format!("{service} to be active on {active}"), SOON, || {
            let seen = site.cluster.service(service)?;
            ensure!(seen["active"] == active, "{seen:#}");
            Ok(())
        })?;
    }
    eventually("every service to be ok", SOON, || {
        let status = site.cluster.ask(&["status"])?;
        let services = status["services"].as_array().context("no services")?;
        ensure!(
            services.len() == 8 && services.iter().all(|seen| seen["state"] == "ok"),
            "{:#}",
            status["services"]
        );
        ensure!(
            status["causes"] == serde_json::json!([]),
            "{:#}",
            status["causes"]
        );
        Ok(())
    })?;
    // The gates ran where the consumer is: each one's own agent has their results.
    for (_, node) in CONSUMERS {
        let seen = site.cluster.node(node)?;
        for check in ["store.share", "lb.database"] {
            let checks = seen["checks"].as_array().context("no checks")?;
            let green = checks
                .iter()
                .any(|seen| seen["check"] == check && seen["verdict"] == "ok");
            ensure!(green, "{check} is not green on {node}: {seen:#}");
        }
    }
    // A call that a web server writes through the load balancer arrives on both slaves.
    let call = site.host("jb1")?.boots().to_string();
    let held = site
        .host("lb2")?
        .exec(&["ip", "-brief", "address", "show", "dev", "host0"])?;
    let virtual_address = format!("{}{VIRTUAL}", lab.network());
    ensure!(
        held.contains(&format!("{virtual_address}/")),
        "lb2 has no virtual address: {held}"
    );
    let insert = format!("INSERT INTO jtel.calls (caller) VALUES ('{call}')");
    let client = ["mariadb", "--user=jtel", "--password=jtel"];
    let host = format!("--host={virtual_address}");
    site.host("jb1")?
        .exec(&[&client[..], &[host.as_str(), "-e", insert.as_str()]].concat())?;
    let select = format!("SELECT COUNT(*) FROM jtel.calls WHERE caller='{call}'");
    for slave in ["dbs1", "dbs2", "dbm1"] {
        eventually(&format!("the call on {slave}"), SOON, || {
            let count = site.host(slave)?.exec(&["mariadb", "-Ne", &select])?;
            ensure!(count.trim() == "1", "{slave} has {count}");
            Ok(())
        })?;
    }
    Ok(())
}
