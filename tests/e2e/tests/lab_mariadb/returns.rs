//! A machine loses power, and comes back with transactions that the new primary never got.

use anyhow::{Result, ensure};
use interlock_e2e::{Lab, Machine};

use crate::site::{Site, journal, sql};

#[test]
fn what_a_former_primary_has_alone_is_measured_and_it_is_left_as_it_is() -> Result<()> {
    let Some(lab) = Lab::open("mariadb-power")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let writers = site.start()?;
    let (lost, _) = site.primary()?;
    let other = site.other(&lost).name().to_owned();
    // For a moment its replica gets nothing, while clients go on; what they write then is on the disk when the power goes.
    let old = site.host(&lost);
    lab.cut(&lost, &other)?;
    writers.wait_more(30)?;
    let alone = site.rows_of(old)?;
    old.pull_plug()?;
    lab.heal()?;
    site.wait_primary(&other, &writers)?;
    println!("power loss: no row for {:?}", writers.longest_gap()?);
    let there = site.rows_there()?;
    let only_there: Vec<&String> = alone.difference(&there).collect();
    ensure!(!only_there.is_empty(), "the replica got all of it");

    old.power_on()?;
    let said = site.wait_said(old, "have parted from those of")?;
    site.tell(&writers)?;
    println!("{}", journal(old)?);
    ensure!(
        said.contains("could not take the role") && said.contains("mariadb-backup"),
        "{said}"
    );
    // It refuses writes, follows nobody, and has all that it had.
    let now = site.rows_of(old)?;
    ensure!(
        only_there.iter().all(|row| now.contains(*row)),
        "some of it is gone"
    );
    let read_only = sql(old, "SELECT @@global.read_only")?;
    ensure!(read_only.trim() == "1", "read_only is {read_only}");
    writers.never_two_at_once()?;
    let process = |server: &str| server.split('/').next().unwrap_or_default().to_owned();
    let first = writers.rows()?.first().map(|row| process(&row.server));
    let missing = writers.lost(&writers.rows()?, &site.rows_there()?);
    println!(
        "{} rows were at the former primary alone, {} acknowledged",
        only_there.len(),
        missing.len()
    );
    ensure!(
        missing
            .iter()
            .all(|row| Some(process(&row.server)) == first),
        "{missing:?}"
    );
    lab.close()
}
