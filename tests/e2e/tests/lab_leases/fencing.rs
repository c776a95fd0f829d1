//! A lost primary is switched off by its controller, and one that others reach is not.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::{SOON, Site};

/// Nothing here ever expires: what moves the role is the power source alone.
const FENCED: &str = "{ automatic: true, fence: off }";

#[test]
fn a_primary_that_nobody_reaches_is_switched_off_and_its_role_moves_although_it_holds_on()
-> Result<()> {
    let Some(lab) = Lab::open("lease-fence")? else {
        return Ok(());
    };
    let site = Site::with_power(&lab, FENCED)?;
    let writers = site.start()?;
    let (lost, epoch) = site.primary()?;
    let other = site.other(&lost).name().to_owned();
    // It goes on, and takes the writes of its own machine.
    site.host(&lost).set_cable(false)?;
    let later = site.wait_primary(&other, &writers)?;
    ensure!(later == epoch + 1, "epoch {later} after {epoch}");
    println!("fenced: no write for {:?}", writers.longest_gap()?);
    site.host(&lost).wait_off(Duration::from_secs(5))?;
    let why = &site.cluster.ask(&["why", "register"])?["decisions"][0];
    let evidence = why["evidence"].to_string();
    let tells = why["over"][0]["how"] == "fenced"
        && evidence.contains("does not reach its machine")
        && evidence.contains("confirmed that it is off");
    ensure!(tells, "{why:#}");

    site.host(&lost).set_cable(true)?;
    site.host(&lost).power_on()?;
    eventually("the machine to be a standby", SOON, || {
        let seen = site.cluster.node(&lost)?;
        let side = &seen["instances"][0]["role"]["side"];
        ensure!(side == "standby", "{seen}");
        Ok(())
    })?;
    ensure!(site.primary()?.0 == other, "the role moved back");
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_primary_whose_agent_hangs_is_reached_by_others_and_goes_on() -> Result<()> {
    let Some(lab) = Lab::open("lease-hang")? else {
        return Ok(());
    };
    let site = Site::with_power(&lab, FENCED)?;
    let writers = site.start()?;
    let (node, epoch) = site.primary()?;
    let unit = "interlock-agent.service";
    let boots = site.host(&node).boots();
    site.signal(site.host(&node), unit, "STOP")?;
    eventually("the agent to be lost", SOON, || {
        let seen = site.cluster.node(&node)?;
        ensure!(seen["liveness"] == "lost", "{seen}");
        let status = site.cluster.ask(&["status"])?;
        let reason = status["services"][0]["lease"]["reason"].to_string();
        ensure!(reason.contains("reaches its machine"), "{reason}");
        Ok(())
    })?;
    let before = writers.count()?;
    eventually("writes", SOON, || {
        ensure!(writers.count()? > before + 50, "it has stopped");
        Ok(())
    })?;
    ensure!(site.host(&node).boots() == boots, "it was switched off");
    site.signal(site.host(&node), unit, "CONT")?;
    let again = site.wait_primary(&node, &writers)?;
    ensure!(again == epoch, "epoch {again} after {epoch}");
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}
