//! What the demo shows, act by act.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use interlock_e2e::eventually;
use serde_json::Value;

use super::cluster::Cluster;
use super::end::end;
use super::failover;
use super::missing::Missing;
use super::system::{self, Name};
use crate::install;

/// Options of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which system.
    #[arg(long, value_enum, default_value = "jtel")]
    system: Name,
    /// Leave the cluster running afterwards, to look around.
    #[arg(long)]
    keep: bool,
    /// End the cluster that was left running in this directory, and remove it.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "keep")]
    end: Option<PathBuf>,
    /// The programs are built, and are beside this one.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds the programs and plays the story.
pub(crate) fn tell(options: &Options) -> Result<()> {
    if let Some(directory) = &options.end {
        return end(directory);
    }
    // Before anything is built, or fetched for that.
    if let Some(missing) = options.system.missing() {
        return Err(Missing(missing).into());
    }
    if !options.built {
        install::proto_compiler()?;
        build()?;
    }
    if options.system != Name::Jtel {
        return system::tell(options.system, options.keep);
    }
    let began = Instant::now();
    // The keys of the demo's authority are in it.
    let directory = tempfile::Builder::new()
        .prefix("interlock-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    say(
        "A cluster of thirteen machines, all of them off: a store, two load balancers, two database masters, two slaves, \
         four web servers, two telephony servers. Certificates and configurations are made now.",
    );
    let mut cluster = Cluster::create(directory.path())?;
    cluster.start_coordinator()?;
    cluster.machine("mgmt1").switch_on()?;
    ctl(
        &cluster,
        &[
            "spec",
            "apply",
            "--yes",
            &cluster.spec().display().to_string(),
        ],
    )?;
    eventually(
        "the management node is connected",
        Duration::from_secs(20),
        || {
            connected(&cluster, "mgmt1")
                .then_some(())
                .context("it is not")
        },
    )?;
    // The demo's power device lists its plugs by the names of the machines.
    ctl_quietly(&cluster, &["power", "verify"])?;

    act(
        1,
        "Bring everything up, in order. Which load balancer and which master are active is told once; from then on \
            it is observed, and remembered.",
    );
    ctl(
        &cluster,
        &[
            "startup",
            "--all",
            "--yes",
            "--cluster",
            "demo",
            "--reason",
            "demo",
            "--assume-active",
            "lb=lb2",
            "--assume-active",
            "dbm=dbm2",
        ],
    )?;
    ensure!(
        cluster.on().len() == 13,
        "not all machines are on: {:?}",
        cluster.on()
    );

    act(
        2,
        "A web server dies. Its agent notices at once and restarts it.",
    );
    restart_after_kill(&cluster)?;
    // The coordinator hears of it a moment later.
    eventually("the web servers are well", Duration::from_secs(20), || {
        let status = ask(&cluster, &["status"])?;
        let mut services = status["services"].as_array().into_iter().flatten();
        let jb = services.find(|it| it["service"] == "jb");
        ensure!(jb.is_some_and(|it| it["state"] == "ok"), "{jb:?}");
        Ok(())
    })?;
    ctl(&cluster, &["status"])?;

    act(
        3,
        "Take everything down. In the middle the coordinator is killed with -9, and started again.",
    );
    let steps = shut_down_under_fire(&mut cluster)?;
    ensure!(cluster.on().is_empty(), "still on: {:?}", cluster.on());

    act(
        4,
        "And up again. Nobody has to say which side was active: it is remembered.",
    );
    ctl(
        &cluster,
        &[
            "startup",
            "--all",
            "--yes",
            "--cluster",
            "demo",
            "--reason",
            "demo",
        ],
    )?;
    let proof = prove(&cluster, &steps)?;
    println!("\n{proof}");
    failover::play(5)?;
    println!("\nThe demo took {} s.", began.elapsed().as_secs());
    if options.keep {
        cluster.keep()?;
        look_around(&cluster.ctl()?, directory.path(), "jb");
        // Kept on purpose: the cluster runs from it.
        let _kept = directory.keep();
    }
    Ok(())
}

/// Builds the programs.
fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let programs = [
        "-p",
        "interlock-coordinator",
        "-p",
        "interlock-agent",
        "-p",
        "interlockctl",
        "-p",
        "interlock-e2e",
    ];
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--bins"])
        .args(programs)
        .status()?;
    ensure!(built.success(), "the programs could not be built");
    Ok(())
}

pub(super) fn say(text: &str) {
    println!(
        "\n{}",
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    );
}

pub(super) fn act(number: u32, text: &str) {
    say(&format!("── {number} ── {text}"));
    println!();
}

/// Runs a command of the operator, and shows it and what it prints.
fn ctl(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    show(cluster.ctl()?.args(arguments), arguments)
}

/// Runs `interlockctl` with these arguments, and shows them and what it prints.
pub(super) fn show(command: &mut Command, arguments: &[&str]) -> Result<()> {
    println!("$ interlockctl {}", arguments.join(" "));
    let status = command.status()?;
    ensure!(
        status.success(),
        "interlockctl {} ended with {status}",
        arguments.join(" ")
    );
    Ok(())
}

fn ctl_quietly(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    let output = cluster.ctl()?.args(arguments).output()?;
    ensure!(
        output.status.success(),
        "interlockctl {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn ask(cluster: &Cluster, arguments: &[&str]) -> Result<Value> {
    let output = cluster
        .ctl()?
        .args(arguments)
        .args(["-o", "json"])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("interlockctl printed no JSON")
}

fn connected(cluster: &Cluster, node: &str) -> bool {
    let Ok(status) = ask(cluster, &["status"]) else {
        return false;
    };
    let alive = |entry: &Value| entry["node"] == node && entry["liveness"] == "alive";
    status["nodes"]
        .as_array()
        .is_some_and(|nodes| nodes.iter().any(alive))
}

fn restart_after_kill(cluster: &Cluster) -> Result<()> {
    let killed = cluster.kill_service("jb2")?;
    println!(
        "$ kill -9 {}        # the web server on jb2",
        killed.as_raw_nonzero()
    );
    let began = Instant::now();
    let restarted = eventually(
        "jb2 is restarted",
        Duration::from_secs(20),
        || match cluster.service_pid("jb2") {
            Some(pid) if pid != killed => Ok(pid),
            _ => bail!("no new process yet"),
        },
    )?;
    println!(
        "restarted by its agent after {:.1} s as process {}",
        began.elapsed().as_secs_f32(),
        restarted.as_raw_nonzero()
    );
    Ok(())
}

/// Follows a shutdown, kills the coordinator when a part of it is done, and starts it again. Returns the operation.
fn shut_down_under_fire(cluster: &mut Cluster) -> Result<String> {
    let arguments = [
        "shutdown",
        "--all",
        "--yes",
        "--cluster",
        "demo",
        "--reason",
        "demo",
    ];
    println!("$ interlockctl {}", arguments.join(" "));
    let mut follower = cluster.ctl()?.args(arguments).spawn()?;
    let operation = eventually("the shutdown is half way", Duration::from_secs(60), || {
        let list = ask(cluster, &["operation", "list"])?;
        let newest = &list[0];
        let done = newest["steps_done"].as_u64().unwrap_or(0);
        let half_way = newest["kind"] == "shutdown" && newest["state"] == "running" && done >= 8;
        half_way
            .then(|| newest["operation"].as_str().unwrap_or_default().to_owned())
            .with_context(|| format!("{done} steps are done"))
    })?;
    cluster.kill_coordinator()?;
    println!("$ kill -9 (the coordinator), in the middle of {operation}");
    cluster.start_coordinator()?;
    let status = follower.wait()?;
    if !status.success() {
        bail!("the shutdown ended with {status}");
    }
    Ok(operation)
}

/// What the journal of the shutdown says, looked at from outside.
fn prove(cluster: &Cluster, operation: &str) -> Result<String> {
    let journal = ask(cluster, &["operation", "journal", operation])?;
    let entries = journal.as_array().context("no journal")?;
    let mut intents = std::collections::BTreeMap::<&str, usize>::new();
    let mut proven = std::collections::BTreeMap::<&str, usize>::new();
    for (at, entry) in entries.iter().enumerate() {
        let step = entry["step"].as_str().unwrap_or_default();
        match entry["what"].as_str() {
            Some("intent") => drop(intents.insert(step, at)),
            Some("proven") => {
                let again = proven.insert(step, at);
                ensure!(again.is_none(), "{step} was done twice");
            }
            _ => {}
        }
    }
    let before = |first: &str, then: &str| -> Result<()> {
        let (Some(first_done), Some(then_begun)) = (proven.get(first), intents.get(then)) else {
            bail!("the journal lacks {first} or {then}");
        };
        ensure!(
            first_done < then_begun,
            "{then} began before {first} was proven"
        );
        Ok(())
    };
    before("power-off:dbs1", "stop:dbm@dbm1")?;
    before("power-off:dbs2", "stop:dbm@dbm1")?;
    before("power-off:dbm1", "stop:dbm@dbm2")?;
    before("power-off:dbm2", "stop:lb@lb1")?;
    before("power-off:lb1", "stop:lb@lb2")?;
    before("power-off:lb2", "stop:store@store")?;
    Ok(format!(
        "Seen in the journal of {operation}: {} steps, each proven exactly once although the coordinator was killed; \
         the slaves were off before the first master was stopped, the standby before the active side of each pair, and \
         the store was last.",
        proven.len()
    ))
}

/// Says how to look around in what goes on running, and how to end it.
pub(super) fn look_around(ctl: &Command, directory: &Path, service: &str) {
    println!("\nIt goes on running. To look around:\n");
    for (key, value) in ctl.get_envs() {
        if let Some(value) = value {
            println!(
                "  export {}={}",
                key.to_string_lossy(),
                value.to_string_lossy()
            );
        }
    }
    println!(
        "  alias interlockctl={}",
        ctl.get_program().to_string_lossy()
    );
    println!(
        "  interlockctl status --watch\n  interlockctl events --tail 20\n  interlockctl restart --service {service}\n"
    );
    let mode = fs::metadata(directory).map(|found| found.permissions().mode() & 0o777);
    // A server that may not run as root has to find its files: there the keys alone are nobody else's.
    let alone = match mode {
        Ok(0o700) => ", for you alone (mode 0700)",
        _ => "",
    };
    println!(
        "All of it is in {0}, with its keys{alone}. To end it, and remove that:\n\n  cargo xtask demo --end {0}\n",
        directory.display()
    );
}
