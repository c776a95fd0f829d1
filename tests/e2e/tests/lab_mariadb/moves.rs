//! The role moves on purpose, both ways, and a server that dies goes on where it was.

use anyhow::{Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::{Site, UNIT, journal};

#[test]
fn a_planned_move_loses_no_row_both_ways_and_a_killed_server_goes_on() -> Result<()> {
    let Some(lab) = Lab::open("mariadb-switchover")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (first, epoch) = site.primary()?;
    ensure!(first == "db1" && epoch == 1, "{first} in epoch {epoch}");

    for (target, expected) in [("db2", 2), ("db1", 3)] {
        site.cluster
            .run(&["switchover", "books", "--to", target, "--yes"])?;
        let epoch = site.wait_primary(target, &writers)?;
        ensure!(epoch == expected, "epoch {epoch}");
        site.wait_follows(site.other(target).name(), epoch)?;
    }
    println!("switchover: no row for {:?}", writers.longest_gap()?);
    let acknowledged = writers.rows()?;
    let lost = writers.lost(&acknowledged, &site.rows_there()?);
    site.tell(&writers)?;
    for host in [&site.one, &site.two] {
        println!("{}", journal(host)?);
    }
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;

    // The server alone dies: it comes back with all that it has acknowledged, on its node.
    let before = writers.rows()?;
    let kill = [
        "systemctl",
        "kill",
        "--signal=KILL",
        "--kill-whom=main",
        UNIT,
    ];
    site.one.exec(&kill)?;
    writers.wait_more(50)?;
    let (primary, epoch) = eventually("a primary, and rows", SOON, || site.primary())?;
    site.wait_follows(site.other(&primary).name(), epoch)?;
    let lost = writers.lost(&before, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;

    // All of it goes down, and comes up with all that it had.
    site.cluster
        .run(&["shutdown", "--service", "books", "--yes"])?;
    for host in [&site.one, &site.two] {
        let active = host.output(&["systemctl", "is-active", UNIT])?;
        ensure!(!active.status.success(), "{} runs it", host.name());
    }
    let before = writers.rows()?;
    site.cluster
        .run(&["startup", "--service", "books", "--yes"])?;
    let epoch = site.wait_primary(&primary, &writers)?;
    site.wait_follows(site.other(&primary).name(), epoch)?;
    let lost = writers.lost(&before, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;
    lab.close()
}
