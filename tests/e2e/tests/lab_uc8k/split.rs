//! Mode 2: the records of calls are on two machines of their own, and each has all of them.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::rows::Writers;
use interlock_e2e::{Host, Lab, Machine, eventually};

use crate::site::{Site, psql};

/// The records that a database has.
fn records(host: &Host) -> Result<BTreeSet<String>> {
    let rows = psql(host, "SELECT text FROM cdr")?;
    Ok(rows.lines().map(str::to_owned).collect())
}

/// Each database has each call that was taken.
fn wait_in_both(site: &Site<'_>, calls: &Writers) -> Result<()> {
    let taken = calls.rows()?;
    for host in &site.stores {
        eventually("all records", SOON, || {
            let lost = calls.lost(&taken, &records(host)?);
            ensure!(lost.is_empty(), "{} lacks {}", host.name(), lost.len());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn calls_are_taken_with_one_of_two_databases_and_their_records_come_to_be_in_both() -> Result<()> {
    let Some(lab) = Lab::open("uc8k-split")? else {
        return Ok(());
    };
    let site = Site::build_split(&lab)?;
    site.cluster.run(&["startup", "--all", "--yes"])?;
    let first = site.primary()?;
    site.is_where(&first.0)?;
    site.wait_verified()?;
    let mut calls = Writers::default();
    calls.add(&site.client, &site.address)?;
    calls.wait_more(50)?;

    // A database is lost: calls go on, and nothing moves. It is back, and gets what it lacks.
    site.stores[1].pull_plug()?;
    calls.wait_more(50)?;
    ensure!(site.primary()? == first, "{:?}", site.primary());
    let there = records(&site.stores[0])?;
    ensure!(there.len() > 100, "only {} records", there.len());
    site.stores[1].power_on()?;
    eventually("the agent of the new boot", SOON, || {
        let seen = site.cluster.node("cdr2")?;
        let down = seen["instances"][0]["state"] == "stopped";
        ensure!(seen["liveness"] == "alive" && down, "{seen}");
        Ok(())
    })?;
    site.cluster
        .run(&["startup", "--service", "cdr", "--yes"])?;
    wait_in_both(&site, &calls)?;

    // The IPPBX moves by itself with its machine, and needs nothing from it.
    site.host(&first.0).pull_plug()?;
    let other = site.other(&first.0).name().to_owned();
    let epoch = site.wait_primary(&other, &calls)?;
    ensure!(epoch == first.1 + 1, "epoch {epoch}");
    site.wait_verified()?;
    println!("takeover: no call for {:?}", calls.longest_gap()?);
    calls.never_two_at_once()?;
    wait_in_one(&site, &calls)?;
    lab.close()
}

/// What a machine that was lost had not sent to both is in one.
fn wait_in_one(site: &Site<'_>, calls: &Writers) -> Result<()> {
    let taken = calls.rows()?;
    let mut there = BTreeSet::new();
    for host in &site.stores {
        there.extend(records(host)?);
    }
    let lost = calls.lost(&taken, &there);
    ensure!(lost.is_empty(), "{} calls are lost: {lost:?}", lost.len());
    Ok(())
}
