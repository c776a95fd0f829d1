//! A primary that its coordinators are lost to, and that goes on while the other machine promises to wait (`failsafe`).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use interlock_e2e::rows::Writers;
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::{SOON, Site};

const FAILSAFE: &str = "{ automatic: true, profile: fast, on_control_loss: failsafe, vm_pause: accepted, clients: address }";

/// Several times as long as a lease that nobody renews lasts.
const LONG: Duration = Duration::from_secs(10);

/// Writes are taken, all the time, by the machine that took them before.
fn goes_on(site: &Site<'_>, writers: &Writers, node: &str) -> Result<()> {
    let server = writers.last_server()?;
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        let before = writers.count()?;
        std::thread::sleep(Duration::from_secs(1));
        let count = writers.count()?;
        ensure!(count > before + 10, "{count} writes after {before}");
    }
    ensure!(writers.last_server()? == server, "another server");
    ensure!(
        site.has_address(site.host(node))?,
        "{node} lost its address"
    );
    Ok(())
}

fn has_stopped(site: &Site<'_>, node: &str) -> Result<()> {
    eventually(&format!("{node} to have stopped"), SOON, || {
        let host = site.host(node);
        ensure!(!site.has_address(host)?, "it has the address");
        let active = host.output(&["systemctl", "is-active", "register.service"])?;
        ensure!(!active.status.success(), "its server runs");
        Ok(())
    })
}

#[test]
fn without_any_coordinator_a_primary_goes_on_by_the_promise_of_its_peer_and_stops_without_it()
-> Result<()> {
    let Some(lab) = Lab::open("lease-promise")? else {
        return Ok(());
    };
    let site = Site::under(&lab, FAILSAFE)?;
    let writers = site.start()?;
    let (node, epoch) = site.primary()?;
    let other = site.other(&node).name().to_owned();
    let unit = "interlock-coordinator.service";
    site.management
        .exec(&["systemctl", "kill", "--signal=KILL", unit])?;
    site.management.exec(&["systemctl", "stop", unit])?;
    goes_on(&site, &writers, &node)?;

    // Nobody promises any more: the other one may be the next primary for all that it knows.
    lab.cut(&node, &other)?;
    has_stopped(&site, &node)?;
    let stopped = writers.count()?;
    lab.heal()?;
    std::thread::sleep(Duration::from_secs(4));
    ensure!(
        writers.count()? == stopped,
        "without a coordinator nobody becomes primary"
    );

    site.management.exec(&["systemctl", "start", unit])?;
    eventually("a primary, and writes", SOON, || {
        let (_, later) = site.primary()?;
        ensure!(later > epoch, "epoch {later}");
        let count = writers.count()?;
        ensure!(count > stopped + 20, "{count} after {stopped}");
        Ok(())
    })?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}

#[test]
fn a_primary_that_coordinators_alone_do_not_reach_keeps_its_role_until_its_peer_is_lost_too()
-> Result<()> {
    let Some(lab) = Lab::open("lease-part")? else {
        return Ok(());
    };
    let site = Site::under(&lab, FAILSAFE)?;
    let writers = site.start()?;
    let (node, epoch) = site.primary()?;
    let other = site.other(&node).name().to_owned();
    lab.cut(&node, site.management.name())?;
    goes_on(&site, &writers, &node)?;
    ensure!(!site.has_address(site.host(&other))?, "{other} took over");

    lab.cut(&node, &other)?;
    let later = site.wait_primary(&other, &writers)?;
    ensure!(later > epoch, "epoch {later} after {epoch}");
    has_stopped(&site, &node)?;
    println!("parted: no write for {:?}", writers.longest_gap()?);
    lab.heal()?;
    eventually("the machine to be a standby", SOON, || {
        let seen = site.cluster.node(&node)?;
        let side = &seen["instances"][0]["role"]["side"];
        ensure!(side == "standby", "{seen}");
        Ok(())
    })?;
    site.tell(&writers)?;
    writers.never_two_at_once()?;
    lab.close()
}
