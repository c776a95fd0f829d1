//! The role begins, moves on purpose, moves by itself, and ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_e2e::cluster::NO_PLAN;
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::{SOON, Site};

/// Exit status of `interlockctl` if a coordinator refuses (`docs/exit-codes.md`).
const REFUSED: i32 = 2;

#[test]
fn a_role_begins_moves_on_purpose_and_ends() -> Result<()> {
    let Some(lab) = Lab::open("lease-moves")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (first, epoch) = site.primary()?;
    ensure!(first == "db1" && epoch == 1, "{first} in epoch {epoch}");
    let before = writers.last_server()?;

    let said = site.cluster.run(&["switchover", "register", "--yes"])?;
    ensure!(said.contains("promote"), "{said}");
    let epoch = site.wait_primary("db2", &writers)?;
    ensure!(epoch == 2, "epoch {epoch}");
    ensure!(writers.last_server()? != before, "the old server goes on");
    ensure!(
        !site.has_address(&site.one)? && site.has_address(&site.two)?,
        "the address did not move"
    );
    println!("switchover: no write for {:?}", writers.longest_gap()?);

    // Back, by name.
    site.cluster
        .run(&["switchover", "register", "--to", "db1", "--yes"])?;
    site.wait_primary("db1", &writers)?;
    // To where it is already there is nothing to do.
    site.cluster
        .run(&["switchover", "register", "--to", "db1", "--yes"])?;

    site.cluster
        .run(&["shutdown", "--service", "register", "--yes"])?;
    for host in [&site.one, &site.two] {
        ensure!(!site.has_address(host)?, "{} has it", host.name());
        let active = host.output(&["systemctl", "is-active", "register.service"])?;
        ensure!(!active.status.success(), "{} runs it", host.name());
    }
    // What was stopped on purpose stays so: nobody takes over.
    let stopped = writers.count()?;
    std::thread::sleep(std::time::Duration::from_secs(4));
    ensure!(writers.count()? == stopped, "writes after the shutdown");
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_machine_that_loses_power_loses_its_role_and_comes_back_without_it() -> Result<()> {
    let Some(lab) = Lab::open("lease-power")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (lost, _) = site.primary()?;
    let other = site.other(&lost).name().to_owned();
    site.host(&lost).pull_plug()?;
    let epoch = site.wait_primary(&other, &writers)?;
    ensure!(epoch == 2, "epoch {epoch}");
    println!("power loss: no write for {:?}", writers.longest_gap()?);
    let why = &site.cluster.ask(&["why", "register"])?["decisions"][0];
    let tells = why["epoch"] == 2
        && why["before"] == lost.as_str()
        && why["node"] == other.as_str()
        && why["over"][0]["how"] == "expired"
        && why["times"]["last_renewed"].is_string()
        && why["times"]["decided"].is_string();
    ensure!(tells, "{why:#}");

    site.host(&lost).power_on()?;
    eventually("the machine to be a standby", SOON, || {
        let node = site.cluster.node(&lost)?;
        let side = &node["instances"][0]["role"]["side"];
        ensure!(side == "standby", "{node}");
        Ok(())
    })?;
    ensure!(!site.has_address(site.host(&lost))?, "it has the address");
    ensure!(site.primary()?.0 == other, "the role moved back");
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_machine_that_freezes_takes_no_write_when_it_thaws() -> Result<()> {
    let Some(lab) = Lab::open("lease-freeze")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (frozen, _) = site.primary()?;
    let other = site.other(&frozen).name().to_owned();
    site.host(&frozen).freeze()?;
    site.wait_primary(&other, &writers)?;
    println!("freeze: no write for {:?}", writers.longest_gap()?);
    site.host(&frozen).thaw()?;
    eventually("what thawed to have stopped", SOON, || {
        ensure!(!site.has_address(site.host(&frozen))?, "it has the address");
        let active = site
            .host(&frozen)
            .output(&["systemctl", "is-active", "register.service"])?;
        ensure!(!active.status.success(), "its server runs");
        Ok(())
    })?;
    ensure!(site.primary()?.0 == other, "the role moved back");
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_primary_that_reaches_nobody_stops_before_another_one_begins() -> Result<()> {
    let Some(lab) = Lab::open("lease-cut")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (cut, _) = site.primary()?;
    let other = site.other(&cut).name().to_owned();
    site.host(&cut).set_cable(false)?;
    site.wait_primary(&other, &writers)?;
    println!("cable: no write for {:?}", writers.longest_gap()?);
    let own = site
        .host(&cut)
        .output(&["systemctl", "is-active", "register.service"])?;
    ensure!(!own.status.success(), "the cut machine's server runs on");
    site.host(&cut).set_cable(true)?;
    eventually("the machine to be back", SOON, || {
        let node = site.cluster.node(&cut)?;
        ensure!(node["liveness"] == "alive", "{node}");
        Ok(())
    })?;
    ensure!(site.primary()?.0 == other, "the role moved back");
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_dead_agent_costs_nothing_and_a_stopped_one_its_role() -> Result<()> {
    let Some(lab) = Lab::open("lease-agent")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (node, epoch) = site.primary()?;
    let host = site.host(&node);
    let server = writers.last_server()?;
    let unit = "interlock-agent.service";
    // systemd starts it again, and it goes on with what its predecessor held.
    let pid = || host.exec(&["systemctl", "show", "--value", "-p", "MainPID", unit]);
    let before = pid()?;
    site.signal(host, unit, "KILL")?;
    eventually("another agent", SOON, || {
        let now = pid()?;
        ensure!(now != before && now.trim() != "0", "{before} and {now}");
        Ok(())
    })?;
    let again = site.wait_primary(&node, &writers)?;
    ensure!(again == epoch, "epoch {again} after {epoch}");
    ensure!(writers.last_server()? == server, "the server was restarted");

    // Nobody renews, and nobody stops the server: the kernel shuts its clients out.
    site.signal(host, unit, "STOP")?;
    let other = site.other(&node).name().to_owned();
    site.wait_primary(&other, &writers)?;
    println!("stopped agent: no write for {:?}", writers.longest_gap()?);
    site.signal(host, unit, "CONT")?;
    eventually("the former primary to have stopped", SOON, || {
        ensure!(!site.has_address(host)?, "it has the address");
        Ok(())
    })?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn without_any_coordinator_the_primary_stops_in_time_and_the_role_begins_again_with_the_next_one()
-> Result<()> {
    let Some(lab) = Lab::open("lease-alone")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (node, epoch) = site.primary()?;
    let unit = "interlock-coordinator.service";
    site.management.exec(&["systemctl", "stop", unit])?;
    eventually("the primary to have stopped", SOON, || {
        let host = site.host(&node);
        ensure!(!site.has_address(host)?, "it has the address");
        let active = host.output(&["systemctl", "is-active", "register.service"])?;
        ensure!(!active.status.success(), "its server runs");
        Ok(())
    })?;
    site.management.exec(&["systemctl", "start", unit])?;
    let before = writers.count()?;
    eventually("a primary, and writes", SOON, || {
        let (_, later) = site.primary()?;
        ensure!(later > epoch, "epoch {later}");
        let count = writers.count()?;
        ensure!(count > before + 20, "{count} after {before}");
        Ok(())
    })?;
    println!("no coordinator: no write for {:?}", writers.longest_gap()?);
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_machine_that_is_switched_off_by_its_own_people_hands_its_role_over_first() -> Result<()> {
    let Some(lab) = Lab::open("lease-off")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (node, epoch) = site.primary()?;
    let other = site.other(&node).name().to_owned();
    // Its connection may be gone before its answer.
    let _ = site.host(&node).output(&["systemctl", "poweroff"]);
    let later = site.wait_primary(&other, &writers)?;
    ensure!(later == epoch + 1, "epoch {later} after {epoch}");
    println!("switched off: no write for {:?}", writers.longest_gap()?);
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_role_that_is_held_on_to_moves_by_the_word_of_a_person_alone() -> Result<()> {
    let Some(lab) = Lab::open("lease-word")? else {
        return Ok(());
    };
    // The cautious choices: nothing expires.
    let site = Site::under(&lab, "{}")?;
    let writers = site.start()?;
    let (node, epoch) = site.primary()?;
    let other = site.other(&node).name().to_owned();
    let failover = |down: &str, more: &[&str]| {
        let words = ["failover", "register", "--attest-down", down, "--yes"];
        [words.as_slice(), more].concat().join(" ")
    };
    let run_to = |status: i32, words: String| {
        let words: Vec<&str> = words.split(' ').collect();
        site.cluster.run_to(status, &words)
    };
    // Who is heard is not down.
    let said = run_to(NO_PLAN, failover(&node, &["--reason", "test"]))?;
    ensure!(
        said.contains("is heard, so its machine is not down"),
        "{said}"
    );

    // Coordinators that are away change nothing for a primary that holds on.
    let unit = "interlock-coordinator.service";
    site.management.exec(&["systemctl", "stop", unit])?;
    let before = writers.count()?;
    std::thread::sleep(Duration::from_secs(12));
    ensure!(writers.count()? > before + 100, "it has stopped");
    site.management.exec(&["systemctl", "start", unit])?;
    let again = site.wait_primary(&node, &writers)?;
    ensure!(again == epoch, "epoch {again} after {epoch}");

    site.host(&node).pull_plug()?;
    eventually("the machine to be lost", SOON, || {
        let seen = site.cluster.node(&node)?;
        ensure!(seen["liveness"] == "lost", "{seen}");
        Ok(())
    })?;
    // Nothing proves that it is down, and nobody takes over.
    std::thread::sleep(Duration::from_secs(12));
    ensure!(!site.has_address(site.host(&other))?, "{other} took over");
    let said = run_to(REFUSED, failover(&node, &[]))?;
    ensure!(said.contains("say how you know"), "{said}");
    run_to(0, failover(&node, &["--reason", "unplugged"]))?;
    site.wait_primary(&other, &writers)?;

    site.host(&node).power_on()?;
    eventually("the machine to be a standby", SOON, || {
        let seen = site.cluster.node(&node)?;
        let side = &seen["instances"][0]["role"]["side"];
        ensure!(side == "standby", "{seen}");
        Ok(())
    })?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}
