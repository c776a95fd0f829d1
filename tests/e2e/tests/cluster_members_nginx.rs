//! Members of a real nginx: a rolling restart under load, and a client that stays where it is.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, Layout, Machine, for_all, for_services};
use interlock_e2e::skip;

const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  lb1: { address: NET.11 }
  "web[1-3]": { address: "NET.[31-33]" }
services:
  lb:
    nodes: [lb1]
    manager: { process: { name: lb } }
    balancer: { nginx: { file: DIR/lb.members } }
  web:
    nodes: "web[1-3]"
    active: all
    at_least: 2
    manager: { process: { name: web } }
    member_of: { lb: { backend: web, server: "{address}:8080", drain: 5s, every: 300ms } }
    checks:
      page: { http: "http://{address}:8080/", status: 200, every: 300ms, timeout: 2s, fresh: 10s }
"#;

/// The networks that clients are in: one of each asks.
const NETWORKS: u8 = 12;

/// The pause of a client between two requests: a few hundred in a second are load enough, and leave some of the machine to
/// the cluster.
const PAUSE: Duration = Duration::from_millis(5);

/// The cluster, up; none where there is no nginx.
fn start() -> Result<Option<Cluster>> {
    if !Path::new("/usr/sbin/nginx").exists() {
        let why = "/usr/sbin/nginx is missing; `cargo xtask test` installs nginx";
        skip("members of nginx", why);
        return Ok(None);
    }
    let web = |number: u8| Machine::new(&format!("web{number}"), 30 + number).process("web");
    let mut cluster = Cluster::prepare(&Layout {
        spec: SPEC,
        machines: vec![
            Machine::new("lb1", 11).nginx("lb", "web"),
            web(1),
            web(2),
            web(3),
        ],
    })?;
    std::fs::write(cluster.path("lb.conf"), configuration(&cluster))?;
    std::fs::write(cluster.path("lb.members"), upstream(&cluster, &[]))?;
    cluster.start_coordinator()?;
    cluster.join()?;
    cluster.admin()?.run(&for_all("startup"))?;
    Ok(Some(cluster))
}

/// Without a retry: what goes to a server that is not there is lost. A header says where a client is.
fn configuration(cluster: &Cluster) -> String {
    let here = cluster.path("");
    let here = here.display();
    let temporary = |name: &str| format!(" {name}_temp_path {here}/{name};\n");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temporary);
    format!(
        "daemon off;\nworker_processes 2;\npid {here}/lb.pid;\nevents {{ worker_connections 256; }}\nhttp {{\n access_log \
         off;\n{} set_real_ip_from 127.0.0.0/8;\n real_ip_header X-Real-IP;\n proxy_next_upstream off;\n include \
         {here}/lb.members;\n server {{\n  listen {}:8080;\n  location / {{ proxy_pass http://web; add_header X-Served \
         $upstream_addr; }}\n }}\n}}\n",
        paths.concat(),
        cluster.address(11)
    )
}

/// The file of the members; these are marked.
fn upstream(cluster: &Cluster, down: &[u8]) -> String {
    let mut text = String::from("# who takes part\nupstream web {\n    ip_hash;\n");
    for number in 1..=3 {
        let mark = if down.contains(&number) { " down" } else { "" };
        let address = cluster.address(30 + number);
        text += &format!("    server {address}:8080 max_fails=0{mark}; # web{number}\n");
    }
    text + "}\n"
}

/// Who answers a client of this network.
fn ask(cluster: &Cluster, network: u8) -> Result<String> {
    let mut stream = TcpStream::connect((cluster.address(11).as_str(), 8080))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "GET / HTTP/1.0\r\nX-Real-IP: 10.0.{network}.1\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let served = answer
        .lines()
        .find_map(|line| line.strip_prefix("X-Served: "));
    Ok(served.context("nobody is named")?.trim().to_owned())
}

fn members(cluster: &Cluster) -> Result<String> {
    Ok(std::fs::read_to_string(cluster.path("lb.members"))?)
}

#[test]
fn a_rolling_restart_loses_no_request_and_everybody_is_where_he_was() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    let all = || -> Result<BTreeMap<u8, String>> {
        let asked = (0..NETWORKS).map(|network| Ok((network, ask(&cluster, network)?)));
        asked.collect()
    };
    let before = all()?;
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|clients| -> Result<()> {
        let client = |network: u8| {
            while !over.load(Ordering::Relaxed) {
                ask(&cluster, network)?;
                answered.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
            anyhow::Ok(())
        };
        let asking: Vec<_> = (0..4)
            .map(|network| clients.spawn(move || client(network)))
            .collect();
        let ran = operator.run(&for_services("restart", &["web"]));
        over.store(true, Ordering::Relaxed);
        for client in asking {
            let asked = client.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
            asked.context("a request was lost")?;
        }
        let operation = ran?;
        for node in ["web1", "web2", "web3"] {
            let drain = operator.step(&operation, &format!("drain:web@{node}:lb@lb1"))?;
            ensure!(drain.evidence.contains("no session left"), "{drain:?}");
        }
        Ok(())
    })?;
    let asked = answered.load(Ordering::Relaxed);
    ensure!(asked > 100, "only {asked} requests were made meanwhile");
    ensure!(all()? == before, "somebody was moved: {before:?}");
    ensure!(
        members(&cluster)? == upstream(&cluster, &[]),
        "{}",
        members(&cluster)?
    );
    Ok(())
}

#[test]
fn a_member_that_is_out_stays_out_over_an_edit_of_the_file() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    cluster.hold("stop:web@web1")?;
    let operation = operator.begin(&for_services("restart", &["web"]), false)?;
    operator.until_step(&operation, "stop:web@web1", "running")?;
    ensure!(
        members(&cluster)? == upstream(&cluster, &[1]),
        "{}",
        members(&cluster)?
    );
    std::fs::write(cluster.path("lb.members"), upstream(&cluster, &[]))?;
    eventually("it is put back", Duration::from_secs(20), || {
        ensure!(members(&cluster)? == upstream(&cluster, &[1]));
        Ok(())
    })?;
    cluster.release("stop:web@web1")?;
    operator.until(&operation, "done")?;
    ensure!(
        members(&cluster)? == upstream(&cluster, &[]),
        "{}",
        members(&cluster)?
    );
    Ok(())
}

#[test]
fn a_startup_brings_back_a_member_that_an_aborted_plan_has_left_out() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    let operation = operator.begin(&for_services("restart", &["web"]), true)?;
    operator.control(&operation, "next", "", "")?;
    operator.until_step(&operation, "drain:web@web1:lb@lb1", "done")?;
    operator.control(&operation, "abort", "", "wrong day")?;
    operator.until(&operation, "aborted")?;
    ensure!(members(&cluster)? == upstream(&cluster, &[1]));
    let before = cluster.story().pid("up", "web@web1")?;
    let startup = for_services("startup", &["web"]);
    let operation = operator.run(&startup)?;
    let steps = operator.operation(&operation)?.steps;
    let steps: Vec<&str> = steps.iter().map(|step| step.step.as_str()).collect();
    ensure!(
        steps == ["check:web@web1", "admit:web@web1:lb@lb1"],
        "{steps:?}"
    );
    ensure!(members(&cluster)? == upstream(&cluster, &[]));
    ensure!(cluster.story().pid("up", "web@web1")? == before);
    Ok(())
}
