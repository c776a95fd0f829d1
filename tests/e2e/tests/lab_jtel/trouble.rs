//! What must stop an operation: a stop that hangs, a machine that stays on, an agent that is silent.
//!
//! Three machines with one real service each, in a chain: `web` needs `api` needs `base`. A hook of the middle unit
//! makes its stop wait for a file, and another unit of its machine can keep that from switching itself off.
//!
//! Seen to fail: with `stop: issued` on the edge from `api` to `base`, both tests find the base stopped.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::{NEEDS_ATTENTION, enable_unit, install_unit, options};
use interlock_e2e::{Host, Lab, Machine, eventually};

use crate::site::{self, Site};
use crate::{BOOT, SOON};

const NAME: &str = "chain";

/// The machines, with the last octet of their addresses.
const NODES: [(&str, u8); 3] = [("front", 11), ("middle", 12), ("back", 13)];

/// While it is there, the unit of the api does not stop.
const HOLD_STOP: &str = "/var/lib/hold-stop";

/// While it is there, the machine does not switch itself off.
const HOLD_POWER: &str = "/var/lib/hold-power";

fn chain(network: &str) -> String {
    let node = |name: &str, number: u8| {
        format!(
            "  {name}: {{ address: {network}{number}, power: {{ by: bmcs, plug: {network}{}, off_within: 20s, \
             on_within: 60s }} }}\n",
            100 + u16::from(number)
        )
    };
    let nodes: String = NODES
        .iter()
        .map(|(name, number)| node(name, *number))
        .collect();
    format!(
        "cluster: {NAME}\ncontrol: {{ coordinators: [mgmt1], heartbeat: 500ms, late: 1500ms, lost: 4s }}\n\
         power:\n  bmcs: {{ fence: fence_ipmilan, via: [mgmt1], options: {} }}\n\
         nodes:\n  mgmt1: {{ address: {network}5 }}\n{nodes}\
         services:\n\
         \x20 web:\n    nodes: [front]\n    manager: {{ systemd: {{ unit: nginx.service }} }}\n    requires: [api]\n\
         \x20   checks: {{ page: {{ http: \"http://{{address}}:80/\", every: 2s, timeout: 1s }} }}\n\
         \x20 api:\n    nodes: [middle]\n    manager: {{ systemd: {{ unit: nginx.service }} }}\n\
         \x20   requires: [base]\n    timeouts: {{ stop: 6s }}\n\
         \x20   checks: {{ port: {{ tcp: \"127.0.0.1:80\", every: 2s, timeout: 1s }} }}\n\
         \x20 base:\n    nodes: [back]\n    manager: {{ systemd: {{ unit: mariadb.service }} }}\n\
         \x20   checks: {{ port: {{ tcp: \"127.0.0.1:3306\", every: 2s, timeout: 1s }} }}\n",
        options()
    )
}

fn furnish(host: &Host) -> Result<()> {
    if host.name() != "middle" {
        return Ok(());
    }
    let waits = |file: &str| format!("/bin/sh -c 'while [ -e {file} ]; do sleep 0.1; done'");
    let slow = format!(
        "[Service]\nExecStop=\nExecStop={}\nTimeoutStopSec=infinity\n",
        waits(HOLD_STOP)
    );
    host.put_file(
        "/etc/systemd/system/nginx.service.d/slow.conf",
        slow.as_bytes(),
        0o644,
    )?;
    let stays = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop={}\nTimeoutStopSec=infinity\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        waits(HOLD_POWER)
    );
    install_unit(host, "stays-on.service", &stays)?;
    enable_unit(host, "stays-on.service")
}

fn build(lab: &Lab) -> Result<Site<'_>> {
    let site = Site::build(lab, NAME, &chain(&lab.network()), &NODES, &[], furnish)?;
    site.operate(&["startup", "--all"])?;
    Ok(site)
}

/// Starts a shutdown that will come to need attention, and returns its name and its attention.
fn shut_down_into_trouble(site: &Site<'_>) -> Result<(String, String)> {
    let sure = [
        "shutdown",
        "--all",
        "--yes",
        "--cluster",
        NAME,
        "--reason",
        "a test",
    ];
    site.cluster.run_to(NEEDS_ATTENTION, &sure)?;
    let newest = site.cluster.newest_operation()?;
    let operation = newest["operation"]
        .as_str()
        .context("it has no name")?
        .to_owned();
    let shown = site.cluster.ask(&["operation", "show", &operation])?;
    ensure!(shown["state"] == "needs-attention", "{shown:#}");
    Ok((
        operation,
        shown["attention"].as_str().unwrap_or_default().to_owned(),
    ))
}

/// The machine that everything else needs is as it was.
fn assert_base_untouched(site: &Site<'_>, operation: &str) -> Result<()> {
    let journal = site.cluster.journal(operation)?;
    ensure!(
        !journal.began("stop:base@back") && !journal.began("power-off:back"),
        "something later ran:\n{journal}"
    );
    let state = site
        .host("back")?
        .exec(&["systemctl", "is-active", "mariadb.service"])?;
    ensure!(state.trim() == "active", "the base is {state}");
    Ok(())
}

fn hold(site: &Site<'_>, file: &str) -> Result<()> {
    site.host("middle")?.put_file(file, b"", 0o644)
}

fn release(host: &Host, file: &str) -> Result<()> {
    let path = host.root().join(Path::new(file).strip_prefix("/")?);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

#[test]
fn a_shutdown_that_hangs_halts_before_anything_later_and_goes_on_or_back_from_there() -> Result<()>
{
    let Some(lab) = site::open("jtel-hung")? else {
        return Ok(());
    };
    let site = build(&lab)?;
    let middle = site.host("middle")?;

    // A unit that does not stop: back to where it was.
    hold(&site, HOLD_STOP)?;
    let (operation, attention) = shut_down_into_trouble(&site)?;
    ensure!(
        attention.contains("stop:api@middle"),
        "it does not say which step: {attention}"
    );
    ensure!(
        !site.host("front")?.is_on(),
        "what came before was not done"
    );
    ensure!(
        middle.is_on(),
        "the machine of the hung service was switched off"
    );
    assert_base_untouched(&site, &operation)?;
    release(middle, HOLD_STOP)?;
    site.cluster.run(&[
        "operation",
        "abort",
        &operation,
        "--unwind",
        "--yes",
        "--reason",
        "not today",
    ])?;
    site.wait_state(&operation, "unwound")?;
    site.wait_alive("front")?;
    let page = site
        .host("front")?
        .exec(&["curl", "-sS", "--fail", "http://127.0.0.1/"])?;
    ensure!(page.contains("nginx"), "the web server is not back: {page}");

    // The same again, but the unit stops in the end, and the operation goes on; then the machine stays on.
    site.operate(&["startup", "--all"])?;
    hold(&site, HOLD_STOP)?;
    hold(&site, HOLD_POWER)?;
    let (operation, _) = shut_down_into_trouble(&site)?;
    assert_base_untouched(&site, &operation)?;
    release(middle, HOLD_STOP)?;
    site.cluster.run(&[
        "operation",
        "retry",
        &operation,
        "stop:api@middle",
        "--reason",
        "freed by hand",
    ])?;
    let shown = eventually("the machine that stays on", BOOT, || {
        let shown = site.cluster.ask(&["operation", "show", &operation])?;
        let attention = shown["attention"].as_str().unwrap_or_default();
        ensure!(attention.contains("power-off:middle"), "{shown:#}");
        Ok(shown)
    })?;
    ensure!(shown["state"] == "needs-attention", "{shown:#}");
    ensure!(
        middle.is_on(),
        "the machine was switched off hard, which nobody asked for"
    );
    assert_base_untouched(&site, &operation)?;

    // A person pulls the plug; the power source proves it, and the rest follows.
    middle.pull_plug()?;
    release(middle, HOLD_POWER)?;
    site.cluster.run(&[
        "operation",
        "retry",
        &operation,
        "power-off:middle",
        "--reason",
        "pulled the plug",
    ])?;
    site.wait_state(&operation, "done")?;
    let journal = site.cluster.journal(&operation)?;
    journal.waited("stop:base@back", "power-off:middle", "down")?;
    ensure!(site.host("back")?.wait_off(SOON)?.success());

    // Skipping is a person's word, and stands in the journal as such.
    site.operate(&["startup", "--all"])?;
    hold(&site, HOLD_STOP)?;
    let (operation, _) = shut_down_into_trouble(&site)?;
    site.cluster.run(&[
        "operation",
        "skip",
        &operation,
        "stop:api@middle",
        "--reason",
        "it holds nothing",
    ])?;
    release(middle, HOLD_STOP)?;
    site.wait_state(&operation, "done")?;
    let journal = site.cluster.journal(&operation)?;
    let skipped = journal
        .entries()
        .iter()
        .find(|entry| entry.what == "skipped")
        .context("no skip in the journal")?;
    ensure!(
        skipped.detail.contains("anna") && skipped.detail.contains("it holds nothing"),
        "{}",
        skipped.detail
    );
    lab.close()
}

#[test]
fn an_agent_that_is_silent_on_a_machine_that_is_on_is_not_down() -> Result<()> {
    let Some(lab) = site::open("jtel-silent")? else {
        return Ok(());
    };
    let site = build(&lab)?;
    let middle = site.host("middle")?;

    // Silence in the middle of a stop, which succeeds unheard.
    hold(&site, HOLD_STOP)?;
    let operation = site.begin(&["shutdown", "--all"])?;
    eventually("the stop to be under way", SOON, || {
        site.cluster
            .journal(&operation)?
            .reached("stop:api@middle", "issued")
            .map(drop)
    })?;
    middle.exec(&[
        "systemctl",
        "kill",
        "--signal=STOP",
        "--kill-whom=main",
        "interlock-agent.service",
    ])?;
    release(middle, HOLD_STOP)?;
    eventually("the api to be stopped", SOON, || {
        let state = middle.output(&["systemctl", "is-active", "nginx.service"])?;
        ensure!(String::from_utf8_lossy(&state.stdout).trim() == "inactive");
        Ok(())
    })?;
    let seen = eventually("the silence to be noticed", SOON, || {
        let seen = site.cluster.node("middle")?;
        ensure!(
            seen["liveness"] == "lost" && seen["power"] == "on",
            "{seen:#}"
        );
        Ok(seen)
    })?;
    ensure!(middle.is_on(), "{seen:#}");
    site.wait_state(&operation, "needs-attention")?;
    assert_base_untouched(&site, &operation)?;

    // Nor is there a new plan past a silent node, since nobody knows what runs there.
    site.cluster
        .run(&["operation", "abort", &operation, "--reason", "it is silent"])?;
    eventually("the abort", BOOT, || {
        let shown = site.cluster.ask(&["operation", "show", &operation])?;
        ensure!(shown["state"] == "aborted", "{shown:#}");
        Ok(())
    })?;
    let said = site.cluster.run_to(
        interlock_e2e::cluster::NO_PLAN,
        &["plan", "shutdown", "--all"],
    )?;
    ensure!(said.contains("middle"), "{said}");

    // Heard again, the node tells what happened meanwhile, and the shutdown can be done.
    middle.exec(&[
        "systemctl",
        "kill",
        "--signal=CONT",
        "--kill-whom=main",
        "interlock-agent.service",
    ])?;
    site.wait_alive("middle")?;
    site.operate(&["shutdown", "--all"])?;
    for host in [middle, site.host("back")?] {
        ensure!(
            host.wait_off(Duration::from_secs(5))?.success(),
            "{} is on",
            host.name()
        );
    }
    lab.close()
}
