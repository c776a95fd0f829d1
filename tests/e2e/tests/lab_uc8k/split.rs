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
    site.tell(&calls)?;
    lab.close()
}

/// Eth0 is on where the role is, and off elsewhere.
fn wait_on(site: &Site<'_>, node: &str) -> Result<()> {
    eventually(&format!("Eth0 of {node}, and no other"), SOON, || {
        for host in &site.members {
            let on = is_on(host)?;
            ensure!(on == (host.name() == node), "{}: {on}", host.name());
        }
        Ok(())
    })
}

fn is_on(host: &Host) -> Result<bool> {
    Ok(host.exec(&["ip", "link", "show", "eth0"])?.contains(",UP"))
}

/// Has the third machine believe that the service's address is at this machine, whatever is announced; none ends that.
fn believe(site: &Site<'_>, node: Option<&str>) -> Result<()> {
    let of = ["dev", "eth0"];
    match node {
        Some(node) => {
            let mac = ["cat", "/sys/class/net/eth0/address"];
            let mac = site.host(node).exec(&mac)?;
            let there = [
                "ip",
                "neigh",
                "replace",
                &site.address,
                "lladdr",
                mac.trim(),
            ];
            let words = [&there[..], &of, &["nud", "permanent"]].concat();
            site.management.exec(&words).map(drop)
        }
        None => {
            let gone = ["ip", "neigh", "del", &site.address];
            let words = [&gone[..], &of].concat();
            site.management.exec(&words).map(drop)
        }
    }
}

/// Does whoever has the service's address, as the third machine believes, take a connection?
fn is_let_in(site: &Site<'_>) -> Result<bool> {
    let connect = format!("exec 3<>/dev/tcp/{}/5060", site.address);
    let asked = ["timeout", "2", "bash", "-c", &connect];
    Ok(site.management.output(&asked)?.status.success())
}

#[test]
fn eth0_is_on_where_the_role_is_alone_and_lets_nobody_in_once_the_lease_is_over() -> Result<()> {
    let Some(lab) = Lab::open("uc8k-eth0")? else {
        return Ok(());
    };
    let site = Site::build_split(&lab)?;
    for host in &site.members {
        ensure!(!is_on(host)?, "{}: Eth0 is on before all", host.name());
    }
    site.cluster.run(&["startup", "--all", "--yes"])?;
    let (first, epoch) = site.primary()?;
    let second = site.other(&first).name().to_owned();
    wait_on(&site, &first)?;
    site.wait_verified()?;
    let mut calls = Writers::default();
    calls.add(&site.client, &site.address)?;
    calls.wait_more(50)?;

    // On purpose.
    site.cluster
        .run(&["switchover", "pbx", "--to", &second, "--yes"])?;
    ensure!(site.wait_primary(&second, &calls)? == epoch + 1);
    wait_on(&site, &second)?;
    site.is_where(&second)?;

    // Its agent is stopped: nobody switches Eth0 off, and the kernel lets nobody in by it.
    let agent = |signal: &str| {
        let signal = format!("--signal={signal}");
        let unit = "interlock-agent.service";
        site.host(&second)
            .exec(&["systemctl", "kill", &signal, "--kill-whom=main", unit])
    };
    believe(&site, Some(&second))?;
    ensure!(is_let_in(&site)?, "nobody is let in while it has the role");
    agent("STOP")?;
    ensure!(site.wait_primary(&first, &calls)? == epoch + 2);
    println!("stopped agent: no call for {:?}", calls.longest_gap()?);
    ensure!(is_on(site.host(&second))?, "something has switched it off");
    ensure!(
        site.has_address(site.host(&second))?,
        "its address is not there"
    );
    ensure!(!is_let_in(&site)?, "it lets in who still believes it there");
    believe(&site, None)?;
    site.wait_verified()?;
    agent("CONT")?;
    wait_on(&site, &first)?;

    // Somebody switches the primary's off: it comes back there.
    site.host(&first)
        .exec(&["ip", "link", "set", "eth0", "down"])?;
    calls.wait_more(50)?;
    ensure!(site.primary()? == (first.clone(), epoch + 2));

    // Something brings it up with the address at a boot: whoever has no right takes it off.
    site.host(&second)
        .exec(&["ip", "link", "set", "eth0", "up"])?;
    let address = format!("{}/24", site.address);
    site.host(&second)
        .exec(&["ip", "addr", "add", &address, "dev", "eth0"])?;
    wait_on(&site, &first)?;
    calls.never_two_at_once()?;
    site.tell(&calls)?;

    site.cluster
        .run(&["shutdown", "--service", "pbx", "--yes"])?;
    for host in &site.members {
        ensure!(!is_on(host)?, "{}: Eth0 is on", host.name());
    }
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
