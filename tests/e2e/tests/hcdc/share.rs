//! A node without the share.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::for_all;
use interlock_e2e::run;
use interlock_e2e::systems::System as _;
use interlock_e2e::systems::hcdc::{NUMBERS, SOON, Site};
use interlock_mesh::identity::Role;
use interlock_proto::v1::{Liveness, Verdict};
use serde_json::Value;

/// What a node has brought of a log to the share, which has it by day and by machine: `20260102/hipchat1/hipchat/...`.
fn brought(site: &Site, number: u8) -> Result<Vec<String>> {
    let logs = site.cluster.path("share/logs");
    let mut find = Command::new("find");
    find.arg(&logs).args(["-type", "f", "-path"]);
    let files = run(find.arg(format!("*/hipchat{number}/hipchat/*")))?;
    let text = |file: &str| {
        let day = Path::new(file).strip_prefix(&logs)?.iter().next();
        let day = day.unwrap_or_default().to_string_lossy();
        ensure!(day.len() == 8 && day.parse::<u32>().is_ok(), "{file}");
        run(Command::new("gzip").args(["-dc", file]))
    };
    files.lines().map(text).collect()
}

#[test]
fn a_node_without_the_share_stops_the_start_and_keeps_its_logs_until_it_is_mounted() -> Result<()> {
    let Some(site) = Site::with_the_share_on(&[1, 3])? else {
        return Ok(());
    };
    let has_brought = |number: u8| {
        let line = format!("hipchat{number} yesterday\n");
        eventually("its log is brought", SOON, || {
            let all = brought(&site, number)?;
            ensure!(all.contains(&line), "{all:?}");
            Ok(())
        })
    };
    let operation = site.operator.begin(&for_all("startup"), false)?;
    eventually("the start waits for that one node", SOON, || {
        let step = |number: u8| {
            let step = format!("start:hipchat@hipchat{number}");
            site.operator.step(&operation, &step)
        };
        let (well, seen) = (step(1)?, step(2)?);
        ensure!(well.state == "done", "{well:?}");
        ensure!(seen.began_ms == 0, "it has begun: {seen:?}");
        ensure!(
            seen.waits_for.contains("nfs.mounted on hipchat2"),
            "{seen:?}"
        );
        ensure!(step(3)?.began_ms == 0, "before the one that waits");
        Ok(())
    })?;
    let out = site.cluster.path("support.tar.zst");
    let out = out.display().to_string();
    eventually("it is named, and only that", SOON, || {
        let command = ["logs", "collect", "--format", "json", "--out", &out];
        let told = site.cluster.ctl("olga", Role::Operator, &command)?;
        let told: Value = serde_json::from_slice(&told.stdout)?;
        for number in NUMBERS {
            let problems = told["nodes"][format!("hipchat{number}")]["problems"].to_string();
            let away = problems.contains("nothing is mounted at");
            ensure!(away == (number == 2), "hipchat{number}: {problems}");
        }
        Ok(())
    })?;
    has_brought(1)?;
    has_brought(3)?;
    ensure!(brought(&site, 2)?.is_empty(), "of a node without the share");
    let below = fs::read_dir(site.cluster.path("file_store"))?.count();
    ensure!(below == 0, "{below} files below the mount point");

    site.mount(2, true)?;
    site.operator.until(&operation, "done")?;
    has_brought(2)?;
    site.operator.until_service("hipchat", "ok", &[])?;
    site.operator.until_service("nfs", "ok", &[])?;

    // It goes under one that runs: that one is sick, the others serve, and it comes back by itself.
    let before = site.processes()?;
    site.mount(2, false)?;
    eventually("it misses the share", SOON, || {
        let (status, told) = site.node(2)?;
        ensure!(status == 503 && told["reason"] == "file store", "{told}");
        site.members_are(["UP", "DOWN", "UP"])
    })?;
    let reasons = ["hipchat.web on hipchat2"];
    site.operator
        .until_service("hipchat", "degraded", &reasons)?;
    site.mount(2, true)?;
    site.operator.until_service("hipchat", "ok", &[])?;
    ensure!(site.processes()? == before, "a node was restarted");
    Ok(())
}

#[test]
fn a_share_whose_server_hangs_is_one_cause_and_all_nodes_come_back_when_it_answers() -> Result<()> {
    let Some((site, mut disk)) = Site::with_a_share_that_can_hang()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    site.operator.until_service("hipchat", "ok", &[])?;
    let before = site.processes()?;
    disk.freeze()?;
    eventually("each node misses it", SOON, || {
        for number in NUMBERS {
            let (verdict, evidence) = site.check(number, "nfs", "writes")?;
            ensure!(verdict != Verdict::Ok, "hipchat{number}: {evidence}");
        }
        let causes = site.operator.status()?.causes;
        let subjects: Vec<&str> = causes.iter().map(|it| it.subject.as_str()).collect();
        ensure!(subjects == ["nfs"], "{causes:?}");
        Ok(())
    })?;
    // Who hangs in the kernel is waited for by nobody.
    let status = site.operator.status()?;
    let alive = |node: &str| {
        let mut nodes = status.nodes.iter();
        nodes.any(|it| it.node == node && it.liveness() == Liveness::Alive)
    };
    ensure!(
        NUMBERS
            .iter()
            .all(|number| alive(&format!("hipchat{number}"))),
        "{status:?}"
    );
    disk.thaw()?;
    site.operator.until_service("nfs", "ok", &[])?;
    site.operator.until_service("hipchat", "ok", &[])?;
    ensure!(site.processes()? == before, "a node was restarted");
    Ok(())
}
