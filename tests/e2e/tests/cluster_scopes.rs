//! What a plan is for, and how many of its steps run at once, as `interlockctl` says it and as it then happens.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Layout, Machine, Operator};
use interlock_mesh::identity::Role;

/// Services that have nothing to do with each other, on machines in two racks.
const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  n1: { address: NET.11, labels: { rack: left } }
  n2: { address: NET.12, labels: { rack: right } }
  n3: { address: NET.13, labels: { rack: left } }
  n4: { address: NET.14, labels: { rack: right } }
services:
  s1: { nodes: [n1], manager: { process: { name: s1 } } }
  s2: { nodes: [n2], manager: { process: { name: s2 } } }
  s3: { nodes: [n3], manager: { process: { name: s3 } } }
  s4: { nodes: [n4], manager: { process: { name: s4 } } }
"#;

fn cluster() -> Result<Cluster> {
    let machine = |number: u8| {
        Machine::new(&format!("n{number}"), 10 + number).process(&format!("s{number}"))
    };
    let machines = (1..=4).map(machine).collect();
    Cluster::start(&Layout {
        spec: SPEC,
        machines,
    })
}

/// Runs a command to its end, and tells the operation that it was.
fn run(cluster: &Cluster, operator: &Operator, words: &[&str]) -> Result<String> {
    let sure = ["--yes", "--cluster", "local", "--reason", "a test"];
    let output = cluster.ctl("olga", Role::Operator, &[words, &sure].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{words:?}: {said}");
    let newest = operator.operations()?.operations.into_iter().next();
    Ok(newest.context("no operation")?.operation)
}

/// Who did this since then.
fn who(cluster: &Cluster, from: usize, what: &str) -> Result<BTreeSet<String>> {
    let story = cluster.story().read()?;
    let lines = story.into_iter().skip(from).filter(|it| it.what == what);
    Ok(lines.map(|it| it.who).collect())
}

/// The most steps of an operation that were under way at one time, by its journal.
fn at_once(operator: &Operator, operation: &str) -> Result<usize> {
    let (mut now, mut most) = (0_usize, 0);
    for entry in operator.journal(operation)? {
        match entry.what.as_str() {
            "intent" => now += 1,
            "proven" => now = now.checked_sub(1).context("proven, and not begun")?,
            _ => {}
        }
        most = most.max(now);
    }
    Ok(most)
}

#[test]
fn a_label_is_about_its_nodes_and_no_others() -> Result<()> {
    let cluster = cluster()?;
    let operator = cluster.admin()?;
    run(&cluster, &operator, &["startup", "--label", "rack=left"])?;
    let left = BTreeSet::from(["s1@n1".to_owned(), "s3@n3".to_owned()]);
    ensure!(
        who(&cluster, 0, "up")? == left,
        "{:?}",
        cluster.story().read()?
    );
    run(&cluster, &operator, &["startup", "--all"])?;
    let from = cluster.story().read()?.len();
    run(&cluster, &operator, &["shutdown", "--label", "rack=right"])?;
    let right = BTreeSet::from(["s2@n2".to_owned(), "s4@n4".to_owned()]);
    let stopped = who(&cluster, from, "stop")?;
    ensure!(stopped == right, "{stopped:?}");
    Ok(())
}

#[test]
fn a_serial_operation_has_one_step_at_a_time_and_others_as_many_as_they_can() -> Result<()> {
    let cluster = cluster()?;
    let operator = cluster.admin()?;
    let serial = run(&cluster, &operator, &["startup", "--all", "--serial"])?;
    ensure!(who(&cluster, 0, "up")?.len() == 4);
    let most = at_once(&operator, &serial)?;
    ensure!(most == 1, "{most} steps at once in a serial startup");
    let parallel = run(&cluster, &operator, &["shutdown", "--all"])?;
    let most = at_once(&operator, &parallel)?;
    ensure!(
        most > 1,
        "{most} step at once in a shutdown of four that need nobody"
    );
    Ok(())
}
