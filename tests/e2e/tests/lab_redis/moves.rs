//! The role moves on purpose.

use anyhow::{Result, ensure};
use interlock_e2e::{Lab, Machine};

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
