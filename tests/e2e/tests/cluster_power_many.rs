//! Forty silent machines behind one agent, and a device that takes its time: all of them are asked about, one after the other, and
//! what can be planned is planned and done. A plug that hangs is unknown, and its neighbours are not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, FENCE, Layout, Machine};
use interlock_mesh::identity::Role;
use serde_json::Value;

/// More than an agent takes questions.
const SILENT: usize = 40;

/// The plug that hangs, and those before and after it.
const HANGS: &str = "m20";
const NEIGHBOURS: [&str; 2] = ["m19", "m21"];

/// `db1` is a machine with an agent, the others are off and have never been heard.
const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
power:
  rack: { fence: fence_slow, via: [store1], timeout: 3s, options: { machines: "DIR/nodes" } }
nodes:
  store1: { address: NET.11 }
  db1: { address: NET.21, power: { by: rack, plug: db1 } }
SILENTservices:
  store: { nodes: [store1], manager: { process: { name: store } } }
  db: { nodes: [db1], manager: { process: { name: db } }, requires: [store] }
"#;

/// A device with a plug for each machine: a call takes 0.15 s, and about one plug there is no answer. It follows the fence agent API as
/// far as it is used; the machine with an agent is another fence agent's.
const SLOW: &str = r#"#!/bin/sh
here=${0%/*}
given=$(cat)
for line in $given; do
    case $line in
    action=*) action=${line#action=} ;;
    plug=*) plug=${line#plug=} ;;
    esac
done
if [ "$action" = metadata ]; then
    printf 'action=metadata\n' | "$here/FENCE"
    exit
fi
sleep 0.15
case $action in
list)
    for name in NAMES; do echo "$name,$name"; done
    exit 0 ;;
esac
case $plug in
db1)
    printf "%s\n" "$given" | "$here/FENCE"
    exit ;;
HANGS)
    if [ -e "$here/hangs" ]; then sleep 60; fi ;;
esac
[ "$action" = status ] && exit 2
exit 1
"#;

fn cluster() -> Result<Cluster> {
    let names: Vec<String> = (1..=SILENT).map(|number| format!("m{number}")).collect();
    let silent: String = (names.iter().zip(100..))
        .map(|(name, host)| {
            format!("  {name}: {{ address: NET.{host}, power: {{ by: rack, plug: {name} }} }}\n")
        })
        .collect();
    let mut cluster = Cluster::prepare(&Layout {
        spec: &SPEC.replace("SILENT", &silent),
        machines: vec![
            Machine::new("store1", 11)
                .process("store")
                .allow("power = [\"fence_slow\"]")
                .allow("fence_dir = [\"DIR/fence\"]"),
            Machine::new("db1", 21).process("db").switched(),
        ],
    })?;
    let slow = SLOW
        .replace("NAMES", &format!("db1 {}", names.join(" ")))
        .replace("FENCE", FENCE)
        .replace("HANGS", HANGS);
    let fence = cluster.path("fence/fence_slow");
    fs::write(&fence, slow)?;
    fs::set_permissions(&fence, fs::Permissions::from_mode(0o755))?;
    cluster.start_coordinator()?;
    cluster.join()?;
    Ok(cluster)
}

fn ctl(cluster: &Cluster, line: &str) -> Result<Output> {
    let words: Vec<&str> = line.split(' ').collect();
    cluster.ctl("ada", Role::Admin, &words)
}

fn is_told_to_wait(talk: &str, what: &str) -> Result<()> {
    let line = format!("waiting for {what} for 5 s");
    ensure!(talk.contains(&line), "nobody says that it waits: {talk}");
    Ok(())
}

#[test]
fn forty_silent_machines_behind_one_agent_are_all_asked_about_and_one_plug_that_hangs_holds_up_none()
-> Result<()> {
    let cluster = cluster()?;
    let hangs = cluster.path("fence/hangs");
    fs::write(&hangs, "")?;

    // What the device lists is matched, of a plug that does not answer nothing is.
    let verified = ctl(&cluster, "power verify -o json")?;
    let talk = String::from_utf8_lossy(&verified.stderr);
    ensure!(verified.status.code() == Some(2), "{verified:?}");
    is_told_to_wait(&talk, "power sources")?;
    ensure!(
        talk.contains(&format!("no answer about {HANGS}:")),
        "who did not answer is not named: {talk}"
    );
    let found: Value = serde_json::from_slice(&verified.stdout)?;
    let found = found.as_array().context("no list")?;
    ensure!(found.len() == SILENT + 1, "{found:?}");
    for plug in found {
        let (proof, power) = match plug["node"].as_str() {
            Some(HANGS) => ("unproven", "unknown"),
            Some("db1") => ("alias", "on"),
            _ => ("alias", "off"),
        };
        ensure!(plug["proof"] == proof && plug["power"] == power, "{plug}");
    }

    // All of them are off but db1, and nothing is known of one.
    let planned = ctl(&cluster, "plan shutdown --all")?;
    let (report, talk) = (
        String::from_utf8_lossy(&planned.stdout),
        String::from_utf8_lossy(&planned.stderr),
    );
    is_told_to_wait(&talk, "the plan")?;
    let unknown: Vec<&str> = report
        .lines()
        .chain(talk.lines())
        .filter(|line| line.starts_with("unknown"))
        .collect();
    ensure!(
        unknown.len() == 1 && unknown[0].contains(HANGS),
        "{report}\n{talk}"
    );
    for neighbour in NEIGHBOURS {
        ensure!(
            !unknown[0].contains(neighbour) && report.contains("already done"),
            "{neighbour}: {report}"
        );
    }

    // The plug answers again: what runs goes down and is switched off, and comes up again.
    fs::remove_file(&hangs)?;
    let down = ctl(
        &cluster,
        "shutdown --node db1 --yes --cluster local --reason test",
    )?;
    ensure!(down.status.success(), "{down:?}");
    eventually("db1 is off", Duration::from_secs(5), || {
        ensure!(!cluster.vm("db1").is_on(), "it is on");
        Ok(())
    })?;
    let up = ctl(
        &cluster,
        "startup --node store1,db1 --yes --cluster local --reason test",
    )?;
    ensure!(up.status.success(), "{up:?}");
    ensure!(cluster.vm("db1").is_on(), "it is off");
    Ok(())
}
