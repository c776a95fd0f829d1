//! Standbys that lack too much, machines that come back with what nobody else has, and machines that were all off.

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::rows::Writers;
use interlock_e2e::{Host, Lab, Machine, eventually};
use serde_json::Value;

use crate::site::{Site, UNIT};

/// Time in which a lease would have expired long ago.
const LONG_AGO: std::time::Duration = std::time::Duration::from_secs(6);

/// The lease: a standby may lack a megabyte.
const LEASE: &str = "profile: fast, max_lag: 1MiB";

/// Three megabytes of log.
const MUCH: &str = "CREATE TABLE much AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)";

fn psql(host: &Host, sql: &str) -> Result<String> {
    host.exec(&["psql", "-XAt", "-U", "postgres", "-c", sql, "postgres"])
}

/// Why nobody is primary.
fn reason(site: &Site<'_>) -> Result<String> {
    let service = site.cluster.service("db")?;
    let reason = service["lease"]["reason"].as_str();
    Ok(reason.unwrap_or_default().to_owned())
}

/// Nobody is primary, and this is why, for as long as it takes a lease to expire.
fn stays_free(site: &Site<'_>, because: &str) -> Result<()> {
    eventually(&format!("the reason {because:?}"), SOON, || {
        // It is told as soon as the primary is silent; its lease runs on for a while.
        ensure!(site.primary().is_err(), "{:?} is primary", site.primary());
        let said = reason(site)?;
        ensure!(said.contains(because), "{said:?}");
        Ok(())
    })?;
    let until = std::time::Instant::now() + LONG_AGO;
    while std::time::Instant::now() < until {
        ensure!(site.primary().is_err(), "{:?} is primary", site.primary());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    Ok(())
}

#[test]
fn who_lacks_too_much_waits_and_who_comes_back_with_more_has_it_counted_and_is_no_primary()
-> Result<()> {
    let Some(lab) = Lab::open("postgres-behind")? else {
        return Ok(());
    };
    let site = Site::under(&lab, "rejoin: rewind", LEASE)?;
    let mut writers = site.start()?;
    let (first, epoch) = site.primary()?;
    let (old, new) = (site.host(&first), site.other(&first));
    lab.cut(old.name(), new.name())?;
    psql(old, MUCH)?;
    writers.wait_more(50)?;
    // How far it has written is told with a renewal.
    std::thread::sleep(std::time::Duration::from_secs(1));
    old.pull_plug()?;
    stays_free(&site, "behind, more than 1048576")?;

    // Both were off, and the one that lacks rows is there first, and alone.
    new.pull_plug()?;
    lab.heal()?;
    new.power_on()?;
    stays_free(&site, "behind, more than 1048576")?;
    ensure!(psql(new, "SELECT pg_is_in_recovery()")?.trim() == "t");

    old.power_on()?;
    for host in [old, new] {
        writers.add(host, "127.0.0.1")?;
    }
    // Either: the one that lacked them has them from the other one as soon as that is there.
    let (primary, later) = eventually("a primary", SOON, || {
        let (primary, later) = site.primary()?;
        ensure!(later > epoch, "epoch {later}");
        Ok((primary, later))
    })?;
    writers.wait_more(50)?;
    site.wait_follows(site.other(&primary).name(), later)?;
    writers.never_two_at_once()?;
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    comes_back_with_rows_of_its_own(&lab, &site, &mut writers)?;
    lab.close()
}

/// The exit code where no plan is possible.
const NO_PLAN: i32 = 5;

#[test]
fn rows_that_only_a_lost_primary_has_are_lost_by_a_persons_word_alone() -> Result<()> {
    let Some(lab) = Lab::open("postgres-loss")? else {
        return Ok(());
    };
    let site = Site::under(&lab, "rejoin: rewind", LEASE)?;
    let writers = site.start()?;
    let (first, epoch) = site.primary()?;
    let (old, new) = (site.host(&first), site.other(&first));
    lab.cut(old.name(), new.name())?;
    psql(old, MUCH)?;
    writers.wait_more(50)?;
    // How far it has written is told with a renewal.
    std::thread::sleep(std::time::Duration::from_secs(1));
    old.pull_plug()?;
    stays_free(&site, "behind, more than 1048576")?;

    let failover = [
        "failover",
        "db",
        "--attest-down",
        &first,
        "--reason",
        "it burnt",
    ];
    let said = site.cluster.run_to(NO_PLAN, &failover)?;
    for part in [
        "writes would be lost: at least",
        "bytes of its log",
        "--accept-loss",
    ] {
        ensure!(said.contains(part), "{said}");
    }
    let accepted = [&failover[..], &["--accept-loss", "--yes"]].concat();
    let said = site.cluster.run_to(64, &accepted)?;
    ensure!(said.contains("--lose-writes-of db"), "{said}");
    let said = site
        .cluster
        .run(&[&accepted[..], &["--lose-writes-of", "db"]].concat())?;
    println!("{said}");
    lab.heal()?;
    let later = site.wait_primary(new.name(), &writers)?;
    ensure!(later > epoch, "epoch {later}");
    let why = site.cluster.ask(&["why", "db"])?.to_string();
    for part in [
        "accepts that writes are lost",
        "bytes of its log",
        "it burnt",
    ] {
        ensure!(why.contains(part), "{why}");
    }

    // What it had is counted when it comes back, and kept.
    old.power_on()?;
    site.wait_follows(&first, later)?;
    eventually("what was lost is told", SOON, || {
        let events = site.cluster.ask(&["events"])?;
        let events = events.as_array().context("no events")?;
        let lost = events.iter().any(|event| kind(event) == "writes-lost");
        ensure!(lost, "it is not told");
        Ok(())
    })?;
    writers.never_two_at_once()?;
    lab.close()
}

/// A primary loses power with rows that its standby never got. They are lost, so they are counted and kept; and whoever starts its
/// server starts a standby.
fn comes_back_with_rows_of_its_own(
    lab: &Lab,
    site: &Site<'_>,
    writers: &mut Writers,
) -> Result<()> {
    let (first, _) = site.primary()?;
    let (old, new) = (site.host(&first), site.other(&first));
    lab.cut(old.name(), new.name())?;
    writers.wait_more(100)?;
    old.pull_plug()?;
    lab.heal()?;
    let epoch = site.wait_primary(new.name(), writers)?;
    let of_old = format!("{first}/");
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(
        !lost.is_empty() && lost.iter().all(|row| row.server.starts_with(&of_old)),
        "{lost:?}"
    );

    // Its people start it by hand, before there is an agent: a standby, which takes no row.
    let agent = "interlock-agent.service";
    let wants = "etc/systemd/system/multi-user.target.wants";
    let link = old.root().join(wants).join(agent);
    std::fs::remove_file(&link).with_context(|| format!("cannot remove {}", link.display()))?;
    old.power_on()?;
    old.wait_booted(SOON)?;
    old.exec(&["systemctl", "start", UNIT])?;
    eventually("the server to answer", SOON, || {
        ensure!(psql(old, "SELECT pg_is_in_recovery()")?.trim() == "t");
        Ok(())
    })?;
    writers.add(old, "127.0.0.1")?;
    let refused = old.output(&[
        "psql",
        "-XAt",
        "-U",
        "postgres",
        "-c",
        "INSERT INTO rows VALUES ('by hand')",
        "postgres",
    ])?;
    ensure!(!refused.status.success(), "it takes rows");
    writers.wait_more(100)?;
    ensure!(!site.has_address(old)?, "it has the address");

    // Its agent comes back: what nobody else has is counted, kept, and told.
    old.exec(&["systemctl", "start", agent])?;
    site.wait_follows(&first, epoch)?;
    let told = eventually("what was lost is told", SOON, || {
        let events = site.cluster.ask(&["events"])?;
        let events = events.as_array().context("no events")?;
        let lost = events.iter().find(|event| kind(event) == "writes-lost");
        lost.cloned().context("it is not told")
    })?;
    site.tell(writers)?;
    let text = told.to_string();
    let count = count_before(&text, " committed transactions").with_context(|| text.clone())?;
    println!("{} rows were lost, {count} transactions told", lost.len());
    // Each row is a transaction; some of which nobody has heard may be there as well, of writers and of the server itself.
    ensure!(
        (lost.len()..=lost.len() + 5).contains(&count),
        "{} rows were lost: {text}",
        lost.len()
    );
    let kept = count_before(&text, " B of its log").with_context(|| text.clone())?;
    ensure!(kept > 0 && text.contains("they are saved in"), "{text}");
    writers.never_two_at_once()
}

fn kind(event: &Value) -> &str {
    event["kind"].as_str().unwrap_or_default()
}

/// The number that stands right before these words.
fn count_before(text: &str, words: &str) -> Option<usize> {
    let (before, _) = text.split_once(words)?;
    let number = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    number.parse().ok()
}
