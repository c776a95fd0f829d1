//! "Small V2": three machines, where web shares one with the storage and comes up before its database.
//!
//! Seen to fail: without `boot: autostart` in the spec, the web server of before the database runs on, and never gets
//! healthy.

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{Journal, enable_unit};
use interlock_e2e::{Host, Lab, Machine};

use crate::hosts::{self, Database};
use crate::site::{self, Site};

const SPEC: &str = include_str!("../../../../deploy/clusters/jtel-small-v2.yaml");

/// The machines, with the last octet of their addresses, as in the spec.
const NODES: [(&str, u8); 3] = [("box1", 11), ("box2", 12), ("tel1", 51)];

fn furnish(lab: &Lab, host: &Host) -> Result<()> {
    let (box1, box2) = (
        format!("{}11", lab.network()),
        format!("{}12", lab.network()),
    );
    let (database, share) = (format!("{box1}:3306"), "/home/jtel/shared/.alive");
    match host.name() {
        "box1" => {
            hosts::store(host)?;
            hosts::mounted_share(host, &box1)?;
            hosts::load_balancer(
                host,
                &[("dbm", &format!("{box2}:3306"))],
                &[("jb", &format!("{box1}:8080"))],
            )?;
            hosts::web(host, &database, share)?;
            enable_unit(host, "wildfly.service")
        }
        "box2" => {
            hosts::database(host, Database::Writable(1))?;
            hosts::second_database(host, 2, &box2)
        }
        _ => {
            hosts::mounted_share(host, &box1)?;
            hosts::telephony(host, &database, share)
        }
    }
}

#[test]
fn a_web_server_that_came_up_before_its_database_is_restarted_once_the_database_is_healthy()
-> Result<()> {
    let Some(lab) = site::open("jtel-small")? else {
        return Ok(());
    };
    let spec = site::adapted(SPEC, &lab, &NODES)?;
    let site = Site::build(&lab, "jtel-small-v2", &spec, &NODES, &[], |host| {
        furnish(&lab, host)
    })?;

    let started = site.start_and_approve(&[])?;
    assert_started_in_order(&started)?;
    // systemd's own word, from one kernel's clock: the web server that runs now is younger than the database.
    let began = |host: &str, unit: &str| -> Result<u64> {
        let show = [
            "systemctl",
            "show",
            "--value",
            "--property=ExecMainStartTimestampMonotonic",
            unit,
        ];
        site.host(host)?
            .exec(&show)?
            .trim()
            .parse()
            .context("systemd says no time")
    };
    let (database, web) = (
        began("box2", "mariadb.service")?,
        began("box1", "wildfly.service")?,
    );
    ensure!(
        database < web,
        "the web server of before the database still runs: {web} µs, the database is of {database}"
    );
    let boot = site.host("box1")?.exec(&[
        "journalctl",
        "--boot",
        "--unit=wildfly.service",
        "--output=cat",
        "--quiet",
    ])?;
    let starts = boot.matches("Started wildfly.service").count();
    ensure!(
        starts == 2,
        "it was started {starts} times, not at boot and by the plan:\n{boot}"
    );
    let health =
        site.host("box1")?
            .exec(&["curl", "-sS", "--fail", "http://127.0.0.1:8080/health"])?;
    ensure!(health.contains("running"), "{health}");
    let table = [
        "mariadb",
        "--socket=/run/mysqld/dbs.sock",
        "-Ne",
        "SHOW TABLES IN jtel",
    ];
    ensure!(
        site.host("box2")?.exec(&table)?.trim() == "calls",
        "the slave does not replicate"
    );

    let stopped = site.operate(&["shutdown", "--all"])?;
    let journal = site.cluster.journal(&stopped)?;
    for (later, earlier) in [
        ("stop:jb@box1", "power-off:tel1"),
        ("stop:dbs@box2", "stop:jb@box1"),
        ("stop:dbm@box2", "stop:dbs@box2"),
        ("power-off:box2", "stop:dbm@box2"),
        ("stop:lb@box1", "power-off:box2"),
        ("stop:store@box1", "stop:lb@box1"),
        ("power-off:box1", "stop:store@box1"),
    ] {
        journal.waited(later, earlier, "down")?;
    }
    site.went_off()?;
    lab.close()
}

/// By service, not by machine: web is the last on the box that comes first.
fn assert_started_in_order(journal: &Journal) -> Result<()> {
    journal.waited("start:store@box1", "power-on:box1", "up")?;
    for (later, earlier) in [
        ("start:lb@box1", "start:store@box1"),
        ("power-on:box2", "start:lb@box1"),
        ("start:dbs@box2", "start:dbm@box2"),
        ("verify:jb@box1", "start:dbs@box2"),
        ("power-on:tel1", "verify:jb@box1"),
    ] {
        journal
            .waited(later, earlier, "healthy")
            .or_else(|_| journal.waited(later, earlier, "up"))?;
    }
    let proof = &journal.proof("verify:jb@box1")?.detail;
    ensure!(
        proof.contains("restarted"),
        "the web server was not restarted: {proof}"
    );
    Ok(())
}
