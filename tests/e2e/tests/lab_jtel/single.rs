//! The non-redundant system: seven machines, of which any but a web server is the only one of its kind.
//!
//! Its edges wait less than those of the larger systems ("not waited for" is `issued`), and parts of it are stopped,
//! restarted and rebooted on their own: a service, a machine, a host.
//!
//! Seen to fail: with `stop: down` on the edge from `dbm` to `dbs` the shutdown waits where it must not; without
//! `at_least` the web servers may all be stopped at once.

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{Journal, NO_PLAN};
use interlock_e2e::{Host, Lab, Machine, eventually};

use crate::SOON;
use crate::hosts::{self, Database};
use crate::site::{self, Site};

const SPEC: &str = include_str!("../../../../deploy/clusters/jtel-nonredundant.yaml");

/// The machines, with the last octet of their addresses, as in the spec.
const NODES: [(&str, u8); 7] = [
    ("store", 11),
    ("lb", 21),
    ("dbm", 31),
    ("dbs", 41),
    ("tel1", 51),
    ("jb1", 61),
    ("jb2", 62),
];

/// Web and telephony.
const CONSUMERS: [(&str, &str); 3] = [("jb", "jb1"), ("jb", "jb2"), ("tel", "tel1")];

fn furnish(lab: &Lab, host: &Host) -> Result<()> {
    let at = |number: u8| format!("{}{number}", lab.network());
    let (database, share) = (format!("{}:3306", at(21)), "/home/jtel/shared/.alive");
    match host.name() {
        "store" => hosts::store(host),
        "lb" => hosts::load_balancer(
            host,
            &[("dbm", &format!("{}:3306", at(31)))],
            &[
                ("jb1", &format!("{}:8080", at(61))),
                ("jb2", &format!("{}:8080", at(62))),
            ],
        ),
        "dbm" => hosts::database(host, Database::Writable(31)),
        "dbs" => hosts::database(host, Database::ReadOnly(41, &at(31))),
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
fn parts_of_a_call_centre_are_stopped_restarted_and_rebooted_on_their_own() -> Result<()> {
    let Some(lab) = site::open("jtel-single")? else {
        return Ok(());
    };
    let spec = site::adapted(SPEC, &lab, &NODES)?;
    let site = Site::build(&lab, "jtel-nonredundant", &spec, &NODES, &[], |host| {
        furnish(&lab, host)
    })?;

    assert_started_in_order(&site.start_and_approve(&[])?)?;
    // What telephony and web wait for of the load balancer is asked on their own machines.
    for (_, node) in CONSUMERS {
        let seen = site.verdict(node, "lb.database")?;
        ensure!(seen == "ok", "the databases through lb from {node}: {seen}");
    }
    one_service(&site)?;
    one_machine(&site)?;
    one_host(&site)?;
    one_after_the_other(&site)?;

    let stopped = site.operate(&["shutdown", "--all"])?;
    assert_stopped_in_order(&site.cluster.journal(&stopped)?)?;
    site.went_off()?;
    lab.close()
}

/// A service is stopped and started, and no machine is switched.
fn one_service(site: &Site<'_>) -> Result<()> {
    let said = site
        .cluster
        .run(&["plan", "shutdown", "--service", "dbs"])?;
    ensure!(
        said.contains("included: tel@tel1: it requires dbs") && !said.contains("power-off"),
        "what needs the slave goes before it, and no machine does: {said}"
    );
    site.operate(&["shutdown", "--service", "tel"])?;
    ensure!(site.host("tel1")?.is_on(), "the machine was switched off");
    assert_unit(site.host("tel1")?, "tel.service", "inactive")?;
    site.start(&["--service", "tel"])?;
    wait_healthy(site, "tel")
}

/// A machine is shut down and switched on, and the others work on.
fn one_machine(site: &Site<'_>) -> Result<()> {
    let before = main_pid(site.host("jb1")?)?;
    let stopped = site.operate(&["shutdown", "--node", "jb2"])?;
    let journal = site.cluster.journal(&stopped)?;
    journal.waited("power-off:jb2", "stop:jb@jb2", "down")?;
    ensure!(
        site.host("jb2")?.wait_off(SOON)?.success(),
        "jb2 was not shut down by itself"
    );
    let said = site.cluster.run(&["plan", "shutdown", "--node", "jb1"])?;
    ensure!(
        said.contains("nothing of it is left"),
        "the last web server: {said}"
    );
    site.start(&["--node", "jb2"])?;
    wait_healthy(site, "jb")?;
    ensure!(
        main_pid(site.host("jb1")?)? == before,
        "jb1 was restarted, although it was not meant"
    );
    Ok(())
}

/// All machines of a hypervisor, and no other.
fn one_host(site: &Site<'_>) -> Result<()> {
    let boots = |name: &str| Ok::<_, anyhow::Error>(site.host(name)?.boots());
    let others = ["store", "lb", "dbm", "dbs", "jb1"];
    let before = others.map(boots);
    site.operate(&["shutdown", "--host", "vmhost2"])?;
    for name in ["jb2", "tel1"] {
        ensure!(
            site.host(name)?.wait_off(SOON)?.success(),
            "{name} was not shut down by itself"
        );
    }
    for name in others {
        ensure!(site.host(name)?.is_on(), "{name} is off");
    }
    site.start(&["--host", "vmhost2"])?;
    wait_healthy(site, "jb")?;
    wait_healthy(site, "tel")?;
    for (name, before) in others.iter().zip(before) {
        ensure!(boots(name)? == before?, "{name} was booted");
    }
    Ok(())
}

/// Web servers are restarted, and their machines rebooted, one by one: the next when the one before is healthy.
fn one_after_the_other(site: &Site<'_>) -> Result<()> {
    let restarted = site.operate(&["restart", "--service", "jb", "--batch", "1"])?;
    let journal = site.cluster.journal(&restarted)?;
    journal.waited("stop:jb@jb2", "start:jb@jb1", "healthy")?;
    let said = site.cluster.run_to(
        NO_PLAN,
        &["plan", "restart", "--service", "jb", "--batch", "2"],
    )?;
    ensure!(
        said.contains("at least 1 must stay"),
        "both at once: {said}"
    );

    let boots = |name: &str| Ok::<_, anyhow::Error>(site.host(name)?.boots());
    let (jb1, jb2) = (boots("jb1")?, boots("jb2")?);
    let rebooted = site.operate(&["reboot", "--node", "jb1,jb2", "--batch", "1"])?;
    let journal = site.cluster.journal(&rebooted)?;
    journal.waited("reboot:jb1", "stop:jb@jb1", "down")?;
    journal.waited("start:jb@jb1", "reboot:jb1", "up")?;
    journal.waited("stop:jb@jb2", "start:jb@jb1", "healthy")?;
    ensure!(
        (boots("jb1")?, boots("jb2")?) == (jb1 + 1, jb2 + 1),
        "not each was booted once"
    );
    wait_healthy(site, "jb")
}

fn assert_unit(host: &Host, unit: &str, wanted: &str) -> Result<()> {
    let show = [
        "systemctl",
        "show",
        "--value",
        "--property=ActiveState",
        unit,
    ];
    let state = host.exec(&show)?;
    ensure!(state.trim() == wanted, "{unit} is {state}");
    Ok(())
}

/// The main process of the web server.
fn main_pid(host: &Host) -> Result<String> {
    let show = [
        "systemctl",
        "show",
        "--value",
        "--property=MainPID",
        "wildfly.service",
    ];
    let pid = host.exec(&show)?.trim().to_owned();
    ensure!(pid != "0", "the web server does not run");
    Ok(pid)
}

fn wait_healthy(site: &Site<'_>, service: &str) -> Result<()> {
    eventually(&format!("{service} to be ok"), SOON, || {
        let seen = site.cluster.service(service)?;
        ensure!(seen["state"] == "ok", "{seen:#}");
        Ok(())
    })
}

/// The left half of the table.
fn assert_started_in_order(journal: &Journal) -> Result<()> {
    journal.waited("power-on:lb", "start:store@store", "up")?;
    // Not waited for, but told before.
    journal.waited("power-on:dbm", "start:lb@lb", "issued")?;
    journal.waited("power-on:dbs", "start:dbm@dbm", "up")?;
    for (service, node) in CONSUMERS {
        let on = format!("power-on:{node}");
        journal.waited(&on, "start:dbs@dbs", "up")?;
        journal.waited(&on, "start:store@store", "healthy")?;
        journal.waited(&on, "start:lb@lb", "up")?;
        journal.reached(&format!("start:{service}@{node}"), "healthy")?;
    }
    Ok(())
}

/// The right half.
fn assert_stopped_in_order(journal: &Journal) -> Result<()> {
    for (service, node) in CONSUMERS {
        let off = format!("power-off:{node}");
        journal.waited(&off, &format!("stop:{service}@{node}"), "down")?;
        journal.waited("stop:dbs@dbs", &off, "down")?;
    }
    for (later, earlier) in [
        ("stop:dbm@dbm", "stop:dbs@dbs"),
        ("stop:lb@lb", "stop:dbm@dbm"),
        ("stop:store@store", "stop:lb@lb"),
    ] {
        journal.waited(later, earlier, "issued")?;
    }
    // Databases, load balancer and store are told in order and go down together.
    let store_told = journal.intent("stop:store@store")?;
    let last_off = ["dbs", "dbm", "lb"]
        .iter()
        .map(|node| journal.reached(&format!("power-off:{node}"), "down"))
        .collect::<Result<Vec<_>>>()?;
    let last_off = last_off.into_iter().max().context("no machine")?;
    ensure!(
        store_told < last_off,
        "the store waited until the others were off:\n{journal}"
    );
    Ok(())
}
