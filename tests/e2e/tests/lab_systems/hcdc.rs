//! The chat service: eight machines, one of them the management node.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{Journal, SOON, Site, adapt, enable_unit, install_unit};
use interlock_e2e::{Host, Lab, Machine as _, eventually, skip};
use serde_json::json;

use crate::hosts;

const SPEC: &str = include_str!("../../../../deploy/clusters/hcdc.yaml");
const NODE: &str = include_str!("../../stand-ins/hipchat_node.py");
const TIME_SERVER: &str = include_str!("time_server.py");

/// What the spec says of the machines that these are not: Debian has a newer PostgreSQL, and hosts have no NFS. smbnetfs brings
/// nothing safely to a disk (fsync), which the check that writes asks for: the marker is only read, and the nodes write.
const INSTEAD: [(&str, &str); 3] = [
    (
        "marker: /file_store/shared/.interlock, write: true",
        "marker: /file_store/shared/.interlock",
    ),
    ("postgresql@9.5-main", "postgresql@15-main"),
    (
        "source: \"10.7.0.13:/file_store/shared\", fstype: nfs4",
        "source: smbnetfs, fstype: fuse.smbnetfs",
    ),
];

/// The network of the spec.
const NETWORK: [u8; 3] = [10, 7, 0];

/// The machines, with the last octet of their addresses, as in the spec.
const MACHINES: [(&str, u8); 7] = [
    ("pg1", 11),
    ("redis1", 12),
    ("nfs1", 13),
    ("lb1", 21),
    ("hipchat1", 31),
    ("hipchat2", 32),
    ("hipchat3", 33),
];

const NODES: [&str; 3] = ["hipchat1", "hipchat2", "hipchat3"];

/// The password of the application's user.
const PASSWORD: &str = "open-sesame";

const CONFIG_AT: &str = "/hipchat/config/config.json";
const STARTED_WITH: &str = "/hipchat/started.json";
/// While it is there, GET /slow is not answered.
const SLOW: &str = "/hipchat/slow";
const LOG: &str = "/hipchat/hipchat.log";

/// A stop of it has to let clients finish, and nobody but the agent restarts it.
const SOFT_STOP: &str = "[Service]\nKillSignal=SIGUSR1\nTimeoutStopSec=11m\nRestart=no\n";

/// The product's own configuration; `motto` stands for any key of it.
fn config(motto: &str) -> String {
    json!({
        "shared-storage-location": "/file_store/shared",
        "redis-server": "10.7.0.12",
        "database-server": "10.7.0.11",
        "database-name": "hipchat_postgres",
        "database-user": "hipchat",
        "database-password": PASSWORD,
        "motto": motto,
    })
    .to_string()
}

/// Puts on a machine what it runs.
fn furnish(host: &Host) -> Result<()> {
    match host.name() {
        "pg1" => hosts::postgres(host, "hipchat_postgres", "hipchat", PASSWORD),
        "redis1" => hosts::redis(host, &["hipchat"]),
        "nfs1" => share_server(host),
        "lb1" => load_balancer(host),
        name if name.starts_with("hipchat") => {
            mounted_share(host)?;
            host.put_file(
                "/etc/interlock/secrets/hipchat-db",
                PASSWORD.as_bytes(),
                0o600,
            )?;
            host.put_file(CONFIG_AT, config("none").as_bytes(), 0o640)?;
            host.put_file("/hipchat/version", b"hipchat 3.1.7\n", 0o644)?;
            let arguments = format!(
                "--node {name} --listen {}:80 --config {CONFIG_AT} --started-with {STARTED_WITH} --log {LOG} --slow {SLOW}",
                host.address()
            );
            hosts::stand_in(host, "hipchat.service", NODE, &arguments)
        }
        _ => time_server(host),
    }
}

/// HAProxy with the nodes.
fn load_balancer(host: &Host) -> Result<()> {
    host.put_file("/etc/haproxy/haproxy.cfg", haproxy().as_bytes(), 0o644)?;
    host.put_file(
        "/etc/systemd/system/haproxy.service.d/interlock.conf",
        SOFT_STOP.as_bytes(),
        0o644,
    )
}

/// What the nodes compare their clocks with, on the management node.
fn time_server(host: &Host) -> Result<()> {
    let at = "/usr/local/lib/stand-ins/time_server.py";
    host.put_file(at, TIME_SERVER.as_bytes(), 0o644)?;
    let text = format!(
        "[Service]\nExecStart=/usr/bin/python3 {at}\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    install_unit(host, "time-server.service", &text)?;
    enable_unit(host, "time-server.service")
}

/// Samba, which listens on the port of NFS as well, with the markers that are made once, by hand.
fn share_server(host: &Host) -> Result<()> {
    let config = "[global]\nserver role = standalone server\nmap to guest = bad user\ndisable netbios = yes\n\
                  smb ports = 445 2049\nload printers = no\ndisable spoolss = yes\n\n\
                  [shared]\npath = /file_store/shared\nguest ok = yes\nread only = no\nforce user = root\n";
    host.put_file("/etc/samba/smb.conf", config.as_bytes(), 0o644)?;
    for marker in [".alive", ".interlock"] {
        host.put_file(&format!("/file_store/shared/{marker}"), b"here\n", 0o644)?;
    }
    let unit = "[Unit]\nDescription=Stand-in for the NFS server: Samba\n\n[Service]\nType=notify\n\
                ExecStart=/usr/sbin/smbd --foreground --no-process-group\n";
    install_unit(host, "nfs-server.service", unit)
}

/// The share, mounted as soon as it can be.
fn mounted_share(host: &Host) -> Result<()> {
    for file in ["smb.conf", "smbnetfs.conf"] {
        host.put_file(&format!("/root/.smb/{file}"), b"", 0o600)?;
    }
    let unit = "[Unit]\nDescription=The share\nStartLimitIntervalSec=0\n\n[Service]\nType=forking\nEnvironment=HOME=/root\n\
                ExecStartPre=/bin/mkdir -p /run/share /file_store/shared\n\
                ExecStart=/usr/bin/smbnetfs -o config=/root/.smb/smbnetfs.conf /run/share\n\
                ExecStartPost=/bin/mount --bind /run/share/10.7.0.13/shared /file_store/shared\n\
                ExecStopPost=-/bin/umount --lazy /file_store/shared\nExecStopPost=-/bin/umount --lazy /run/share\n\
                Restart=always\nRestartSec=500ms\n\n[Install]\nWantedBy=multi-user.target\n";
    install_unit(host, "share.service", unit)?;
    enable_unit(host, "share.service")
}

/// As it is used in the field.
fn haproxy() -> String {
    let mut text = String::from(
        "global\n stats socket /run/haproxy/admin.sock mode 600 level admin\n hard-stop-after 10m\ndefaults\n mode http\n \
         retries 1\n option redispatch\n timeout connect 1s\n timeout client 5m\n timeout server 5m\nfrontend door\n bind \
         *:443\n default_backend hipchat\nbackend hipchat\n balance roundrobin\n cookie SERVERID insert indirect nocache \
         maxlife 600\n option httpchk GET /\n default-server inter 1s fall 2\n",
    );
    for (number, node) in (31..).zip(NODES) {
        text += &format!(" server {node} 10.7.0.{number}:80 cookie {node} check\n");
    }
    text
}

#[test]
fn a_chat_service_is_started_rebooted_node_by_node_for_its_configuration_and_switched_off()
-> Result<()> {
    if !std::path::Path::new("/dev/fuse").exists() {
        skip("hcdc", "the share needs /dev/fuse");
        return Ok(());
    }
    let Some(lab) = Lab::open_in("hcdc", NETWORK)? else {
        return Ok(());
    };
    let mut spec = adapt(SPEC, "hcdc-", &lab.network(), &MACHINES)?;
    for (shipped, here) in INSTEAD {
        ensure!(spec.contains(shipped), "the shipped spec has no {shipped}");
        spec = spec.replace(shipped, here);
    }
    let self_check: &[&str] = &["/usr/bin/cmp", CONFIG_AT, STARTED_WITH];
    let version: &[&str] = &["/usr/bin/cat", "/hipchat/version"];
    let commands = NODES.map(|node| {
        [
            (node, "hipchat-self-check", self_check),
            (node, "hipchat-version", version),
        ]
    });
    let site = Site::build(&lab, "hcdc", &spec, &MACHINES, &commands.concat(), furnish)?;

    let started = site.operate(&["startup", "--all"])?;
    assert_started_in_order(&site.cluster.journal(&started)?)?;
    assert_in_service(&site)?;
    reboot_for_a_configuration(&lab, &site)?;
    assert_in_service(&site)?;

    let stopped = site.operate(&["shutdown", "--all"])?;
    assert_stopped_in_order(&site.cluster.journal(&stopped)?)?;
    site.went_off()?;
    assert_nobody_lost_anything(&site)?;
    lab.close()
}

/// Stores, nodes one at a time, load balancer.
fn assert_started_in_order(journal: &Journal) -> Result<()> {
    for store in ["start:db@pg1", "start:redis@redis1", "start:nfs@nfs1"] {
        // Their checks are the consumers' alone: what the node itself asks is waited for before its start.
        journal.waited("power-on:hipchat1", store, "up")?;
    }
    for pair in NODES.windows(2) {
        let first = format!("start:hipchat@{}", pair[0]);
        journal.waited(&format!("start:hipchat@{}", pair[1]), &first, "healthy")?;
    }
    journal.waited("start:lb@lb1", "start:hipchat@hipchat3", "healthy")?;
    for (node, _) in MACHINES {
        let proof = &journal.proof(&format!("power-on:{node}"))?.detail;
        ensure!(proof.contains("boot"), "{node}: no new boot: {proof}");
    }
    Ok(())
}

/// Everything works, where it is used, and the cluster says so.
fn assert_in_service(site: &Site<'_>) -> Result<()> {
    site.wait_well()?;
    for node in NODES {
        for check in [
            "db.works",
            "redis.works",
            "nfs.listens",
            "nfs.mounted",
            "nfs.writes",
            "hipchat.self",
            "hipchat.clock",
        ] {
            eventually(&format!("{check} on {node}"), SOON, || {
                let verdict = site.verdict(node, check)?;
                ensure!(verdict == "ok", "it is {verdict}");
                Ok(())
            })?;
        }
    }
    let servers = [
        "/bin/sh",
        "-c",
        "echo show stat | nc -U /run/haproxy/admin.sock",
    ];
    let told = site.host("lb1")?.exec(&servers)?;
    let up = told
        .lines()
        .filter(|line| line.starts_with("hipchat,hipchat") && line.contains(",UP,"));
    ensure!(up.count() == NODES.len(), "{told}");
    Ok(())
}

/// The recipe of the spec for a change of config.json: each node is rebooted, the next when the one before is well and admitted;
/// a node that a client has an answer of waits for that.
fn reboot_for_a_configuration(lab: &Lab, site: &Site<'_>) -> Result<()> {
    for node in NODES {
        site.host(node)?
            .put_file(CONFIG_AT, config("one by one").as_bytes(), 0o640)?;
    }
    let held = site.host("hipchat2")?;
    held.put_file(SLOW, b"", 0o644)?;
    let ask = [
        "curl",
        "-sS",
        "--max-time",
        "300",
        "-b",
        "SERVERID=hipchat2",
        "http://10.7.0.21:443/slow",
    ];
    let client = lab
        .command(&ask)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the client")?;

    let operation = site.begin(&[
        "reboot",
        "--node",
        "hipchat[1-3]",
        "--force",
        "hipchat.self",
    ])?;
    let drain = "drain:hipchat@hipchat2:lb@lb1";
    eventually(&format!("{drain} to wait for the client"), SOON * 3, || {
        let shown = site.cluster.ask(&["operation", "show", &operation])?;
        let mut steps = shown["steps"].as_array().context("no steps")?.iter();
        let seen = steps
            .find(|step| step["step"] == drain)
            .context("no drain")?;
        ensure!(seen.to_string().contains("1 session"), "{shown:#}");
        Ok(())
    })?;
    ensure!(held.boots() == 1, "hipchat2 was rebooted under its client");
    held.exec(&["rm", SLOW])?;
    let answer = client.wait_with_output()?;
    let said = String::from_utf8_lossy(&answer.stdout);
    ensure!(said.contains("\"node\": \"hipchat2\""), "{answer:?}");
    eventually("the nodes to be rebooted", SOON * 3, || {
        let shown = site.cluster.ask(&["operation", "show", &operation])?;
        ensure!(shown["state"] == "done", "{shown:#}");
        Ok(())
    })?;

    let journal = site.cluster.journal(&operation)?;
    let mut order = Vec::new();
    for node in NODES {
        let (drain, stop) = (
            format!("drain:hipchat@{node}:lb@lb1"),
            format!("stop:hipchat@{node}"),
        );
        let (reboot, admit) = (
            format!("reboot:{node}"),
            format!("admit:hipchat@{node}:lb@lb1"),
        );
        journal.waited(&stop, &drain, "down")?;
        journal.waited(&reboot, &stop, "down")?;
        journal.waited(&format!("start:hipchat@{node}"), &reboot, "up")?;
        journal.waited(&admit, &format!("start:hipchat@{node}"), "healthy")?;
        order.push((journal.intent(&drain)?, drain, admit));
        let host = site.host(node)?;
        ensure!(
            host.boots() == 2,
            "{node} was booted {} times",
            host.boots()
        );
        let read = host.read_file(STARTED_WITH)?;
        ensure!(
            read == config("one by one").as_bytes(),
            "{node} runs with an old configuration"
        );
    }
    order.sort();
    for pair in order.windows(2) {
        journal.waited(&pair[1].1, &pair[0].2, "up")?;
    }
    Ok(())
}

/// The reverse, and each machine off by the word of its power source.
fn assert_stopped_in_order(journal: &Journal) -> Result<()> {
    journal.waited("stop:hipchat@hipchat3", "power-off:lb1", "down")?;
    journal.waited("stop:hipchat@hipchat2", "stop:hipchat@hipchat3", "down")?;
    journal.waited("stop:hipchat@hipchat1", "stop:hipchat@hipchat2", "down")?;
    for store in ["stop:db@pg1", "stop:redis@redis1", "stop:nfs@nfs1"] {
        for node in NODES {
            journal.waited(store, &format!("power-off:{node}"), "down")?;
        }
    }
    for (node, _) in MACHINES {
        let proof = &journal.proof(&format!("power-off:{node}"))?.detail;
        ensure!(
            proof.contains("off"),
            "{node}: the power source is not the proof: {proof}"
        );
    }
    Ok(())
}

/// By what the nodes have logged, and the database at its end.
fn assert_nobody_lost_anything(site: &Site<'_>) -> Result<()> {
    for node in NODES {
        let log = site.host(node)?.read_file(LOG)?;
        let log = String::from_utf8_lossy(&log);
        ensure!(
            log.ends_with("ended\n") && !log.contains("lost"),
            "{node}: {log}"
        );
    }
    let log = site
        .host("pg1")?
        .read_file("/var/log/postgresql/postgresql-15-main.log")?;
    let log = String::from_utf8_lossy(&log);
    ensure!(log.contains("database system is shut down"), "{log}");
    Ok(())
}
