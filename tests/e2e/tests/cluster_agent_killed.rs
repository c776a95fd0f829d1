//! An agent, or the coordinator, is killed inside a step whose command must not be repeated blindly (invariant I4, rules
//! X1, X2).

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::keeper::{gone, kill, lives};
use interlock_e2e::local::{Cluster, Layout, Machine, for_all};
use rustix::process::Pid;

/// A service of commands, and one that requires it.
const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  licence1: { address: NET.11 }
  front1: { address: NET.12 }
services:
  licence:
    nodes: [licence1]
    manager: { exec: { name: licence } }
  front:
    nodes: [front1]
    manager: { process: { name: front } }
    requires: [licence]
"#;

const INSTANCE: &str = "licence@licence1";
const START: &str = "start:licence@licence1";
const STOP: &str = "stop:licence@licence1";

fn cluster() -> Result<Cluster> {
    let machines = vec![
        Machine::new("licence1", 11).exec("licence"),
        Machine::new("front1", 12).process("front"),
    ];
    Cluster::start(&Layout {
        spec: SPEC,
        machines,
    })
}

/// Waits until this was written about the service of commands, and tells who wrote it.
fn begun(cluster: &Cluster, what: &str) -> Result<Pid> {
    eventually(what, Duration::from_secs(10), || {
        cluster.story().pid(what, INSTANCE)
    })
}

/// The parent of a command of the agent: its shim.
fn shim_of(command: Pid) -> Result<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", command.as_raw_nonzero()))?;
    // Field 4, counted behind the parenthesis that closes field 2 (proc_pid_stat(5)).
    let fields = stat.rsplit_once(')').context("no stat")?.1;
    let parent = fields.split_whitespace().nth(1).context("no parent")?;
    let shim = Pid::from_raw(parent.parse()?).context("no parent")?;
    let line = fs::read_to_string(format!("/proc/{}/cmdline", shim.as_raw_nonzero()))?;
    ensure!(
        line.split('\0').nth(1) == Some("shim"),
        "the parent is no shim: {line:?}"
    );
    Ok(shim)
}

#[test]
fn a_command_that_ends_while_the_agent_is_dead_is_learnt_and_not_repeated() -> Result<()> {
    let mut cluster = cluster()?;
    let operator = cluster.admin()?;
    for (kind, point, begin, end) in [
        ("startup", START, "begin start", "end start"),
        ("shutdown", STOP, "begin stop", "end stop"),
    ] {
        cluster.until_connected(&operator)?;
        cluster.hold(point)?;
        let operation = operator.begin(&for_all(kind), false)?;
        let command = begun(&cluster, begin)?;
        cluster.kill_agent("licence1")?;
        cluster.release(point)?;
        gone(command)?;
        ensure!(
            cluster.story().count(end, INSTANCE)? == 1,
            "the command did not outlive its agent"
        );
        ensure!(
            operator.state(&operation)? == "running",
            "nobody knows yet how the command ended"
        );
        cluster.start_agent("licence1")?;
        operator.until(&operation, "done")?;
        ensure!(
            cluster.story().count(begin, INSTANCE)? == 1,
            "the command was repeated"
        );
    }
    Ok(())
}

#[test]
fn a_command_that_still_runs_is_taken_over_by_the_next_agent() -> Result<()> {
    let mut cluster = cluster()?;
    let operator = cluster.admin()?;
    for (kind, point, begin) in [
        ("startup", START, "begin start"),
        ("shutdown", STOP, "begin stop"),
    ] {
        cluster.until_connected(&operator)?;
        cluster.hold(point)?;
        let operation = operator.begin(&for_all(kind), false)?;
        let command = begun(&cluster, begin)?;
        cluster.kill_agent("licence1")?;
        cluster.start_agent("licence1")?;
        cluster.until_connected(&operator)?;
        ensure!(
            lives(command),
            "the command was ended by the agent's end or its next start"
        );
        cluster.release(point)?;
        operator.until(&operation, "done")?;
        ensure!(
            cluster.story().count(begin, INSTANCE)? == 1,
            "the command was repeated"
        );
    }
    Ok(())
}

/// Brings an operation to where nobody can know whether the command has happened: agent, shim and command are killed.
fn lose_the_outcome(
    cluster: &mut Cluster,
    kind: &str,
    point: &str,
    begin: &str,
) -> Result<(String, String)> {
    let operator = cluster.admin()?;
    cluster.until_connected(&operator)?;
    cluster.hold(point)?;
    let operation = operator.begin(&for_all(kind), false)?;
    let command = begun(cluster, begin)?;
    let shim = shim_of(command)?;
    cluster.kill_agent("licence1")?;
    kill(shim)?;
    kill(command)?;
    cluster.release(point)?;
    cluster.start_agent("licence1")?;
    let seen = operator.until(&operation, "needs-attention")?;
    let step = seen
        .steps
        .iter()
        .find(|step| step.step == point)
        .context("no such step")?;
    ensure!(step.state == "unknown", "{step:?}");
    ensure!(
        step.evidence.contains("nobody saw the end"),
        "{}",
        step.evidence
    );
    ensure!(
        seen.attention.contains(point),
        "the attention names no step: {}",
        seen.attention
    );
    ensure!(
        cluster.story().count(begin, INSTANCE)? == 1,
        "the command was repeated without a person's word"
    );
    Ok((operation, step.step.clone()))
}

#[test]
fn a_command_of_which_nobody_saw_the_end_is_not_repeated_until_a_person_says_so() -> Result<()> {
    let mut cluster = cluster()?;
    let operator = cluster.admin()?;
    let (operation, step) = lose_the_outcome(&mut cluster, "startup", START, "begin start")?;
    ensure!(
        cluster.story().count("start", "front@front1")? == 0,
        "what waits for the unknown step has begun"
    );
    let refused = operator.control(&operation, "resume", "", "").unwrap_err();
    ensure!(refused.message().contains("retry"), "{refused}");

    operator.control(&operation, "retry", &step, "looked: it was not started")?;
    operator.until(&operation, "done")?;
    ensure!(
        cluster.story().count("begin start", INSTANCE)? == 2,
        "it was to run once more"
    );
    ensure!(cluster.story().count("end start", INSTANCE)? == 1);
    ensure!(cluster.story().count("start", "front@front1")? == 1);
    Ok(())
}

#[test]
fn a_step_of_unknown_outcome_is_taken_for_done_with_a_reason() -> Result<()> {
    let mut cluster = cluster()?;
    let operator = cluster.admin()?;
    operator.run(&for_all("startup"))?;
    let (operation, step) = lose_the_outcome(&mut cluster, "shutdown", STOP, "begin stop")?;
    let refused = operator
        .control(&operation, "skip", &step, " ")
        .unwrap_err();
    ensure!(refused.message().contains("reason"), "{refused}");
    let skip = || operator.control(&operation, "skip", &step, "stopped by hand");
    let refused = skip().unwrap_err();
    ensure!(refused.message().contains("is running"), "{refused}");

    // As somebody does who stops it there.
    fs::remove_file(cluster.path("nodes/licence1/licence.runs"))?;
    eventually("the agent sees it", Duration::from_secs(20), || Ok(skip()?))?;
    operator.until(&operation, "done")?;
    ensure!(operator.step(&operation, &step)?.state == "skipped");
    ensure!(
        cluster.story().count("begin stop", INSTANCE)? == 1,
        "a skipped step has run"
    );
    let journal = operator.journal(&operation)?;
    let skipped = journal
        .iter()
        .find(|entry| entry.what == "skipped")
        .context("not in the journal")?;
    ensure!(
        skipped.detail.contains("ada") && skipped.detail.contains("stopped by hand"),
        "{}",
        skipped.detail
    );
    Ok(())
}

#[test]
fn a_command_is_not_repeated_by_a_coordinator_that_was_killed_meanwhile() -> Result<()> {
    let mut cluster = cluster()?;
    let operator = cluster.admin()?;
    for (kind, point, begin, end) in [
        ("startup", START, "begin start", "end start"),
        ("shutdown", STOP, "begin stop", "end stop"),
    ] {
        cluster.until_connected(&operator)?;
        cluster.hold(point)?;
        let operation = operator.begin(&for_all(kind), false)?;
        let command = begun(&cluster, begin)?;
        cluster.kill_coordinator()?;
        cluster.start_coordinator()?;
        cluster.until_connected(&operator)?;
        ensure!(lives(command), "the command was ended by the coordinator's");
        cluster.release(point)?;
        operator.until(&operation, "done")?;
        for what in [begin, end] {
            ensure!(
                cluster.story().count(what, INSTANCE)? == 1,
                "'{what}' did not happen once"
            );
        }
    }
    Ok(())
}

#[test]
fn an_agent_whose_state_directory_was_lost_says_stopped_of_nothing_that_it_had_started()
-> Result<()> {
    let mut cluster = cluster()?;
    let operator = cluster.admin()?;
    operator.run(&for_all("startup"))?;
    let front = cluster.story().pid("start", "front@front1")?;
    cluster.kill_agent("front1")?;
    let state = cluster.path("nodes/front1/state");
    fs::rename(&state, state.with_extension("lost"))?;
    cluster.start_agent("front1")?;

    eventually("the instance is unknown", Duration::from_secs(20), || {
        let status = operator.status()?;
        let service = status.services.iter().find(|it| it.service == "front");
        let service = service.context("no service front")?;
        ensure!(
            service.state == "unknown" && service.reason.contains("no record"),
            "{service:?}"
        );
        Ok(())
    })?;
    let plan = operator.plan(&for_all("shutdown"))?;
    ensure!(plan.digest.is_empty(), "a plan over what nobody knows");
    ensure!(lives(front), "it was ended");
    ensure!(cluster.story().count("start", "front@front1")? == 1);
    Ok(())
}
