//! Three members, of which commits always wait for one.

use anyhow::{Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::Site;

#[test]
fn of_three_members_who_was_waited_for_takes_over_with_all_rows_and_the_third_follows() -> Result<()>
{
    let Some(lab) = Lab::open("postgres-three")? else {
        return Ok(());
    };
    let site = Site::build_three(&lab, "synchronous: strict, rejoin: rewind")?;
    let writers = site.start()?;
    let (first, _) = site.primary()?;
    let second = eventually("commits that wait", SOON, || site.waited(&first))?;
    writers.wait_more(50)?;

    site.host(&first).pull_plug()?;
    let epoch = site.wait_primary(&second, &writers)?;
    println!("power loss: no row for {:?}", writers.longest_gap()?);
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());

    let mut rest = site.members.iter().map(|host| host.name().to_owned());
    let third = rest.find(|node| *node != first && *node != second);
    let third = third.unwrap_or_default();
    site.wait_follows(&third, epoch)?;
    eventually("commits that wait for the third", SOON, || {
        let waited = site.waited(&second)?;
        ensure!(waited == third, "they wait for {waited}");
        Ok(())
    })?;
    let slot =
        format!("SELECT active FROM pg_replication_slots WHERE slot_name = 'interlock_{third}'");
    ensure!(site.sql(&slot)?.trim() == "t", "its slot is not used");

    // All are there again, and the third is the next one.
    site.host(&first).power_on()?;
    site.wait_follows(&first, epoch)?;
    site.host(&second).pull_plug()?;
    let epoch = site.wait_primary(&third, &writers)?;
    site.wait_follows(&first, epoch)?;
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    site.tell(&writers)?;
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()?;
    lab.close()
}
