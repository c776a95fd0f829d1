//! A restart of the instances one by one, under WebSocket clients.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{for_all, for_services};

use crate::clients::{Heard, WebSocket};
use crate::site::{NUMBERS, SOON, Site};

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

#[test]
fn a_rolling_restart_under_websocket_clients_loses_each_of_them_only_with_its_own_instance()
-> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    site.until("collab", "ok", &[])?;
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
            let operation = site.operator.run(&for_services("restart", &["collab"]))?;
            site.until("collab", "ok", &[])?;
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
