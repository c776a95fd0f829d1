//! An agent that is killed inside a job of systemd, the manager of every shipped spec, and a coordinator that is killed while a
//! machine is rebooted (invariant I4).
//!
//! One machine with three units in a chain: `web` needs `api` needs `base`. Both ways of the unit in the middle write down
//! that they were gone, and wait for a file.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{install_unit, options};
use interlock_e2e::{Host, Machine, eventually};

use crate::SOON;
use crate::site::{self, Site};

const NAME: &str = "chain";
const NODE: (&str, u8) = ("alone", 11);

/// Where the unit in the middle writes down what happens to it.
const STORY: &str = "/var/lib/story";

fn chain(network: &str) -> String {
    let (node, number) = NODE;
    format!(
        "cluster: {NAME}\ncontrol: {{ coordinators: [mgmt1], heartbeat: 500ms, late: 1500ms, lost: 4s }}\n\
         power:\n  bmcs: {{ fence: fence_ipmilan, via: [mgmt1], options: {} }}\n\
         nodes:\n  mgmt1: {{ address: {network}5 }}\n\
         \x20 {node}: {{ address: {network}{number}, power: {{ by: bmcs, plug: {network}{} }} }}\n\
         services:\n\
         \x20 web:  {{ nodes: [{node}], manager: {{ systemd: {{ unit: web.service }} }}, requires: [api] }}\n\
         \x20 api:  {{ nodes: [{node}], manager: {{ systemd: {{ unit: api.service }} }}, requires: [base] }}\n\
         \x20 base: {{ nodes: [{node}], manager: {{ systemd: {{ unit: base.service }} }} }}\n",
        options(),
        100 + u16::from(number),
    )
}

/// Its files below a host's root directory.
fn hold_file(way: &str) -> String {
    format!("/var/lib/hold-{way}")
}

fn furnish(host: &Host) -> Result<()> {
    let stays = "[Service]\nExecStart=/bin/sleep infinity\n";
    let passes = |way: &str| {
        let hold = hold_file(way);
        format!("/bin/sh -c 'echo {way} >> {STORY}; while [ -e {hold} ]; do sleep 0.1; done'")
    };
    let slow = format!(
        "{stays}ExecStartPre={}\nExecStop={}\nTimeoutSec=infinity\n",
        passes("start"),
        passes("stop")
    );
    for (unit, text) in [("web", stays), ("api", &slow), ("base", stays)] {
        install_unit(host, &format!("{unit}.service"), text)?;
    }
    Ok(())
}

/// How often the unit in the middle was taken this way.
fn times(host: &Host, way: &str) -> usize {
    let story = std::fs::read_to_string(host.root().join(&STORY[1..])).unwrap_or_default();
    story.lines().filter(|line| *line == way).count()
}

/// Who is at work as the agent of the host: none if nobody is.
fn agent(host: &Host) -> Result<Option<String>> {
    let shown = host.exec(&[
        "systemctl",
        "show",
        "--property=MainPID",
        "--value",
        "interlock-agent.service",
    ])?;
    let pid = shown.trim();
    Ok((pid != "0").then(|| pid.to_owned()))
}

fn kill_agent(host: &Host) -> Result<()> {
    let killed = agent(host)?.context("no agent runs")?;
    host.exec(&[
        "systemctl",
        "kill",
        "--signal=KILL",
        "--kill-whom=main",
        "interlock-agent.service",
    ])?;
    eventually("the agent is gone", SOON, || {
        ensure!(agent(host)?.as_ref() != Some(&killed), "it lives");
        Ok(())
    })
}

/// When the job ends.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// After the next agent is at work.
    Later,
    /// While there is no agent.
    Meanwhile,
}

/// The machine's agent is killed while the unit in the middle is on its way, in this operation.
fn killed_inside(site: &Site<'_>, arguments: &[&str], way: &str, moment: Moment) -> Result<()> {
    let host = site.host(NODE.0)?;
    let before = times(host, way);
    let hold = hold_file(way);
    host.put_file(&hold, b"", 0o644)?;
    let operation = site.begin(arguments)?;
    eventually("the unit to be on its way", SOON * 2, || {
        ensure!(times(host, way) > before, "it is not");
        Ok(())
    })?;
    let step = format!("{way}:api@{}", NODE.0);
    eventually("the coordinator to know", SOON, || {
        site.cluster
            .journal(&operation)?
            .reached(&step, "issued")
            .map(drop)
    })?;
    let release = || std::fs::remove_file(host.root().join(&hold[1..]));
    match moment {
        Moment::Later => {
            kill_agent(host)?;
            eventually("the next agent", SOON, || agent(host)?.context("none yet"))?;
            site.wait_alive(NODE.0)?;
            ensure!(times(host, way) == before + 1, "it was done again");
            release()?;
        }
        Moment::Meanwhile => {
            // What systemd cannot find it cannot restart.
            let program = host.root().join("usr/bin/interlock-agent");
            let away: PathBuf = program.with_extension("away");
            std::fs::rename(&program, &away)?;
            kill_agent(host)?;
            release()?;
            let wanted = if way == "start" { "active" } else { "inactive" };
            eventually("the job to end", SOON, || {
                let said = host.output(&["systemctl", "is-active", "api.service"])?;
                let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
                ensure!(said == wanted, "it is {said}");
                Ok(())
            })?;
            let shown = site.cluster.ask(&["operation", "show", &operation])?;
            ensure!(shown["state"] == "running", "{shown:#}");
            std::fs::rename(&away, &program)?;
        }
    }
    site.wait_state(&operation, "done")?;
    ensure!(
        times(host, way) == before + 1,
        "the unit went this way {} times",
        times(host, way) - before
    );
    let journal = site.cluster.journal(&operation)?;
    journal.proof(&step)?;
    // What waits for it came after its proof.
    match way {
        "start" => journal.waited(&format!("start:web@{}", NODE.0), &step, "up"),
        _ => journal.waited(&format!("stop:base@{}", NODE.0), &step, "down"),
    }
}

/// The coordinator is killed while the unit in the middle stops, while the machine is on its way to another boot, and while
/// the unit starts there.
fn killed_in_a_reboot(site: &Site<'_>) -> Result<()> {
    let host = site.host(NODE.0)?;
    let ways = ["stop", "start"];
    let (boots, before) = (host.boots(), ways.map(|way| times(host, way)));
    for way in ways {
        host.put_file(&hold_file(way), b"", 0o644)?;
    }
    let operation = site.begin(&["reboot", "--node", NODE.0])?;
    let journal = || site.cluster.journal(&operation);
    let kill = || -> Result<()> {
        let unit = "interlock-coordinator.service";
        let kill = ["systemctl", "kill", "--signal=KILL", unit];
        site.management().exec(&kill)?;
        eventually("the next coordinator", SOON, || journal().map(drop))
    };
    let rebooted = format!("reboot:{}", NODE.0);
    for (way, before) in ways.iter().zip(before) {
        eventually(&format!("the {way}"), SOON * 2, || {
            ensure!(times(host, way) > before, "it is not on its way");
            Ok(())
        })?;
        kill()?;
        std::fs::remove_file(host.root().join(&hold_file(way)[1..]))?;
        if *way == "stop" {
            let going = || journal()?.reached(&rebooted, "issued").map(drop);
            eventually("the machine to go down", SOON, going)?;
            kill()?;
        }
    }
    site.wait_state(&operation, "done")?;
    let journal = journal()?;
    for way in ways {
        for service in ["web", "api", "base"] {
            journal.proof(&format!("{way}:{service}@{}", NODE.0))?;
        }
    }
    journal.proof(&rebooted)?;
    ensure!(
        ways.map(|way| times(host, way)) == before.map(|times| times + 1),
        "the unit went its ways {before:?} times before, and {:?} now",
        ways.map(|way| times(host, way))
    );
    ensure!(host.boots() == boots + 1, "{} boots", host.boots() - boots);
    Ok(())
}

#[test]
fn what_is_killed_inside_a_job_of_systemd_or_a_reboot_learns_its_end_and_the_operation_goes_on()
-> Result<()> {
    let Some(lab) = site::open("jtel-killed")? else {
        return Ok(());
    };
    let site = Site::build(&lab, NAME, &chain(&lab.network()), &[NODE], &[], furnish)?;
    site.operate(&["startup", "--all"])?;
    for moment in [Moment::Later, Moment::Meanwhile] {
        let all = ["--service", "web,api,base"];
        killed_inside(
            &site,
            &[&["shutdown"], all.as_slice()].concat(),
            "stop",
            moment,
        )?;
        killed_inside(
            &site,
            &[&["startup"], all.as_slice()].concat(),
            "start",
            moment,
        )?;
    }
    killed_in_a_reboot(&site)?;
    lab.close()
}
