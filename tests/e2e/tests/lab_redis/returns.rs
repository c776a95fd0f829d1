//! A machine loses power, and comes back with rows that the new primary never got.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use interlock_e2e::pair::SOON;
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::Site;

#[test]
fn what_a_former_primary_has_alone_is_measured_and_kept_before_it_follows() -> Result<()> {
    let Some(lab) = Lab::open("redis-power")? else {
        return Ok(());
    };
    let site = Site::build(&lab, "rejoin: clone")?;
    let writers = site.start()?;
    let (lost, _) = site.primary()?;
    let other = site.other(&lost).name().to_owned();
    // For a moment its replica gets nothing, while clients go on; what they write then is on the disk when the power goes.
    let old = site.host(&lost);
    lab.cut(&lost, &other)?;
    writers.wait_more(30)?;
    old.exec(&["redis-cli", "SAVE"])?;
    let alone = site.rows_of(old)?;
    let at_cut = site.rows_of(site.host(&other))?;
    ensure!(!at_cut.is_empty(), "the replica has nothing");
    old.pull_plug()?;
    lab.heal()?;
    let epoch = site.wait_primary(&other, &writers)?;
    println!("power loss: no row for {:?}", writers.longest_gap()?);
    let there = site.rows_there()?;
    let only_there: Vec<&String> = alone.difference(&there).collect();
    ensure!(!only_there.is_empty(), "the replica got all of it");

    old.power_on()?;
    site.wait_follows(&lost, epoch)?;
    site.tell(&writers)?;
    let journal = old.exec(&[
        "journalctl",
        "-u",
        "interlock-agent",
        "-b",
        "-o",
        "cat",
        "--no-pager",
    ])?;
    ensure!(
        journal.contains("B of its writes, from") && journal.contains("is kept, and copied anew"),
        "{journal}"
    );
    // Whoever asks the coordinator hears of it, too.
    let why = eventually("what was lost is told", SOON, || {
        let events = site.cluster.run(&["events"])?;
        ensure!(events.contains("writes-lost"), "{events}");
        site.cluster
            .run(&["why", "cache", "--epoch", &epoch.to_string()])
    })?;
    ensure!(why.contains("B of its writes, from"), "{why}");
    // What is kept has the rows that are nowhere else.
    let row = only_there[0];
    let find = format!("grep -q -a -w {row} /var/lib/interlock-agent/aside/main/*.rdb");
    let found = old.output(&["sh", "-c", &find])?;
    ensure!(found.status.success(), "{row} is not kept");
    println!(
        "{} rows were at the former primary alone, and are kept",
        only_there.len()
    );
    ensure!(!site.rows_of(old)?.contains(row), "{row} is back");
    // What the replica had is nowhere gone.
    let gone = |rows: BTreeSet<String>| at_cut.difference(&rows).cloned().collect::<Vec<_>>();
    for rows in [site.rows_there()?, site.rows_of(old)?] {
        let gone = gone(rows);
        ensure!(gone.is_empty(), "{gone:?} was at the replica, and is gone");
    }
    writers.never_two_at_once()?;
    // The process, without the line of its data: that is another one once it is promoted.
    let process = |server: &str| server.split('/').next().unwrap_or_default().to_owned();
    let first = writers.rows()?.first().map(|row| process(&row.server));
    let missing = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(
        missing
            .iter()
            .all(|row| Some(process(&row.server)) == first),
        "{missing:?}"
    );
    lab.close()
}
