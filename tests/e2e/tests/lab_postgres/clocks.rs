//! Wall clocks that jump by an hour, and roles that move again and again meanwhile.
//!
//! The machine's own clock is not touched: a library between the programs and the C library shows those of one host another wall
//! clock, from a file. What it leaves alone are the clocks that only count (`CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`), as a step of a real
//! wall clock does: leases are counted by those.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::{Host, Lab, Machine, eventually, skip, tools};

use crate::site::{Site, UNIT};

/// How often the role is moved on purpose; 3 if it is not set. `INTERLOCK_SWITCHOVERS=200` takes some eight minutes.
const VARIABLE: &str = "INTERLOCK_SWITCHOVERS";

/// Where the library and the file are that says what the clock shows.
const LIBRARY: &str = "/usr/lib/interlock-clock.so";
const CLOCK: &str = "/etc/interlock-clock";

/// By how much all clocks are ahead at first, in seconds: certificates are as old as the test, and a clock an hour before that would
/// not take them for valid.
const AHEAD: i64 = 7200;

/// A step, in seconds.
const STEP: i64 = 3600;

/// Time in which something that was just caused is seen.
const SOON: Duration = Duration::from_secs(30);

/// Has these units of a host, which is off, go by its own clock.
fn give_clock(host: &Host, units: &[&str]) -> Result<()> {
    host.copy_file(&tools::libfaketime()?, LIBRARY, 0o755)?;
    set(host, AHEAD)?;
    let environment = format!(
        "[Service]\nEnvironment=LD_PRELOAD={LIBRARY} FAKETIME_TIMESTAMP_FILE={CLOCK} FAKETIME_CACHE_DURATION=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1\n"
    );
    for unit in units {
        let file = format!("/etc/systemd/system/{unit}.d/clock.conf");
        host.put_file(&file, environment.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Sets the wall clock of a host, in seconds ahead of the machine's.
fn set(host: &Host, ahead: i64) -> Result<()> {
    host.put_file(CLOCK, format!("{ahead:+}\n").as_bytes(), 0o644)
}

/// Waits until the server of this machine has seen its clock jump.
fn wait_seen(host: &Host, ahead: i64) -> Result<()> {
    eventually("the server to see its clock", SOON, || {
        let sql = "SELECT extract(epoch FROM clock_timestamp())::bigint";
        let words = ["psql", "-XAt", "-U", "postgres", "-c", sql, "postgres"];
        let shown: i64 = host.exec(&words)?.trim().parse().context("no time")?;
        let real: i64 = host
            .exec(&["date", "+%s"])?
            .trim()
            .parse()
            .context("no time")?;
        let seen = shown - real;
        ensure!((seen - ahead).abs() < 60, "{seen} s ahead, and not {ahead}");
        Ok(())
    })
}

#[test]
fn roles_stay_where_clocks_jump_by_an_hour_and_move_again_and_again_under_load() -> Result<()> {
    let moves: usize = match std::env::var(VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{VARIABLE}={text}"))?,
        Err(_) => 3,
    };
    if let Err(why) = tools::libfaketime() {
        skip("clocks that jump", &why.to_string());
        return Ok(());
    }
    let Some(lab) = Lab::open("postgres-clocks")? else {
        return Ok(());
    };
    let server = "synchronous: \"on\", rejoin: rewind";
    let units = ["interlock-agent.service", UNIT];
    let site = Site::build_plain_with(&lab, server, |host| give_clock(host, &units))?;
    // The coordinator has run with the right clock; from now on it has one that can jump, too.
    let coordinator = "interlock-coordinator.service";
    give_clock(&site.management, &[coordinator])?;
    site.management.exec(&["systemctl", "daemon-reload"])?;
    site.management
        .exec(&["systemctl", "restart", coordinator])?;
    for host in &site.members {
        eventually(&format!("the agent of {}", host.name()), SOON, || {
            let seen = site.cluster.node(host.name())?;
            ensure!(seen["liveness"] == "alive", "{seen}");
            Ok(())
        })?;
    }
    let writers = site.start()?;
    let (primary, epoch) = site.primary()?;
    let other = site.other(&primary).name().to_owned();
    site.wait_synchronous(&other)?;

    // Nobody minds.
    for host in [site.host(&primary), site.host(&other), &site.management] {
        for ahead in [AHEAD + STEP, AHEAD - STEP, AHEAD] {
            set(host, ahead)?;
            if host.name() == site.management.name() {
                std::thread::sleep(Duration::from_secs(2));
            } else {
                wait_seen(host, ahead)?;
            }
            writers.wait_more(50)?;
            let now = site.primary()?;
            ensure!(
                now == (primary.clone(), epoch),
                "{now:?} after a step of {}",
                host.name()
            );
        }
    }
    println!("clocks jumped: no row for {:?}", writers.longest_gap()?);
    site.wait_follows(&other, epoch)?;

    // Again and again, each time with another clock that has just jumped.
    let hosts = [&site.one, &site.two, &site.management];
    for number in 0..moves {
        let (primary, epoch) = site.primary()?;
        let target = site.other(&primary).name().to_owned();
        let step = if number % 2 == 0 { STEP } else { -STEP };
        set(hosts[number % hosts.len()], AHEAD + step)?;
        let switchover = ["switchover", "db", "--to", &target, "--yes"];
        let moved = site.cluster.run(&switchover);
        moved.with_context(|| format!("move {number}"))?;
        let now = site.wait_primary(&target, &writers)?;
        ensure!(now == epoch + 1, "epoch {now} after {epoch}");
        site.wait_follows(&primary, now)?;
    }
    println!("{moves} moves: no row for {:?}", writers.longest_gap()?);

    // And by itself.
    let (primary, _) = site.primary()?;
    let other = site.other(&primary).name().to_owned();
    site.wait_synchronous(&other)?;
    site.host(&primary).pull_plug()?;
    site.wait_primary(&other, &writers)?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    lab.close()
}
