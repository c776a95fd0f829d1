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
    let Some(site) = Site::hasty()? else {
        return Ok(());
    };
    let operator = &site.operator;
    operator.run(&for_all("startup"))?;
    operator.until_service("collab", "ok", &[])?;
    let before: Vec<_> = NUMBERS
        .iter()
        .map(|number| site.process(*number))
        .collect::<Result<_>>()?;
    let as_it_was = |numbers: &[u8]| -> Result<()> {
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
    as_it_was(&NUMBERS)?;
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
    as_it_was(&[2, 3])?;
    site.members_are_down(&[1])?;
    operator.control(&operation, "unwind", "", "the wrong address")?;
    operator.until(&operation, "unwound")?;
    ensure!(site.config(1)? == FIRST_CONFIG, "{}", site.config(1)?);
    as_it_was(&[2, 3])?;
    site.members_are_down(&[])?;
    operator.until_service("collab", "ok", &[])?;
    Ok(())
}
