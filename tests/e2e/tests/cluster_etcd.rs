//! The same programs with a real etcd as the store: kills in the middle of operations, and two coordinators on one store.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_e2e::local::account::{proven_once, started_in_order, stopped_in_order};
use interlock_e2e::local::etcd::{Etcd, Version};
use interlock_e2e::local::{Cluster, Life, Operator, for_all, shop};
use interlock_e2e::{eventually, programs};
use interlock_mesh::channel::Expected;
use interlock_mesh::identity::Role;
use rustix::process::{Pid, Signal, kill_process};

/// The last number of a second coordinator's address.
const SECOND: u8 = 7;

fn use_etcd(cluster: &Cluster, etcd: &Etcd) -> Result<()> {
    let file = cluster.path("coordinator.toml");
    let mut file = fs::File::options().append(true).open(file)?;
    Ok(file.write_all(etcd.section(&[], "").as_bytes())?)
}

#[test]
fn a_shutdown_and_a_startup_on_etcd_go_on_where_coordinator_and_etcd_were_killed() -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let Some(mut etcd) = Etcd::start(&cluster, Version::Newer, 1, &[], "operations on etcd")?
    else {
        return Ok(());
    };
    use_etcd(&cluster, &etcd)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;

    for (kind, point, who) in [
        ("shutdown", "stop", "db@db1"),
        ("startup", "start", "db@db2"),
    ] {
        let from = cluster.story().read()?.len();
        cluster.hold(&format!("{point}:{who}"))?;
        let operation = operator.begin(&for_all(kind), false)?;
        operator.until_step(&operation, &format!("{point}:{who}"), "running")?;
        cluster.kill_coordinator()?;
        etcd.kill(0)?;
        etcd.launch(0)?;
        // The hold of the killed one has to run out first.
        cluster.start_coordinator()?;
        cluster.release(&format!("{point}:{who}"))?;
        operator.until(&operation, "done")?;
        proven_once(&operator, &operation)?;
        let story = &cluster.story().read()?[from..];
        if kind == "shutdown" {
            stopped_in_order(story, shop::ORDER)?;
        } else {
            started_in_order(story, shop::ORDER)?;
        }
        cluster.until_connected(&operator)?;
    }
    Ok(())
}

#[test]
fn a_coordinator_that_slept_through_its_lease_ends_and_the_waiting_one_has_taken_over() -> Result<()>
{
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let Some(etcd) = Etcd::start(
        &cluster,
        Version::Newer,
        1,
        &[],
        "two coordinators on one etcd",
    )?
    else {
        return Ok(());
    };
    use_etcd(&cluster, &etcd)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    let term = operator.status()?.term;

    // The same store, on an address of its own.
    let address = cluster.address(SECOND);
    let tls = cluster
        .authority()
        .coordinator("mgmt", &address, Life::Now)?;
    let config = cluster.path("second.toml");
    let text = format!(
        "name = \"mgmt\"\nlisten = \"{address}:7443\"\n[tls]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n{}",
        tls.authority.display(),
        tls.certificate.display(),
        tls.key.display(),
        etcd.section(&[], "")
    );
    fs::write(&config, text)?;
    let log = cluster.path("second.log");
    let both = fs::File::create(&log)?;
    let mut second = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(programs::coordinator()?)
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(both.try_clone()?)
        .stderr(both)
        .spawn()?;
    let says = |text: &str| -> Result<()> {
        let said = fs::read_to_string(&log)?;
        ensure!(said.contains(text), "{said}");
        Ok(())
    };
    eventually("the second one waits", Duration::from_secs(20), || {
        says("waiting for the store")
    })?;

    let first = cluster.coordinator_pid()?;
    kill_process(first, Signal::STOP)?;
    eventually("the second one serves", Duration::from_secs(40), || {
        says("listening on")
    })?;
    let files = cluster
        .authority()
        .operator("ada", Role::Admin, Life::Now)?;
    let other = Operator::at(&format!("{address}:7443"), Expected::Coordinator, files)?;
    ensure!(other.status()?.term > term, "the term did not rise");
    kill_process(first, Signal::CONT)?;
    eventually("the first one ends", Duration::from_secs(40), || {
        ensure!(!is_running(first), "it runs");
        let said = cluster.coordinator_log()?;
        ensure!(said.contains("no longer held"), "{said}");
        Ok(())
    })?;
    second.kill()?;
    second.wait()?;
    Ok(())
}

/// Whether the process is there and has not ended; the keeper collects it in its own time.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}
