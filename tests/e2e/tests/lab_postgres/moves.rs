//! The role moves on purpose and by itself, and who was primary follows afterwards.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::{Host, Lab, Machine, eventually};

use crate::site::{Site, UNIT};

/// All rows that the server of this machine has.
fn rows_of(host: &Host) -> Result<BTreeSet<String>> {
    let question = "SELECT text FROM rows";
    let rows = host.exec(&["psql", "-XAt", "-U", "postgres", "-c", question, "postgres"])?;
    Ok(rows.lines().map(str::to_owned).collect())
}

#[test]
fn a_planned_move_loses_no_row_and_the_former_primary_follows() -> Result<()> {
    let Some(lab) = Lab::open("postgres-switchover")? else {
        return Ok(());
    };
    let site = Site::build(&lab, "rejoin: rewind")?;
    let writers = site.start()?;
    let (first, epoch) = site.primary()?;
    ensure!(first == "db1" && epoch == 1, "{first} in epoch {epoch}");

    for (target, expected) in [("db2", 2), ("db1", 3)] {
        site.cluster
            .run(&["switchover", "db", "--to", target, "--yes"])?;
        let epoch = site.wait_primary(target, &writers)?;
        ensure!(epoch == expected, "epoch {epoch}");
        site.wait_follows(site.other(target).name(), epoch)?;
    }
    println!("switchover: no row for {:?}", writers.longest_gap()?);
    let acknowledged = writers.rows()?;
    let lost = writers.lost(&acknowledged, &site.rows_there()?);
    site.tell(&writers)?;
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;

    site.cluster
        .run(&["shutdown", "--service", "db", "--yes"])?;
    for host in [&site.one, &site.two] {
        let active = host.output(&["systemctl", "is-active", UNIT])?;
        ensure!(!active.status.success(), "{} runs it", host.name());
    }
    lab.close()
}

#[test]
fn who_loses_power_loses_its_role_and_comes_back_rewound() -> Result<()> {
    let Some(lab) = Lab::open("postgres-power")? else {
        return Ok(());
    };
    let site = Site::build(&lab, "rejoin: rewind")?;
    let writers = site.start()?;
    let (lost, _) = site.primary()?;
    let other = site.other(&lost).name().to_owned();
    let at_cut = rows_of(site.host(&other))?;
    ensure!(!at_cut.is_empty(), "the standby has nothing");
    site.host(&lost).pull_plug()?;
    let epoch = site.wait_primary(&other, &writers)?;
    println!("power loss: no row for {:?}", writers.longest_gap()?);

    site.host(&lost).power_on()?;
    site.wait_follows(&lost, epoch)?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    let journal = ["journalctl", "-u", "interlock-agent", "-b", "-o", "cat"];
    if site.host(&lost).exec(&journal)?.contains("they are saved") {
        let why = eventually("what was lost is told", SOON, || {
            let events = site.cluster.run(&["events"])?;
            ensure!(events.contains("writes-lost"), "{events}");
            site.cluster
                .run(&["why", "db", "--epoch", &epoch.to_string()])
        })?;
        ensure!(why.contains("they are saved in"), "{why}");
    }
    // What the old one had and the new one never got is gone, and nothing else.
    let first = format!("{lost}/");
    let (rows, there) = (writers.rows()?, site.rows_there()?);
    let missing = writers.lost(&rows, &there);
    ensure!(
        missing.iter().all(|row| row.server.starts_with(&first)),
        "{missing:?}"
    );
    let gone: Vec<&String> = at_cut.difference(&there).collect();
    ensure!(gone.is_empty(), "{gone:?} was at the standby, and is gone");
    lab.close()
}

#[test]
fn no_acknowledged_row_is_lost_with_a_synchronous_primary_and_a_killed_one_goes_on() -> Result<()> {
    let Some(lab) = Lab::open("postgres-sync")? else {
        return Ok(());
    };
    let site = Site::build(&lab, "synchronous: \"on\", rejoin: clone")?;
    let writers = site.start()?;
    let (first, _) = site.primary()?;
    let other = site.other(&first).name().to_owned();
    site.wait_synchronous(&other)?;

    site.kill_server(&first, &writers)?;
    println!("killed server: no row for {:?}", writers.longest_gap()?);
    let (second, epoch) = site.primary()?;
    let third = site.other(&second).name().to_owned();
    site.wait_follows(&third, epoch)?;
    site.wait_synchronous(&third)?;

    site.host(&second).pull_plug()?;
    site.wait_primary(&third, &writers)?;
    println!("power loss: no row for {:?}", writers.longest_gap()?);
    // Without a standby it goes on, and the record says so: what was acknowledged alone does not count as safe.
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    lab.close()
}
