//! Cables: that of the service, that of the heartbeat, and the one between the two machines alone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::Site;

/// Time in which a role would have moved long ago.
const LONG_AGO: Duration = Duration::from_secs(6);

/// Nothing moves for as long as it would have taken.
fn stays(site: &Site<'_>, expected: &(String, u64)) -> Result<()> {
    let until = Instant::now() + LONG_AGO;
    while Instant::now() < until {
        let now = site.primary()?;
        ensure!(now == *expected, "{now:?}, and it was {expected:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[test]
fn a_cable_moves_the_role_only_where_somebody_else_is_reached_and_never_makes_two_masters()
-> Result<()> {
    let Some(lab) = Lab::open("uc8k-links")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let first = site.primary()?;
    site.wait_synchronous(&first.0)?;

    // Eth1 between the two alone: no copy is made, and nothing moves.
    lab.cut("pbx1", "pbx2")?;
    stays(&site, &first)?;
    writers.wait_more(50)?;
    lab.heal()?;
    site.wait_follows("pbx2", first.1)?;
    site.wait_synchronous("pbx1")?;

    // Eth0 of the master: it is well, renews, and serves nobody.
    site.one.set_second_cable(false)?;
    let epoch = site.wait_primary("pbx2", &writers)?;
    ensure!(epoch == first.1 + 1, "epoch {epoch}");
    site.wait_verified()?;
    println!("Eth0: no row for {:?}", writers.longest_gap()?);
    let why = &site.cluster.ask(&["why", "pbx"])?["decisions"][0];
    let tells = why["over"].to_string().contains("released")
        && why["candidates"]
            .to_string()
            .contains("eth0 has no carrier");
    ensure!(tells, "{why:#}");
    site.nothing_is_lost(&writers)?;

    // That of the other one, too: nobody would be better off.
    let now = site.primary()?;
    site.two.set_second_cable(false)?;
    stays(&site, &now)?;
    let seen = site.cluster.node("pbx2")?;
    let detail = seen["instances"][0]["role"]["detail"].to_string();
    ensure!(detail.contains("nobody reaches"), "{seen}");

    // The first one is reached again.
    site.one.set_second_cable(true)?;
    let epoch = site.wait_primary("pbx1", &writers)?;
    ensure!(epoch == now.1 + 1, "epoch {epoch}");
    site.two.set_second_cable(true)?;
    site.wait_verified()?;
    site.wait_follows("pbx2", epoch)?;
    site.wait_synchronous("pbx1")?;
    stays(&site, &("pbx1".to_owned(), epoch))?;

    // Eth1 of the master: its service goes on until its lease is about to end, and not longer.
    site.one.set_cable(false)?;
    let epoch = site.wait_primary("pbx2", &writers)?;
    println!("Eth1: no row for {:?}", writers.longest_gap()?);
    ensure!(!site.has_address(&site.one)?, "it has the address");
    site.one.set_cable(true)?;
    eventually("the machine to be back", SOON, || {
        let node = site.cluster.node("pbx1")?;
        ensure!(node["liveness"] == "alive", "{node}");
        Ok(())
    })?;
    site.wait_follows("pbx1", epoch)?;
    site.is_where("pbx2")?;
    site.tell(&writers)?;
    site.nothing_is_lost(&writers)?;
    lab.close()
}
