//! The databases of HCDC and MSTR behind one address, on real hosts: the shipped specs with the lab's addresses, Debian's PostgreSQL on
//! both machines, and a machine of the application that writes by the one address it knows and is asked whether its own login works.
//! Writers on both database machines ask their own server: two sides are never writable at once (invariant I1).

mod site;

use anyhow::{Result, ensure};
use interlock_e2e::{Lab, Machine};

use crate::site::{HCDC, MSTR, Site, System};

/// The database moves on purpose, then its server is killed under writers, then its machine is lost, and comes back.
fn moves(system: &System) -> Result<()> {
    let Some(lab) = Lab::open(system.name)? else {
        return Ok(());
    };
    let site = Site::build(&lab, system)?;
    let mut writers = site.start()?;
    let (first, epoch) = site.primary()?;
    let second = site.other(&first).name().to_owned();
    site.wait_login()?;

    site.wait_synchronous(&second)?;
    site.cluster
        .run(&["switchover", "db", "--to", &second, "--yes"])?;
    let moved = site.wait_primary(&second, &writers)?;
    ensure!(moved == epoch + 1, "epoch {moved} after {epoch}");
    println!("switchover: no row for {:?}", writers.longest_gap()?);
    site.wait_login()?;
    site.nothing_is_lost(&writers)?;
    site.wait_follows(&first, moved)?;

    // Its server alone: it is started again where it is, and the role does not move.
    site.wait_synchronous(&first)?;
    site.kill_server(&second, &writers)?;
    let stays = site.wait_primary(&second, &writers)?;
    ensure!(stays == moved, "epoch {stays} after {moved}");
    println!("killed server: no row for {:?}", writers.longest_gap()?);
    site.wait_login()?;
    site.nothing_is_lost(&writers)?;
    site.wait_follows(&first, moved)?;

    site.wait_synchronous(&first)?;
    site.host(&second).pull_plug()?;
    let taken = site.wait_primary(&first, &writers)?;
    ensure!(taken == moved + 1, "epoch {taken} after {moved}");
    println!("lost machine: no row for {:?}", writers.longest_gap()?);
    site.wait_login()?;
    site.nothing_is_lost(&writers)?;

    site.host(&second).power_on()?;
    site.wait_follows(&second, taken)?;
    writers.add(site.host(&second), "127.0.0.1")?;
    site.wait_synchronous(&second)?;
    ensure!(site.primary()? == (first, taken), "it moved back");
    site.nothing_is_lost(&writers)?;
    site.tell(&writers)?;
    lab.close()
}

#[test]
fn the_database_of_collaboration_servers_moves_behind_its_address_and_loses_nothing() -> Result<()>
{
    moves(&MSTR)
}

#[test]
fn the_database_of_hipchat_nodes_moves_behind_its_address_and_loses_nothing() -> Result<()> {
    moves(&HCDC)
}
