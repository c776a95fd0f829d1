//! A restart of the instances one by one, under WebSocket clients; also one that changes their configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{for_all, for_services};
use interlock_e2e::systems::mstr::clients::{Heard, WebSocket};
use interlock_e2e::systems::mstr::{FIRST_CONFIG, NUMBERS, SOON, Site};
use interlock_proto::v1;
use serde_json::Value;

/// How many clients there are, each in a network of its own.
const CLIENTS: u8 = 30;

/// A client that opens its WebSocket again whenever it is closed, as those of the product do: which servers have left it,
/// and how often.
fn stay(
    to: SocketAddr,
    network: u8,
    over: &AtomicBool,
    open: &AtomicU64,
) -> Result<BTreeMap<String, u64>> {
    let mut left = BTreeMap::new();
    loop {
        let mut socket = WebSocket::open(to, network)?;
        open.fetch_add(1, Ordering::Relaxed);
        while socket.hear(SOON)? != Heard::End {}
        if over.load(Ordering::Relaxed) {
            return Ok(left);
        }
        *left.entry(socket.served.clone()).or_default() += 1;
    }
}

/// Runs a restart while clients are there, each of which is to lose its connection with its own instance alone.
fn under_clients(site: &Site, restart: &v1::MakePlanRequest) -> Result<()> {
    site.operator.run(&for_all("startup"))?;
    site.operator.until_service("collab", "ok", &[])?;
    let at = site.balancer()?;
    let (over, open) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|clients| -> Result<()> {
        let (over, open) = (&over, &open);
        let staying: Vec<_> = (0..CLIENTS)
            .map(|network| clients.spawn(move || stay(at, network, over, open)))
            .collect();
        let ran = (|| {
            eventually("all are there", SOON, || {
                ensure!(open.load(Ordering::Relaxed) >= u64::from(CLIENTS));
                Ok(())
            })?;
            let operation = site.operator.run(restart)?;
            site.operator.until_service("collab", "ok", &[])?;
            for number in NUMBERS {
                changed(site, number, restart)?;
            }
            anyhow::Ok(operation)
        })();
        over.store(true, Ordering::Relaxed);
        // Their connections are over with the instances.
        let stopped = site
            .operator
            .run(&for_services("shutdown", &["collab", "lb"]));
        let mut left: BTreeMap<String, u64> = BTreeMap::new();
        for client in staying {
            let client = client.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
            for (server, times) in client.context("a client was refused")? {
                ensure!(times == 1, "{server} left a client {times} times");
                *left.entry(server).or_default() += times;
            }
        }
        let (operation, _) = (ran?, stopped?);
        for number in NUMBERS {
            let drain = format!("drain:collab@collab{number}:lb@lb1");
            let drain = site.operator.step(&operation, &drain)?;
            // Who was still there when its time was over, and nobody else.
            let lost = left.get(&site.server(number)).copied().unwrap_or(0);
            let expected = match lost {
                0 => "no session left".to_owned(),
                1 => "1 session left".to_owned(),
                many => format!("{many} sessions left"),
            };
            ensure!(drain.evidence.contains(&expected), "{lost}: {drain:?}");
        }
        Ok(())
    })
}

/// An instance runs with the configuration that a restart was to bring, or with the one that it had.
fn changed(site: &Site, number: u8, restart: &v1::MakePlanRequest) -> Result<()> {
    let (config, level) = match &restart.change {
        Some(_) => (
            format!("{{ \"logging\": {{ \"level\": \"info of collab{number}\" }} }}\n"),
            format!("info of collab{number}"),
        ),
        None => (FIRST_CONFIG.to_owned(), "info".to_owned()),
    };
    let (said, runs) = (site.config(number)?, site.instance(number)?);
    ensure!(said == config, "{said}");
    ensure!(runs["logging"]["level"] == level, "{runs}");
    Ok(())
}

/// A restart with this template of the configuration.
fn change(template: &str) -> v1::MakePlanRequest {
    v1::MakePlanRequest {
        change: Some(v1::FileChange {
            file: String::new(),
            template: template.to_owned(),
            even_if_unchanged: false,
        }),
        ..for_services("restart", &["collab"])
    }
}

#[test]
fn a_rolling_restart_under_websocket_clients_loses_each_of_them_only_with_its_own_instance()
-> Result<()> {
    match Site::begin()? {
        Some(site) => under_clients(&site, &for_services("restart", &["collab"])),
        None => Ok(()),
    }
}

#[test]
fn a_rolling_configuration_change_under_websocket_clients_loses_each_of_them_only_with_its_own_instance()
-> Result<()> {
    let template = "{ \"logging\": { \"level\": \"{{ values.level }} of {{ node.name }}\" } }\n";
    match Site::begin()? {
        Some(site) => under_clients(&site, &change(template)),
        None => Ok(()),
    }
}

#[test]
fn a_configuration_that_an_instance_cannot_live_with_stops_at_the_first_and_is_taken_back()
-> Result<()> {
    let Some(mut site) = Site::hasty()? else {
        return Ok(());
    };
    let operator = &site.operator;
    operator.run(&for_all("startup"))?;
    operator.until_service("collab", "ok", &[])?;
    let before: Vec<_> = NUMBERS
        .iter()
        .map(|number| site.process(*number))
        .collect::<Result<_>>()?;
    let as_it_was = |site: &Site, numbers: &[u8]| -> Result<()> {
        for number in numbers {
            let config = site.config(*number)?;
            ensure!(config == FIRST_CONFIG, "collab{number}: {config}");
            let process = site.process(*number)?;
            ensure!(
                process == before[usize::from(*number) - 1],
                "collab{number} was restarted"
            );
        }
        Ok(())
    };

    // What cannot be rendered is no plan; what a checker does not take stops nothing, on no node.
    let plan = operator.plan(&change("{{ values.nothing }}"))?;
    ensure!(
        plan.digest.is_empty() && plan.report_json.contains("1:4"),
        "{plan:?}"
    );
    let broken = "{% if node.name == 'collab3' %}{ {% else %}{}{% endif %}\n";
    let operation = operator.begin(&change(broken), false)?;
    let seen = operator.until(&operation, "needs-attention")?;
    ensure!(
        seen.attention.contains("try-file:collab@collab3") && seen.attention.contains("refuses it"),
        "{}",
        seen.attention
    );
    operator.control(&operation, "abort", "", "a slip")?;
    operator.until(&operation, "aborted")?;
    as_it_was(&site, &NUMBERS)?;
    site.members_are_down(&[])?;

    // The checker takes this one; the instance does not.
    let lonely = format!("{{ \"redisServerUrl\": \"redis://{}\" }}\n", site.nobody());
    let operation = operator.begin(&change(&lonely), false)?;
    let seen = operator.until(&operation, "needs-attention")?;
    ensure!(
        seen.attention.contains("start:collab@collab1"),
        "{}",
        seen.attention
    );
    ensure!(site.config(1)? == lonely);
    as_it_was(&site, &[2, 3])?;
    site.members_are_down(&[1])?;
    operator.control(&operation, "unwind", "", "the wrong address")?;
    // What is put back is what was kept on the node: who asks for it may change on the way.
    site.cluster.kill_coordinator()?;
    site.cluster.start_coordinator()?;
    operator.until(&operation, "unwound")?;
    ensure!(site.config(1)? == FIRST_CONFIG, "{}", site.config(1)?);
    as_it_was(&site, &[2, 3])?;
    site.members_are_down(&[])?;
    operator.until_service("collab", "ok", &[])?;
    Ok(())
}

/// The entries of this kind of a plan's report.
fn entries(plan: &v1::MakePlanResponse, kind: &str) -> Result<Vec<Value>> {
    let report: Vec<Value> = serde_json::from_str(&plan.report_json)?;
    let of_kind = report.into_iter().filter(|entry| entry["entry"] == kind);
    Ok(of_kind.collect())
}

/// The instances that a plan stops.
fn stopped(plan: &v1::MakePlanResponse) -> Result<Vec<String>> {
    let plan: Value = serde_json::from_str(&plan.plan_json)?;
    let ids = plan["steps"].as_array().into_iter().flatten();
    let ids = ids.filter_map(|step| step["id"].as_str());
    let stops = ids.filter_map(|id| Some(id.strip_prefix("stop:collab@")?.to_owned()));
    Ok(stops.collect())
}

#[test]
fn a_configuration_change_is_shown_first_and_who_runs_with_it_already_is_left_alone() -> Result<()>
{
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    let operator = &site.operator;
    operator.run(&for_all("startup"))?;
    operator.until_service("collab", "ok", &[])?;
    let all = ["collab1", "collab2", "collab3"];
    let restart = change("{ \"logging\": { \"level\": \"{{ values.level }}\" },\n  \"x\": 1 }\n");
    let before = std::fs::metadata(site.cluster.path("collab1.json"))?.modified()?;

    // One text for all, so one comparison; and to look touches nothing.
    let plan = operator.plan(&restart)?;
    let changes = entries(&plan, "changes")?;
    let [shown] = changes.as_slice() else {
        anyhow::bail!("{changes:?}");
    };
    let lines = shown["difference"]["lines"].as_str().unwrap_or_default();
    ensure!(
        shown["on"] == serde_json::json!(all)
            && lines.contains(&format!("-{FIRST_CONFIG}"))
            && lines.contains("+  \"x\": 1 }\n"),
        "{shown}"
    );
    ensure!(stopped(&plan)? == all, "{plan:?}");
    let after = std::fs::metadata(site.cluster.path("collab1.json"))?.modified()?;
    ensure!(before == after && site.config(1)? == FIRST_CONFIG);
    operator.run(&restart)?;
    operator.until_service("collab", "ok", &[])?;
    let running = site.process(1)?;

    // Nothing is left to do.
    let plan = operator.plan(&restart)?;
    ensure!(stopped(&plan)?.is_empty(), "{}", plan.report_json);
    ensure!(entries(&plan, "already-done")?.len() == 3, "{plan:?}");
    let mut all_the_same = restart.clone();
    if let Some(change) = &mut all_the_same.change {
        change.even_if_unchanged = true;
    }
    ensure!(stopped(&operator.plan(&all_the_same)?)? == all);

    // One was written by hand, to the same text: whether it was read is not known. Another one says something else.
    let second = site.cluster.path("collab2.json");
    std::fs::write(&second, std::fs::read(&second)?)?;
    let plan = operator.plan(&restart)?;
    ensure!(stopped(&plan)? == ["collab2"], "{}", plan.report_json);
    std::fs::write(site.cluster.path("collab3.json"), FIRST_CONFIG)?;
    let Err(refused) = operator.start(&plan.digest, false) else {
        anyhow::bail!("a plan was started that leaves collab3 as it is");
    };
    ensure!(refused.message().contains("plan again"), "{refused}");
    let operation = operator.run(&restart)?;
    let steps = operator.operation(&operation)?.steps;
    ensure!(
        steps.iter().all(|step| !step.step.contains("@collab1")),
        "{steps:?}"
    );
    operator.until_service("collab", "ok", &[])?;
    ensure!(site.process(1)? == running, "collab1 was restarted");
    ensure!(site.config(3)? == site.config(1)?);
    Ok(())
}
