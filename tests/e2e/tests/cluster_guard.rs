//! The guard restarts what died, within its budget; agents and coordinators may come and go (invariant I6).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::keeper::{gone, kill, lives};
use interlock_e2e::local::{Cluster, Layout, Machine, for_all};
use interlock_proto::v1::{Instance, InstanceState};
use rustix::process::{Pid, Signal, kill_process};

/// One service on one machine, with a guard that restarts twice.
const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  web1: { address: NET.31 }
services:
  web:
    nodes: [web1]
    manager: { process: { name: web } }
    guard: { budget: 2, window: 10m, backoff: 20ms }
"#;

const WEB: &str = "web@web1";

/// The cluster with its service started, and the service's process.
fn started() -> Result<(Cluster, Pid)> {
    let machines = vec![Machine::new("web1", 31).process("web")];
    let cluster = Cluster::start(&Layout {
        spec: SPEC,
        machines,
    })?;
    cluster.admin()?.run(&for_all("startup"))?;
    let pid = cluster.story().pid("up", WEB)?;
    Ok((cluster, pid))
}

/// Waits for a process of the service that is another than this one.
fn restarted(cluster: &Cluster, before: Pid) -> Result<Pid> {
    eventually("a restart", Duration::from_secs(20), || {
        let pid = cluster.story().pid("up", WEB)?;
        ensure!(pid != before, "it is still the old process");
        Ok(pid)
    })
}

/// Waits until the agent itself, asked without any coordinator, says this of the instance.
fn agent_says(cluster: &Cluster, state: InstanceState, why: &str) -> Result<Instance> {
    let agent = cluster.at_agent("web1")?;
    eventually(
        &format!("the agent to say {state:?}"),
        Duration::from_secs(20),
        || {
            let node = agent.node()?;
            let seen = node
                .instances
                .into_iter()
                .find(|instance| instance.service == "web")
                .context("no instance")?;
            ensure!(
                seen.state() == state && seen.reason.contains(why),
                "it says {seen:?}"
            );
            Ok(seen)
        },
    )
}

#[test]
fn a_killed_process_is_restarted_until_the_budget_is_spent_and_then_given_up_aloud() -> Result<()> {
    let (cluster, mut pid) = started()?;
    for restarts in 1..=2 {
        kill(pid)?;
        pid = restarted(&cluster, pid)?;
        let seen = agent_says(&cluster, InstanceState::Running, "")?;
        ensure!(seen.restarts == restarts, "{seen:?}");
    }
    kill(pid)?;
    agent_says(&cluster, InstanceState::Failed, "given up after 2 restarts")?;
    ensure!(
        cluster.story().count("start", WEB)? == 3,
        "it was started again beyond its budget"
    );
    ensure!(
        cluster.agent_log("web1")?.contains("it stays down"),
        "the agent's log does not say so"
    );
    let status = cluster.admin()?;
    eventually(
        "the cause is in the status",
        Duration::from_secs(10),
        || {
            let causes = status.status()?.causes;
            ensure!(
                causes
                    .iter()
                    .any(|cause| cause.what.contains("given up after 2 restarts")),
                "{causes:?}"
            );
            Ok(())
        },
    )
}

#[test]
fn an_operation_makes_the_budget_whole_again() -> Result<()> {
    let (cluster, mut pid) = started()?;
    for _ in 0..2 {
        kill(pid)?;
        pid = restarted(&cluster, pid)?;
    }
    kill(pid)?;
    agent_says(&cluster, InstanceState::Failed, "given up")?;
    cluster.admin()?.run(&for_all("startup"))?;
    let pid = restarted(&cluster, pid)?;
    kill(pid)?;
    restarted(&cluster, pid)?;
    Ok(())
}

#[test]
fn a_clean_exit_is_reported_and_left_alone() -> Result<()> {
    let (mut cluster, pid) = started()?;
    kill_process(pid, Signal::TERM)?;
    agent_says(&cluster, InstanceState::Stopped, "exit code 0")?;
    eventually("the event", Duration::from_secs(10), || {
        let events = cluster.admin()?.events()?;
        let mut ended = events.iter().filter(|it| it.kind == "instance-ended");
        let told = ended.any(|it| it.text.contains("exit code 0, and it was to run"));
        ensure!(told, "no event tells of it");
        Ok(())
    })?;
    // The next agent sees it for the first time: one more chance to mistake it for a failure.
    cluster.kill_agent("web1")?;
    cluster.start_agent("web1")?;
    cluster.until_connected(&cluster.admin()?)?;
    agent_says(&cluster, InstanceState::Stopped, "exit code 0")?;
    ensure!(
        cluster.story().count("start", WEB)? == 1,
        "what was stopped by hand was started again"
    );
    Ok(())
}

#[test]
fn an_agent_that_ends_stops_nothing_and_the_next_one_adopts_the_same_process() -> Result<()> {
    let (mut cluster, pid) = started()?;
    for orderly in [true, false] {
        let agent = cluster.agent_pid("web1")?;
        if orderly {
            kill_process(agent, Signal::TERM)?;
            gone(agent)?;
        } else {
            cluster.kill_agent("web1")?;
        }
        ensure!(lives(pid), "the service went with its agent");
        cluster.start_agent("web1")?;
        let seen = agent_says(
            &cluster,
            InstanceState::Running,
            &format!("pid {}", pid.as_raw_nonzero()),
        )?;
        ensure!(seen.restarts == 0, "{seen:?}");
    }
    // Adopted and guarded, not only seen.
    kill(pid)?;
    restarted(&cluster, pid)?;
    Ok(())
}

#[test]
fn what_dies_while_the_agent_is_away_is_restarted_when_it_is_back() -> Result<()> {
    let (mut cluster, pid) = started()?;
    cluster.kill_agent("web1")?;
    kill(pid)?;
    cluster.start_agent("web1")?;
    restarted(&cluster, pid)?;
    Ok(())
}

#[test]
fn without_any_coordinator_nothing_stops_and_the_guard_still_restarts() -> Result<()> {
    let (mut cluster, pid) = started()?;
    cluster.kill_coordinator()?;
    let agent = cluster.at_agent("web1")?;
    eventually(
        "the agent knows that it is alone",
        Duration::from_secs(10),
        || {
            let links = agent.node()?.coordinators;
            ensure!(links.iter().all(|link| !link.connected), "{links:?}");
            Ok(())
        },
    )?;
    ensure!(lives(pid), "silence from above stopped a healthy service");
    kill(pid)?;
    let pid = restarted(&cluster, pid)?;

    // An agent that starts while it is alone goes on guarding as well.
    cluster.kill_agent("web1")?;
    cluster.start_agent("web1")?;
    kill(pid)?;
    restarted(&cluster, pid)?;
    Ok(())
}
