//! Members of a real HAProxy: a rolling restart under load, and clients that do not let go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Haproxy, Layout, Machine, for_all, for_services, web};
use interlock_e2e::{eventually, has};
use interlock_mesh::identity::Role;

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
    balancer: { haproxy: { socket: DIR/lb.sock } }
  web:
    nodes: "web[1-3]"
    active: all
    at_least: 2
    manager: { process: { name: web } }
    member_of: { lb: { backend: web, drain: 2s, then: maint, every: 300ms } }
    checks:
      page: { http: "http://{address}:8080/", status: 200, every: 300ms, timeout: 300ms, fresh: 10s }
"#;

/// Who asks for a page, over and over.
const CLIENTS: usize = 4;

/// The cluster, up; none where there is no HAProxy.
fn start() -> Result<Option<Cluster>> {
    start_with(SPEC)
}

/// The same with another spec.
fn start_with(spec: &str) -> Result<Option<Cluster>> {
    if !has("members of a load balancer", &[Haproxy::NEEDED]) {
        return Ok(None);
    }
    let web = |number: u8| Machine::new(&format!("web{number}"), 30 + number).process("web");
    let mut cluster = Cluster::prepare(&Layout {
        spec,
        machines: vec![
            Machine::new("lb1", 11).haproxy("lb", "web"),
            web(1),
            web(2),
            web(3),
        ],
    })?;
    std::fs::write(cluster.path("lb.cfg"), configuration(&cluster))?;
    cluster.start_coordinator()?;
    cluster.join()?;
    cluster.admin()?.run(&for_all("startup"))?;
    Ok(Some(cluster))
}

/// Without a retry and without redispatching: what goes to a server that is not there is lost.
fn configuration(cluster: &Cluster) -> String {
    let socket = cluster.path("lb.sock");
    let mut text = format!(
        "global\n stats socket {} mode 600 level admin\n hard-stop-after 30s\ndefaults\n mode http\n retries 0\n \
         timeout connect 2s\n timeout client 60s\n timeout server 60s\nfrontend front\n bind {}:8080\n default_backend \
         web\nbackend web\n cookie SERVER insert indirect nocache\n option httpchk GET /\n",
        socket.display(),
        cluster.address(11)
    );
    for number in 1..=3 {
        let address = cluster.address(30 + number);
        text += &format!(
            " server web{number} {address}:8080 cookie web{number} check inter 2s fastinter 100ms\n"
        );
    }
    text
}

/// Whom the load balancer has given a client to, if it answers.
fn ask(cluster: &Cluster, path: &str, cookie: Option<&str>) -> Result<Option<String>> {
    let at = format!("{}:8080", cluster.address(11)).parse()?;
    let cookie = cookie.map(|server| format!("SERVER={server}"));
    let (head, page) = web::get(at, path, cookie.as_deref())?;
    ensure!(head.status == 200, "{head:?}: {page}");
    let given = head
        .header("set-cookie")
        .and_then(|it| it.split(';').next());
    let given = given.and_then(|it| it.strip_prefix("SERVER="));
    Ok(given.map(str::to_owned))
}

/// The status of each member, in order.
fn members(cluster: &Cluster) -> Result<Vec<String>> {
    balancer(cluster).members()
}

/// How often this happened since then.
fn happened(cluster: &Cluster, from: usize, what: &str) -> Result<usize> {
    let story = cluster.story().read()?;
    Ok(story[from..].iter().filter(|it| it.what == what).count())
}

fn balancer(cluster: &Cluster) -> Haproxy {
    Haproxy::of(cluster, "lb", "web")
}

#[test]
fn a_rolling_restart_loses_no_request() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let operation = std::thread::scope(|clients| -> Result<String> {
        let client = |number: usize| {
            // Every second one keeps the server that it was given.
            let mut cookie = None;
            while !over.load(Ordering::Relaxed) {
                let given = ask(&cluster, "/", cookie.as_deref())?;
                answered.fetch_add(1, Ordering::Relaxed);
                if given.is_some() && number.is_multiple_of(2) {
                    cookie = given;
                }
            }
            anyhow::Ok(())
        };
        let asking: Vec<_> = (0..CLIENTS)
            .map(|number| clients.spawn(move || client(number)))
            .collect();
        let ran = operator.run(&for_services("restart", &["web"]));
        over.store(true, Ordering::Relaxed);
        for client in asking {
            let asked = client.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
            asked.context("a request was lost")?;
        }
        ran
    })?;
    for node in ["web1", "web2", "web3"] {
        let stops = cluster.story().count("stop", &format!("web@{node}"))?;
        ensure!(stops == 1, "{node} was stopped {stops} times");
        let drain = operator.step(&operation, &format!("drain:web@{node}:lb@lb1"))?;
        ensure!(drain.evidence.contains("no session left"), "{drain:?}");
    }
    let asked = answered.load(Ordering::Relaxed);
    ensure!(asked > 100, "only {asked} requests were made meanwhile");
    ensure!(members(&cluster)? == ["UP"; 3], "{:?}", members(&cluster)?);
    Ok(())
}

#[test]
fn a_client_that_does_not_let_go_ends_no_drain_but_its_limit_does() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    cluster.hold("slow:web@web1")?;
    std::thread::scope(|clients| {
        let client = clients.spawn(|| ask(&cluster, "/slow", Some("web1")));
        eventually("the session is there", Duration::from_secs(20), || {
            let sessions = balancer(&cluster).figures("scur")?;
            ensure!(sessions[0] == "1", "{sessions:?}");
            Ok(())
        })?;
        let operation = operator.begin(&for_services("restart", &["web"]), false)?;
        let drained = operator.until_step(&operation, "drain:web@web1:lb@lb1", "done")?;
        ensure!(
            drained
                .evidence
                .contains("its time is over: 1 session left")
                && drained.evidence.contains("MAINT"),
            "{drained:?}"
        );
        operator.until(&operation, "done")?;
        cluster.release("slow:web@web1")?;
        let answer = client.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        ensure!(
            answer.is_err(),
            "its server was restarted under it: {answer:?}"
        );
        ensure!(members(&cluster)? == ["UP"; 3], "{:?}", members(&cluster)?);
        Ok(())
    })
}

#[test]
fn an_unwound_restart_lets_the_member_take_part_again() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    cluster.hold("stop:web@web1")?;
    let operation = operator.begin(&for_services("restart", &["web"]), false)?;
    operator.until_step(&operation, "drain:web@web1:lb@lb1", "done")?;
    ensure!(members(&cluster)? == ["MAINT", "UP", "UP"]);
    operator.until_step(&operation, "stop:web@web1", "running")?;
    operator.control(&operation, "unwind", "", "wrong day")?;
    cluster.release("stop:web@web1")?;
    operator.until(&operation, "unwound")?;
    ensure!(members(&cluster)? == ["UP"; 3], "{:?}", members(&cluster)?);
    Ok(())
}

#[test]
fn an_unwound_restart_whose_coordinator_is_killed_on_the_way_back_has_its_member_back_too()
-> Result<()> {
    let Some(mut cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    let from = cluster.story().read()?.len();
    cluster.hold("stop:web@web1")?;
    cluster.hold("start:web@web1")?;
    let operation = operator.begin(&for_services("restart", &["web"]), false)?;
    operator.until_step(&operation, "stop:web@web1", "running")?;
    operator.control(&operation, "unwind", "", "wrong day")?;
    // As soon as it is called back, and again while the member comes up.
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.release("stop:web@web1")?;
    eventually("the start on the way back", Duration::from_secs(30), || {
        ensure!(happened(&cluster, from, "start")? > 0, "not yet");
        Ok(())
    })?;
    ensure!(members(&cluster)? == ["MAINT", "UP", "UP"]);
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.release("start:web@web1")?;
    operator.until(&operation, "unwound")?;
    ensure!(members(&cluster)? == ["UP"; 3], "{:?}", members(&cluster)?);
    for what in ["term", "start"] {
        let times = happened(&cluster, from, what)?;
        ensure!(times == 1, "{what}: {times} times");
    }
    Ok(())
}

#[test]
fn a_reload_behind_our_back_is_put_right() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    cluster.hold("stop:web@web1")?;
    let operation = operator.begin(&for_services("restart", &["web"]), false)?;
    operator.until_step(&operation, "drain:web@web1:lb@lb1", "done")?;
    let balancer = balancer(&cluster);
    let before = balancer.worker()?;
    balancer.reload()?;
    eventually("the new process is told", Duration::from_secs(20), || {
        ensure!(balancer.worker()? != before, "it has not reloaded yet");
        let members = members(&cluster)?;
        ensure!(members[0] == "MAINT", "{members:?}");
        Ok(())
    })?;
    let log = cluster.agent_log("lb1")?;
    ensure!(log.contains("behind our back"), "{log}");
    eventually("it is an event, once", Duration::from_secs(20), || {
        let events = cluster.ctl("rita", Role::Reader, &["events"])?;
        let events = String::from_utf8(events.stdout)?;
        let told = events.matches("web@web1 was ready behind our back").count();
        ensure!(told == 1, "{told} times: {events}");
        Ok(())
    })?;
    let status = cluster.ctl("rita", Role::Reader, &["status"])?;
    let status = String::from_utf8(status.stdout)?;
    for (member, state) in [("web@web1", "maint"), ("web@web2", "ready")] {
        let words = [member, "lb@lb1", state];
        let mut lines = status.lines().map(|line| line.split_whitespace().take(3));
        ensure!(lines.any(|line| line.eq(words)), "{member}: {status}");
    }
    cluster.release("stop:web@web1")?;
    operator.until(&operation, "done")?;
    ensure!(members(&cluster)? == ["UP"; 3], "{:?}", members(&cluster)?);
    Ok(())
}

#[test]
fn a_reload_in_the_middle_of_a_drain_forgets_neither_the_drain_nor_who_is_still_served()
-> Result<()> {
    let Some(cluster) = start_with(&SPEC.replace("drain: 2s", "drain: 60s"))? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    cluster.hold("slow:web@web1")?;
    std::thread::scope(|clients| {
        let client = clients.spawn(|| ask(&cluster, "/slow", Some("web1")));
        let balancer = balancer(&cluster);
        eventually("the session is there", Duration::from_secs(20), || {
            let sessions = balancer.figures("scur")?;
            ensure!(sessions[0] == "1", "{sessions:?}");
            Ok(())
        })?;
        let operation = operator.begin(&for_services("restart", &["web"]), false)?;
        let drain = "drain:web@web1:lb@lb1";
        let is_drained = || {
            let members = members(&cluster)?;
            ensure!(members[0] == "DRAIN", "{members:?}");
            Ok(())
        };
        eventually("it is drained", Duration::from_secs(20), is_drained)?;
        let before = balancer.worker()?;
        balancer.reload()?;
        eventually("so it is after a reload", Duration::from_secs(20), || {
            ensure!(balancer.worker()? != before, "it has not reloaded yet");
            is_drained()
        })?;
        // Time in which somebody who asks the new process alone finds no session left.
        std::thread::sleep(Duration::from_secs(1));
        let waits = operator.step(&operation, drain)?;
        ensure!(waits.state == "running", "{waits:?}");
        cluster.release("slow:web@web1")?;
        let answer = client.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        answer.context("he was cut off")?;
        let drained = operator.until_step(&operation, drain, "done")?;
        ensure!(drained.evidence.contains("no session left"), "{drained:?}");
        operator.until(&operation, "done")?;
        ensure!(members(&cluster)? == ["UP"; 3], "{:?}", members(&cluster)?);
        Ok(())
    })
}

#[test]
fn a_load_balancer_that_is_restarted_by_a_plan_knows_who_is_out() -> Result<()> {
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    let mut shutdown = for_services("shutdown", &[]);
    shutdown.nodes = vec!["web1".to_owned()];
    operator.run(&shutdown)?;
    ensure!(members(&cluster)?[0] == "MAINT", "{:?}", members(&cluster)?);
    operator.run(&for_services("restart", &["lb"]))?;
    ensure!(members(&cluster)?[0] == "MAINT", "{:?}", members(&cluster)?);
    Ok(())
}
