//! A server dies, and is primary again where it was.

use anyhow::{Result, ensure};
use interlock_e2e::{Lab, Machine};

use crate::site::Site;

/// Restarts that a guard has by default.
const BUDGET: usize = 3;

#[test]
fn a_killed_server_is_primary_again_in_its_epoch_until_its_budget_is_spent() -> Result<()> {
    let Some(lab) = Lab::open("postgres-kills")? else {
        return Ok(());
    };
    let site = Site::build(&lab, "rejoin: rewind")?;
    let writers = site.start()?;
    let (first, epoch) = site.primary()?;
    let other = site.other(&first).name().to_owned();
    for _ in 0..BUDGET {
        site.kill_server(&first, &writers)?;
        println!("killed server: no row for {:?}", writers.longest_gap()?);
        let now = site.primary()?;
        ensure!(now == (first.clone(), epoch), "{now:?}");
        site.wait_follows(&other, epoch)?;
    }
    // It has acknowledged nothing that it has not kept: no standby was needed for that.
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());

    site.kill_server(&first, &writers)?;
    let next = site.wait_primary(&other, &writers)?;
    ensure!(next == epoch + 1, "epoch {next}");
    site.wait_follows(&first, next)?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_unit_that_is_the_server_alone_is_primary_again_sooner_and_moves_sooner() -> Result<()> {
    let Some(lab) = Lab::open("postgres-plain")? else {
        return Ok(());
    };
    let site = Site::build_plain(&lab, "rejoin: rewind")?;
    let writers = site.start()?;
    let (first, epoch) = site.primary()?;
    let other = site.other(&first).name().to_owned();
    for _ in 0..BUDGET {
        site.kill_server(&first, &writers)?;
        println!("killed server: no row for {:?}", writers.longest_gap()?);
        let now = site.primary()?;
        ensure!(now == (first.clone(), epoch), "{now:?}");
        site.wait_follows(&other, epoch)?;
    }
    site.cluster
        .run(&["switchover", "db", "--to", &other, "--yes"])?;
    let epoch = site.wait_primary(&other, &writers)?;
    site.wait_follows(&first, epoch)?;
    site.tell(&writers)?;
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;
    lab.close()
}
