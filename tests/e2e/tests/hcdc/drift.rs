//! Nodes that are not as the others: another version, another time, a configuration that is not in force.

use std::fs;

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{for_all, for_services};
use interlock_e2e::systems::System as _;
use interlock_e2e::systems::hcdc::{SOON, Site};
use interlock_proto::v1::Verdict;

#[test]
fn a_node_with_another_version_another_time_or_an_old_configuration_is_named() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    let all_is_well = || site.operator.until_service("hipchat", "ok", &[]).map(drop);
    let told = |state: &str, reasons: &[&str]| {
        let told = site.operator.until_service("hipchat", state, reasons);
        told.map(drop)
    };
    all_is_well()?;

    fs::write(site.own(3, "version"), "hipchat 3.1.8\n")?;
    told("degraded", &["hipchat.version", "hipchat3"])?;
    fs::write(site.own(3, "version"), "hipchat 3.1.7\n")?;
    all_is_well()?;

    // Its clock is behind a time server that is ahead.
    site.clocks[1].be_ahead(30)?;
    told("degraded", &["hipchat.clock on hipchat2", "behind"])?;
    site.clocks[1].be_ahead(0)?;
    all_is_well()?;

    // A configuration of one, then the same on all nodes, and in force on none of them.
    let file = site.own(1, "config.json");
    let new = fs::read_to_string(&file)?.replace("hipchat_postgres\"", "hipchat_postgres\" ");
    fs::write(&file, &new)?;
    eventually("the one is named", SOON, || {
        for (number, wanted) in [(1, Verdict::Bad), (2, Verdict::Ok), (3, Verdict::Ok)] {
            let (verdict, evidence) = site.check(number, "hipchat", "config")?;
            ensure!(verdict == wanted, "hipchat{number}: {evidence}");
        }
        Ok(())
    })?;
    for number in [2, 3] {
        fs::write(site.own(number, "config.json"), &new)?;
    }
    eventually("no node has it in force", SOON, || {
        for number in [1, 2, 3] {
            let (verdict, evidence) = site.check(number, "hipchat", "self")?;
            ensure!(verdict == Verdict::Bad, "hipchat{number}: {evidence}");
        }
        Ok(())
    })?;
    let mut restart = for_services("restart", &["hipchat"]);
    let refused = site.operator.plan(&restart)?;
    ensure!(refused.digest.is_empty(), "{}", refused.report_json);
    restart.force.push("hipchat.self".to_owned());
    let before = site.processes()?;
    site.operator.run(&restart)?;
    all_is_well()?;
    for (before, after) in before.iter().zip(&site.processes()?) {
        ensure!(before != after, "one was not restarted: {after:?}");
    }
    Ok(())
}
