//! Machines that are switched, persons that are asked, and what is verified: in an operation whose coordinator is killed with
//! SIGKILL at each entry of its journal, nothing is lost and nothing is done twice (invariants I2, I3, I4); and what only a
//! person can do is proven by the power source (I5).
//!
//! A machine is a group of processes behind a fence agent. `box1` has no agent; a person shuts it down.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use interlock_e2e::local::account::{proven_once, started_in_order, stopped_in_order};
use interlock_e2e::local::{Cluster, FENCE, Layout, Machine, Operator, for_all};
use interlock_e2e::{eventually, patience};
use interlock_mesh::identity::Role;
use interlock_proto::v1;

const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
power:
  rack: { fence: FENCE, via: [store1], options: { machines: "DIR/nodes" } }
nodes:
  store1: { address: NET.11 }
  db1: { address: NET.21, power: { by: rack, plug: db1 } }
  web1: { address: NET.31, power: { by: rack, plug: web1 } }
  box1: { address: NET.41, agentless: { probes_from: [store1] }, power: { by: rack, plug: box1 } }
services:
  store: { nodes: [store1], manager: { process: { name: store } } }
  db:
    nodes: [db1]
    manager: { process: { name: db } }
    requires: [store]
    checks: { answers: { tcp: "{address}:8080", every: 300ms, timeout: 300ms, fresh: 10s } }
  web: { nodes: [web1], boot: autostart, manager: { process: { name: web } }, requires: [db] }
  pbx:
    nodes: [box1]
    requires: [db]
    checks: { answers: { tcp: "{address}:8080", every: 300ms, timeout: 300ms, fresh: 10s } }
gates:
  call: { manual: "Call the test number.", at_end_of: [startup], role: admin }
"#;

const ORDER: &[&[&str]] = &[&["store@store1"], &["db@db1"], &["web@web1", "pbx@box1"]];

/// The machines that are switched; the last one by a person.
const SWITCHED: [&str; 3] = ["db1", "web1", "box1"];

const APPROVE_BOX: &str = "approve:power-off.box1";
const APPROVE_CALL: &str = "approve:call";

/// A cluster that is up.
fn cluster() -> Result<Cluster> {
    let spec = SPEC.replace("FENCE", FENCE);
    let cluster = Cluster::start(&Layout {
        spec: &spec,
        machines: vec![
            Machine::new("store1", 11).process("store").switches(),
            Machine::new("db1", 21).process("db").switched(),
            Machine::new("web1", 31).process("web").switched(),
            Machine::new("box1", 41).process("pbx").agentless(),
        ],
    })?;
    // Its power device lists its plugs by the names of the nodes.
    let verified = cluster.ctl("ada", Role::Admin, &["power", "verify"])?;
    ensure!(verified.status.success(), "{verified:?}");
    let operator = cluster.admin()?;
    let operation = begin(&operator, "startup")?;
    operator.until_step(&operation, APPROVE_CALL, "gated")?;
    operator.control(&operation, "approve", APPROVE_CALL, "it rang")?;
    operator.until(&operation, "done")?;
    Ok(cluster)
}

/// Starts an operation for everything, as soon as it can be planned: what was switched may not have been seen yet.
fn begin(operator: &Operator, kind: &str) -> Result<String> {
    eventually(
        &format!("a plan for {kind}"),
        Duration::from_secs(20),
        || operator.begin(&for_all(kind), false),
    )
}

/// The person of the operation: approves what is asked for, and presses the button of the machine that he has to shut down.
fn attend(
    cluster: &Cluster,
    operator: &Operator,
    seen: &v1::Operation,
    pressed: &mut bool,
) -> Result<()> {
    let operation = &seen.summary.as_ref().context("no summary")?.operation;
    for step in &seen.steps {
        let asked = step.step.starts_with("approve:") && step.state == "gated";
        // The coordinator may have been killed meanwhile: then it is asked for again.
        if asked {
            operator
                .control(operation, "approve", &step.step, "done by hand")
                .ok();
        }
        if step.step == APPROVE_BOX && step.state == "done" && !*pressed {
            cluster.vm("box1").press()?;
            *pressed = true;
        }
    }
    Ok(())
}

/// Runs an operation, kills the coordinator at the entry `first` of its journal and at each `every`th after it, and tells how
/// often that was.
fn killed_at(cluster: &mut Cluster, kind: &str, first: usize, every: usize) -> Result<usize> {
    let operator = cluster.admin()?;
    let from = cluster.story().read()?.len();
    let before = SWITCHED.map(|node| cluster.vm(node).done().len());
    let operation = begin(&operator, kind)?;
    let (mut next, mut kills, mut pressed) = (first, 0, false);
    let give_up = Instant::now() + patience(Duration::from_secs(60));
    // Not `eventually`: between two looks of that, several entries are written.
    loop {
        if Instant::now() > give_up {
            bail!(
                "{operation} has stopped: {:#?}",
                operator.operation(&operation)?
            );
        }
        // Who was just killed does not answer.
        let (Ok(journal), Ok(seen)) =
            (operator.journal(&operation), operator.operation(&operation))
        else {
            continue;
        };
        let state = seen.summary.clone().unwrap_or_default().state;
        if state == "done" {
            break;
        }
        if journal.len() >= next {
            cluster.kill_coordinator()?;
            cluster.start_coordinator()?;
            (next, kills) = (journal.len() + every, kills + 1);
            continue;
        }
        ensure!(
            state == "running",
            "{operation} is {state}: {} {journal:#?}",
            seen.attention
        );
        attend(cluster, &operator, &seen, &mut pressed)?;
    }
    proven_once(&operator, &operation)?;
    let story = &cluster.story().read()?[from..];
    let expected: &[&str] = match kind {
        "startup" => {
            started_in_order(story, ORDER)?;
            &["on", "boot"]
        }
        _ => {
            stopped_in_order(story, ORDER)?;
            &["press"]
        }
    };
    for (node, before) in SWITCHED.iter().zip(before) {
        let done = &cluster.vm(node).done()[before..];
        ensure!(
            done == expected,
            "{node} was to see {expected:?} and saw {done:?}"
        );
    }
    Ok(kills)
}

/// How many clusters share the entries of a journal.
const SHARES: usize = 6;

#[test]
fn killed_at_every_entry_of_the_journal_it_switches_each_machine_once_and_asks_each_person_once()
-> Result<()> {
    let kills = std::thread::scope(|scope| -> Result<usize> {
        let clusters: Vec<_> = (1..=SHARES)
            .map(|share| {
                scope.spawn(move || {
                    let mut cluster = cluster()?;
                    let down = killed_at(&mut cluster, "shutdown", share, SHARES)?;
                    let up = killed_at(&mut cluster, "startup", share, SHARES)?;
                    anyhow::Ok(down + up)
                })
            })
            .collect();
        let mut kills = 0;
        for cluster in clusters {
            kills += cluster
                .join()
                .map_err(|_| anyhow!("a cluster's thread has panicked"))??;
        }
        Ok(kills)
    })?;
    // At least three entries for each of seven steps down and nine up.
    println!("the coordinator was killed {kills} times");
    ensure!(kills >= 30, "only {kills} kills");
    Ok(())
}

#[test]
fn what_a_person_does_is_confirmed_by_him_and_proven_by_the_power_source() -> Result<()> {
    let cluster = cluster()?;
    let operator = cluster.admin()?;
    let ctl = |words: &[&str]| cluster.ctl("ann", Role::Operator, words);
    let sure = [
        "--yes",
        "--cluster",
        "local",
        "--reason",
        "a test",
        "--no-wait",
    ];
    let begun = ctl(&[&["shutdown", "--all"], sure.as_slice()].concat())?;
    ensure!(begun.status.success(), "{begun:?}");
    let newest = operator.operations()?.operations;
    let operation = newest.first().context("no operation")?.operation.clone();

    // The person is told what to do. Until it is confirmed, nothing else is asked of that machine, nor of what it needs.
    operator.until_step(&operation, APPROVE_BOX, "gated")?;
    operator.until_step(&operation, "power-off:web1", "done")?;
    let shown = String::from_utf8(ctl(&["operation", "show", &operation])?.stdout)?;
    ensure!(shown.contains("Shut box1 down by hand"), "{shown}");
    let begun = |step: &str| -> Result<bool> {
        let journal = operator.journal(&operation)?;
        Ok(journal
            .iter()
            .any(|entry| entry.step == step && entry.what == "intent"))
    };
    ensure!(!begun("power-off:box1")? && !begun("stop:db@db1")?);
    let reader = cluster.operator("rita", Role::Reader)?;
    let refused = reader
        .control(&operation, "approve", APPROVE_BOX, "me too")
        .unwrap_err();
    ensure!(refused.code() == tonic::Code::PermissionDenied, "{refused}");

    // His word is not the proof: the machine is on.
    let approved = ctl(&[
        "approve",
        &operation,
        "power-off.box1",
        "--reason",
        "on my way",
    ])?;
    ensure!(approved.status.success(), "{approved:?}");
    eventually("the power source is asked", Duration::from_secs(20), || {
        ensure!(begun("power-off:box1")?, "it is not");
        Ok(())
    })?;
    ensure!(cluster.vm("box1").is_on());
    ensure!(operator.step(&operation, "power-off:box1")?.state == "running");
    ensure!(
        !begun("stop:db@db1")?,
        "what it needs went before it was down"
    );

    cluster.vm("box1").press()?;
    operator.until(&operation, "done")?;
    proven_once(&operator, &operation)?;
    let journal = operator.journal(&operation)?;
    let entry = |step: &str, what: &str| {
        let found = journal
            .iter()
            .position(|entry| entry.step == step && entry.what == what);
        found.with_context(|| format!("no {what} of {step} in {journal:#?}"))
    };
    let proof = entry("power-off:box1", "proven")?;
    ensure!(
        journal[proof].detail.contains("rack"),
        "{:?}",
        journal[proof]
    );
    ensure!(proof < entry("stop:db@db1", "intent")?);
    let confirmed = journal
        .iter()
        .find(|entry| entry.step == APPROVE_BOX && entry.detail.contains("ann"));
    let confirmed = confirmed.with_context(|| format!("nobody confirmed it: {journal:#?}"))?;
    ensure!(confirmed.detail.contains("on my way"), "{confirmed:?}");

    // Up again; what is for an admin is not for an operator.
    let operation = begin(&operator, "startup")?;
    operator.until_step(&operation, APPROVE_CALL, "gated")?;
    let ann = cluster.operator("ann", Role::Operator)?;
    let refused = ann
        .control(&operation, "approve", APPROVE_CALL, "it rang")
        .unwrap_err();
    ensure!(refused.message().contains("admin"), "{refused}");
    operator.control(&operation, "approve", APPROVE_CALL, "it rang")?;
    operator.until(&operation, "done")?;
    Ok(())
}
