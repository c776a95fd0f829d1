//! The Collaboration Server: nine machines, one of them the management node.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{Journal, SOON, Site, adapt};
use interlock_e2e::{Host, Lab, Machine as _, eventually};

use crate::hosts;

const SPEC: &str = include_str!("../../../../deploy/clusters/mstr.yaml");
const INSTANCE: &str = include_str!("../../stand-ins/mstr_collaboration.py");
const CLIENT: &str = include_str!("client.py");

/// The network of the spec.
const NETWORK: [u8; 3] = [10, 8, 0];

/// The machines, with the last octet of their addresses, as in the spec.
const NODES: [(&str, u8); 8] = [
    ("redis1", 11),
    ("db1", 12),
    ("is1", 21),
    ("lib1", 31),
    ("lb1", 41),
    ("collab1", 51),
    ("collab2", 52),
    ("collab3", 53),
];

const INSTANCES: [&str; 3] = ["collab1", "collab2", "collab3"];

/// The password of the instances' database.
const PASSWORD: &str = "open-sesame";

/// The load balancer's file of members, as the spec says that it is at first.
const MEMBERS: &str = "upstream collaboration {\n    ip_hash;\n    server 10.8.0.51:3000 down;\n    \
                       server 10.8.0.52:3000 down;\n    server 10.8.0.53:3000 down;\n}\n";
const MEMBERS_AT: &str = "/etc/nginx/conf.d/collaboration.conf";

/// What it does besides. A header says who has served.
const DOOR: &str = "server {\n listen 80 default_server;\n add_header X-Served $upstream_addr always;\n \
                    location /status { proxy_pass http://collaboration; }\n location /socket.io/ {\n  \
                    proxy_pass http://collaboration;\n  proxy_http_version 1.1;\n  \
                    proxy_set_header Upgrade $http_upgrade;\n  proxy_set_header Connection \"upgrade\";\n }\n \
                    location /api { proxy_pass http://10.8.0.31:8080; }\n}\n";

/// Puts on a machine what it runs.
fn furnish(host: &Host) -> Result<()> {
    match host.name() {
        "redis1" => hosts::redis(host, &INSTANCES),
        "db1" => hosts::postgres(host, "mstr_collab", "mstr_collab", PASSWORD),
        "is1" => hosts::listener(host, "microstrategy-intelligence.service", 34952),
        "lib1" => hosts::listener(host, "tomcat.service", 8080),
        "lb1" => {
            host.put_file(MEMBERS_AT, MEMBERS.as_bytes(), 0o644)?;
            // Where the link in sites-enabled leads to.
            host.put_file("/etc/nginx/sites-available/default", DOOR.as_bytes(), 0o644)
        }
        name if name.starts_with("collab") => {
            host.put_file("/etc/interlock/secrets/mstr-db", PASSWORD.as_bytes(), 0o600)?;
            host.put_file(
                "/etc/collab/config",
                b"{ \"logging\": { \"level\": \"info\" } }\n",
                0o640,
            )?;
            let arguments = format!(
                "--listen {}:3000 --redis 10.8.0.11:6379 --database 10.8.0.12:5432 --login \
                 mstr_collab:mstr_collab:{PASSWORD} --user {name} --config /etc/collab/config --log /var/log/collab.log",
                host.address()
            );
            hosts::stand_in(host, "mstr-collab.service", INSTANCE, &arguments)
        }
        _ => Ok(()),
    }
}

#[test]
fn a_collaboration_server_is_started_restarted_one_by_one_and_switched_off() -> Result<()> {
    let Some(lab) = Lab::open_in("mstr", NETWORK)? else {
        return Ok(());
    };
    let spec = adapt(SPEC, "mstr-", &lab.network(), &NODES)?;
    let site = Site::build(&lab, "mstr", &spec, &NODES, &[], furnish)?;

    let started = site.operate(&["startup", "--all"])?;
    assert_started_in_order(&site.cluster.journal(&started)?)?;
    assert_in_service(&site)?;
    restart_under_a_client(&lab, &site)?;
    assert_in_service(&site)?;

    let stopped = site.operate(&["shutdown", "--all"])?;
    assert_stopped_in_order(&site.cluster.journal(&stopped)?)?;
    site.went_off()?;
    assert_nobody_lost_anything(&site)?;
    lab.close()
}

/// The four waves of the spec.
fn assert_started_in_order(journal: &Journal) -> Result<()> {
    journal.waited("power-on:lib1", "start:intelligence@is1", "healthy")?;
    journal.waited("power-on:lb1", "start:library@lib1", "healthy")?;
    for node in INSTANCES {
        let on = format!("power-on:{node}");
        journal.waited(&on, "start:lb@lb1", "healthy")?;
        // Their checks are the consumers' alone: what the instance itself asks is waited for before its start.
        for store in ["start:redis@redis1", "start:db@db1"] {
            journal.waited(&on, store, "up")?;
        }
        let (start, admit) = (
            format!("start:collab@{node}"),
            format!("admit:collab@{node}:lb@lb1"),
        );
        journal.waited(&admit, &start, "healthy")?;
    }
    for (node, _) in NODES {
        let proof = &journal.proof(&format!("power-on:{node}"))?.detail;
        ensure!(proof.contains("boot"), "{node}: no new boot: {proof}");
    }
    Ok(())
}

/// Everything works, where it is used, and the cluster says so.
fn assert_in_service(site: &Site<'_>) -> Result<()> {
    site.wait_well()?;
    for node in INSTANCES {
        for check in ["redis.works", "db.works"] {
            let verdict = site.verdict(node, check)?;
            ensure!(verdict == "ok", "{check} is {verdict} on {node}");
        }
    }
    // From the Library, through the load balancer.
    for check in ["door.status", "door.sockets"] {
        eventually(check, SOON, || {
            let verdict = site.verdict("lib1", check)?;
            ensure!(verdict == "ok", "it is {verdict}");
            Ok(())
        })?;
    }
    let members = site.host("lb1")?.read_file(MEMBERS_AT)?;
    let members = String::from_utf8_lossy(&members);
    ensure!(!members.contains("down"), "{members}");
    Ok(())
}

/// The instances are restarted one by one, and the one that a client is at waits for him.
fn restart_under_a_client(lab: &Lab, site: &Site<'_>) -> Result<()> {
    let processes = || {
        let began = INSTANCES.map(|node| hosts::began(site.host(node)?, "mstr-collab.service"));
        began.into_iter().collect::<Result<Vec<_>>>()
    };
    let before = processes()?;
    let mut client = lab
        .command(&["/usr/bin/python3", "-u", "-c", CLIENT, "10.8.0.41"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the client")?;
    let mut served = String::new();
    let said = client.stdout.take().context("no standard output")?;
    BufReader::new(said).read_line(&mut served)?;
    let node = INSTANCES
        .iter()
        .zip(51..)
        .find(|(_, number)| served.trim() == format!("10.8.0.{number}:3000"))
        .map(|(node, _)| *node)
        .with_context(|| format!("{served:?} serves the client"))?;

    let operation = site.begin(&["restart", "--service", "collab"])?;
    let drain = format!("drain:collab@{node}:lb@lb1");
    let step = |name: &str| {
        let shown = site.cluster.ask(&["operation", "show", &operation])?;
        let steps = shown["steps"].as_array().context("no steps")?.iter();
        let found = steps.clone().find(|step| step["step"] == name);
        found
            .cloned()
            .with_context(|| format!("no {name}: {shown:#}"))
    };
    eventually(&format!("{drain} to wait for the client"), SOON, || {
        let seen = step(&drain)?;
        ensure!(seen.to_string().contains("1 session"), "{seen:#}");
        Ok(())
    })?;
    let members = site.host("lb1")?.read_file(MEMBERS_AT)?;
    let members = String::from_utf8_lossy(&members).into_owned();
    ensure!(
        members.contains(&format!("server {} down;", served.trim()))
            && members.matches("down").count() == 1,
        "{members}"
    );
    ensure!(
        client.try_wait()?.is_none(),
        "the client was thrown out, and was to be waited for"
    );
    drop(client.stdin.take());
    ensure!(client.wait()?.success(), "the client lost its connection");
    site.wait_state(&operation, "done")?;

    let journal = site.cluster.journal(&operation)?;
    let mut order = Vec::new();
    for node in INSTANCES {
        let (drain, stop) = (
            format!("drain:collab@{node}:lb@lb1"),
            format!("stop:collab@{node}"),
        );
        let (start, admit) = (
            format!("start:collab@{node}"),
            format!("admit:collab@{node}:lb@lb1"),
        );
        let left = &journal.proof(&drain)?.detail;
        ensure!(left.contains("no session left"), "{node}: {left}");
        journal.waited(&stop, &drain, "down")?;
        journal.waited(&admit, &start, "healthy")?;
        order.push((journal.intent(&drain)?, drain, admit));
    }
    order.sort();
    for pair in order.windows(2) {
        journal.waited(&pair[1].1, &pair[0].2, "up")?;
    }
    for (node, (before, after)) in INSTANCES.iter().zip(before.iter().zip(processes()?)) {
        ensure!(*before < after, "{node} was not restarted");
        ensure!(site.host(node)?.boots() == 1, "{node} was booted again");
    }
    Ok(())
}

/// The reverse, and each machine off by the word of its power source.
fn assert_stopped_in_order(journal: &Journal) -> Result<()> {
    for node in INSTANCES {
        for later in ["stop:lb@lb1", "stop:redis@redis1", "stop:db@db1"] {
            journal.waited(later, &format!("power-off:{node}"), "down")?;
        }
    }
    journal.waited("stop:library@lib1", "power-off:lb1", "down")?;
    journal.waited("stop:intelligence@is1", "power-off:lib1", "down")?;
    for (node, _) in NODES {
        let proof = &journal.proof(&format!("power-off:{node}"))?.detail;
        ensure!(
            proof.contains("off"),
            "{node}: the power source is not the proof: {proof}"
        );
    }
    Ok(())
}

/// By what the instances have logged, and the database at its end.
fn assert_nobody_lost_anything(site: &Site<'_>) -> Result<()> {
    for node in INSTANCES {
        let log = site.host(node)?.read_file("/var/log/collab.log")?;
        let log = String::from_utf8_lossy(&log);
        ensure!(
            log.ends_with("ended\n") && !log.contains("lost"),
            "{node}: {log}"
        );
    }
    let log = site
        .host("db1")?
        .read_file("/var/log/postgresql/postgresql-15-main.log")?;
    let log = String::from_utf8_lossy(&log);
    ensure!(log.contains("database system is shut down"), "{log}");
    Ok(())
}
