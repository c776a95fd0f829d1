//! The role moves on purpose, and because its server dies.

use anyhow::{Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::{Site, UNIT};

#[test]
fn a_planned_move_loses_no_row_and_the_former_primary_follows_where_it_was() -> Result<()> {
    let Some(lab) = Lab::open("redis-switchover")? else {
        return Ok(());
    };
    let site = Site::build(&lab, "rejoin: clone")?;
    let writers = site.start()?;
    let (first, epoch) = site.primary()?;
    ensure!(first == "db1" && epoch == 1, "{first} in epoch {epoch}");
    let full = |host: &interlock_e2e::Host| host.exec(&["redis-cli", "INFO", "stats"]);

    for (target, expected) in [("db2", 2), ("db1", 3)] {
        site.cluster
            .run(&["switchover", "cache", "--to", target, "--yes"])?;
        let epoch = site.wait_primary(target, &writers)?;
        ensure!(epoch == expected, "epoch {epoch}");
        site.wait_follows(site.other(target).name(), epoch)?;
        let stats = full(site.host(target))?;
        let copies = if target == "db2" {
            "sync_full:0"
        } else {
            "sync_full:1"
        };
        ensure!(stats.contains(copies), "it was copied anew: {stats}");
    }
    println!("switchover: no row for {:?}", writers.longest_gap()?);
    let acknowledged = writers.rows()?;
    let lost = writers.lost(&acknowledged, &site.rows_there()?);
    site.tell(&writers)?;
    for host in [&site.one, &site.two] {
        println!(
            "{}",
            host.exec(&[
                "journalctl",
                "-u",
                "interlock-agent",
                "-o",
                "short-precise",
                "--no-pager"
            ])?
        );
    }
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;

    // All of it goes down, and comes up with all that it had.
    site.cluster
        .run(&["shutdown", "--service", "cache", "--yes"])?;
    for host in [&site.one, &site.two] {
        let active = host.output(&["systemctl", "is-active", UNIT])?;
        ensure!(!active.status.success(), "{} runs it", host.name());
    }
    let before = writers.rows()?;
    site.cluster
        .run(&["startup", "--service", "cache", "--yes"])?;
    let epoch = site.wait_primary("db1", &writers)?;
    site.wait_follows("db2", epoch)?;
    let lost = writers.lost(&before, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_killed_server_is_not_restarted_in_its_place_and_comes_back_as_a_replica() -> Result<()> {
    let Some(lab) = Lab::open("redis-killed")? else {
        return Ok(());
    };
    let site = Site::build(&lab, "rejoin: clone")?;
    let writers = site.start()?;
    let (killed, _) = site.primary()?;
    let other = site.other(&killed).name().to_owned();
    let kill = ["systemctl", "kill", "--signal=KILL", UNIT];
    site.host(&killed).exec(&kill)?;
    let epoch = site.wait_primary(&other, &writers)?;
    println!("killed server: no row for {:?}", writers.longest_gap()?);
    site.wait_follows(&killed, epoch)?;
    // Somebody starts it by hand, or starts it again: it takes no write.
    site.host(&killed).exec(&["systemctl", "restart", UNIT])?;
    site.wait_follows(&killed, epoch)?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    let (rows, there) = (writers.rows()?, site.rows_there()?);
    let missing = writers.lost(&rows, &there);
    println!(
        "{} of {} rows were never at the other one",
        missing.len(),
        rows.len()
    );
    let server = rows.first().map(|row| row.server.clone());
    ensure!(
        missing
            .iter()
            .all(|row| Some(&row.server) == server.as_ref()),
        "{missing:?}"
    );
    eventually("the same rows on both", SOON, || {
        ensure!(site.rows_of(site.host(&killed))?.is_superset(&there));
        Ok(())
    })?;
    lab.close()
}
