//! A VM host is emptied while a client writes, stays off, and is taken into service again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::rows::Writers;
use interlock_e2e::{Lab, eventually};
use serde_json::Value;

use crate::site::Site;

/// How the program ends that could make no plan.
const NO_PLAN: i32 = 5;

/// Something else on both hosts, which the plan stops and starts with the rest.
const EXPORTER: &str = "  exporter:\n    nodes: [db1, db2]\n    active: all\n    at_least: 1\n    \
                        parts: [{ systemd: { unit: redis-server.service } }]\n    requires: [db]\n    \
                        checks:\n      reached: { tcp: \"ADDRESS:5432\", from: self, every: 1s }\n";

/// Is every entry of the report that says what was looked at a good one?
fn pre_checks(plan: &Value) -> Result<Vec<&Value>> {
    let report = plan["report"].as_array().context("no report")?;
    let of_it = report.iter().filter(|it| it["entry"] == "pre-check");
    Ok(of_it.collect())
}

fn steps(operation: &Value) -> Vec<(String, String)> {
    let steps = operation["steps"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    steps
        .map(|step| (text(&step["step"]), text(&step["evidence"])))
        .collect()
}

fn nothing_is_lost(site: &Site<'_>, writers: &Writers) -> Result<()> {
    let lost = writers.lost(&writers.rows()?, &site.rows_there()?);
    ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
    writers.never_two_at_once()
}

#[test]
fn a_host_with_the_primary_is_emptied_and_comes_back_without_a_lost_row() -> Result<()> {
    let Some(lab) = Lab::open("postgres-hosts")? else {
        return Ok(());
    };
    let besides = |address: &str| EXPORTER.replace("ADDRESS", address);
    let site = Site::build_on_hosts(&lab, "synchronous: \"on\", rejoin: rewind", besides)?;
    site.begin()?;
    // Not on the machine that is to go off: what a test runs there keeps its processes from ending.
    let mut writers = Writers::default();
    writers.add(&site.client, &site.address)?;
    writers.add(site.host("db2"), "127.0.0.1")?;
    writers.wait_more(100)?;
    site.wait_follows("db2", 1)?;
    site.cluster
        .run(&["startup", "--service", "exporter", "--yes"])?;
    let (first, epoch) = site.primary()?;
    ensure!(first == "db1" && epoch == 1, "{first} in epoch {epoch}");

    let evacuate = ["--host", "vmhost1"];
    let plan = eventually("a plan", Duration::from_secs(60), || {
        let plan = [&["plan", "evacuate"], &evacuate[..]].concat();
        site.cluster.ask(&plan)
    })?;
    let looked_at = pre_checks(&plan)?;
    ensure!(
        looked_at.len() >= 4 && looked_at.iter().all(|it| it["verdict"] == "pass"),
        "{looked_at:#?}"
    );
    let confirmed = ["--yes", "--cluster", "pair"];
    let operation = site
        .cluster
        .ask(&[&["evacuate"], &evacuate[..], &confirmed].concat())?;
    println!("{operation:#}");
    let done = steps(&operation);
    let at = |id: &str| done.iter().position(|(step, _)| step == id);
    let order = [
        "check:evacuate",
        "promote:db@db2",
        "verify-role:db@db2",
        "stop:db@db1",
        "power-off:db1",
    ];
    let places: Vec<_> = order.iter().map(|id| at(id)).collect();
    ensure!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{order:?} are at {places:?}"
    );
    let (_, evidence) = &done[places[2].unwrap_or_default()];
    for part in ["db2 takes writes", "db1 takes none", "answers mgmt1"] {
        ensure!(evidence.contains(part), "{evidence}");
    }
    // Where the role was is kept with the operation.
    let name = operation["operation"].as_str().unwrap_or_default();
    let kept = site.cluster.ask(&["operation", "show", name])?;
    let active = &kept["plan"]["assumptions"]["db"]["active"];
    ensure!(active == "db1", "{active}");
    site.host("db1").wait_off(Duration::from_secs(5))?;
    let epoch = site.wait_primary("db2", &writers)?;
    ensure!(epoch == 2, "epoch {epoch}");
    println!("evacuated: no row for {:?}", writers.longest_gap()?);
    nothing_is_lost(&site, &writers)?;

    // Empty, it has nothing to be moved away, and what is off is nowhere to fail back to.
    site.cluster.run_to(NO_PLAN, &["failback", "db", "--yes"])?;
    writers.wait_more(50)?;

    let operation = site
        .cluster
        .ask(&[&["restore"], &evacuate[..], &["--yes"]].concat())?;
    println!("{operation:#}");
    let done = steps(&operation);
    ensure!(
        done.iter().any(|(step, _)| step == "catch-up:db@db1"),
        "{done:?}"
    );
    // The role stays where it is, and the data are there when the operation is done.
    ensure!(site.primary()? == ("db2".to_owned(), 2), "the role moved");
    site.wait_follows("db1", 2)?;
    writers.add(site.host("db1"), "127.0.0.1")?;

    site.cluster.run(&["failback", "db", "--yes"])?;
    let epoch = site.wait_primary("db1", &writers)?;
    ensure!(epoch == 3, "epoch {epoch}");
    site.cluster.run_to(NO_PLAN, &["failback", "db", "--yes"])?;
    site.tell(&writers)?;
    nothing_is_lost(&site, &writers)?;
    lab.close()
}
