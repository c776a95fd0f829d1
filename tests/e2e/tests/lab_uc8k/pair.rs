//! The pair is started, switched, taken over, booted and stopped.

use anyhow::{Result, ensure};
use interlock_e2e::pair::{SOON, postgres};
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::{Site, UNIT, when};

#[test]
fn a_pair_is_started_switched_and_taken_over_and_stopped_in_its_order() -> Result<()> {
    let Some(lab) = Lab::open("uc8k-pair")? else {
        return Ok(());
    };
    let site = Site::build(&lab)?;
    let mut writers = site.start()?;
    site.is_where("pbx1")?;
    site.wait_verified()?;
    let database = when(&site.one, postgres::UNIT, "Active")?;
    ensure!(
        database < when(&site.one, UNIT, "Active")?,
        "the IPPBX was there before its database"
    );

    // Its guard restarts a dead IPPBX where it is.
    let (_, epoch) = site.primary()?;
    let kill = ["systemctl", "kill", "--signal=KILL", UNIT];
    let before = when(&site.one, UNIT, "Active")?;
    site.one.exec(&kill)?;
    eventually("another IPPBX", SOON, || {
        ensure!(
            when(&site.one, UNIT, "Active")? > before,
            "it is the one that was killed"
        );
        site.is_where("pbx1")
    })?;
    writers.wait_more(50)?;
    ensure!(
        site.primary()? == ("pbx1".to_owned(), epoch),
        "{:?}",
        site.primary()
    );

    // A planned switch: no call that was taken is lost, and the former master follows.
    site.cluster
        .run(&["switchover", "pbx", "--to", "pbx2", "--yes"])?;
    let epoch = site.wait_primary("pbx2", &writers)?;
    site.is_where("pbx2")?;
    site.wait_verified()?;
    site.wait_follows("pbx1", epoch)?;
    site.nothing_is_lost(&writers)?;

    // A takeover.
    site.wait_synchronous("pbx2")?;
    site.two.pull_plug()?;
    let epoch = site.wait_primary("pbx1", &writers)?;
    site.wait_verified()?;
    println!("takeover: no call for {:?}", writers.longest_gap()?);
    site.nothing_is_lost(&writers)?;
    ensure!(site.has_address(&site.one)?, "the address is not there");
    site.two.power_on()?;
    site.wait_follows("pbx2", epoch)?;
    writers.add(&site.two, "127.0.0.1")?;
    site.wait_synchronous("pbx1")?;
    site.is_where("pbx1")?;

    // Both are off; the one that was standby comes up alone, and has everything.
    site.one.pull_plug()?;
    site.two.pull_plug()?;
    site.two.power_on()?;
    writers.add(&site.two, "127.0.0.1")?;
    let epoch = site.wait_primary("pbx2", &writers)?;
    site.one.power_on()?;
    writers.add(&site.one, "127.0.0.1")?;
    site.wait_follows("pbx1", epoch)?;
    site.wait_synchronous("pbx2")?;
    site.nothing_is_lost(&writers)?;

    let (master, _) = site.primary()?;
    site.is_where(&master)?;
    site.tell(&writers)?;

    // It is stopped.
    site.cluster
        .run(&["shutdown", "--service", "pbx", "--yes"])?;
    for host in &site.members {
        ensure!(!site.has_address(host)?, "{} has the address", host.name());
        for unit in [UNIT, postgres::UNIT] {
            let active = host.output(&["systemctl", "is-active", unit])?;
            ensure!(!active.status.success(), "{} runs {unit}", host.name());
        }
    }
    lab.close()
}
