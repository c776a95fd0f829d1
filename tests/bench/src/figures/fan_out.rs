//! One stage on a thousand nodes.
//!
//! Three services, one above the other: one step, a thousand steps, one step. The time of the thousand is that from the
//! end of the step before them to the arrival of the step behind them, both as the agents see it, so it has everything
//! in it that a stage costs: the outcome before it, its own intents, a thousand dispatches, receipts and proofs, and
//! the intent behind it, each durable before what follows.
//!
//! Where a step is a process, each agent has its ledger on disk and runs `/bin/true` as it runs the command of an `exec` service:
//! under a shim that makes the outcome durable before it is told. The floor's clients fork it, and answer when it has ended.

use std::time::Duration;

use anyhow::{Context as _, Result};
use interlock_model::names::ServiceName;

use crate::body::{Cpu, Times, Work, between};
use crate::cluster::{self, Coordinator, Site};
use crate::figure::{Budget, Figure};
use crate::fleet::Fleet;
use crate::stats::{millis, percentile};
use crate::wire;

const NODES: usize = 1_000;

/// Measures.
pub(super) async fn measure(work: Work) -> Result<Vec<Figure>> {
    let (rounds, what, most) = match work {
        Work::NoOp => (32, "no-op", 100.0),
        Work::Process => (12, "/bin/true under a shim", 2_000.0),
    };
    let nodes = cluster::nodes(NODES)?;
    let (wire_site, mut server) = wire::Server::start().await?;
    let _clients = wire::Clients::start(wire_site.agents(&nodes)?, &server.target()?, None, work);
    server.has(NODES).await?;

    let site = Site::create()?;
    let coordinator = Coordinator::start(&site).await?;
    let spec = cluster::spec(
        &nodes,
        &[
            ("first", &nodes[..1]),
            ("wide", &nodes),
            ("last", &nodes[..1]),
        ],
    );
    coordinator.apply(&spec).await?;
    let fleet = Fleet::start(
        &site,
        &nodes,
        &coordinator.target()?,
        coordinator.trace()?,
        work,
    )?;
    coordinator.settled(NODES).await?;

    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (mut our_cpu, mut bare_cpu) = (Vec::new(), Vec::new());
    for round in 0..rounds + 2 {
        let kind = if round % 2 == 0 {
            "startup"
        } else {
            "shutdown"
        };
        fleet.trace.take();
        coordinator.operate(kind).await?;
        let arrivals = fleet.trace.take();
        coordinator.settled(NODES).await?;
        // The first two warm up.
        if round >= 2 {
            let (took, used) = stage(&arrivals).context("the operation had other stages")?;
            ours.push(took);
            our_cpu.push(used);
            server.has(NODES).await?;
            let (took, used) = server.costed_fan_out().await?;
            bare.push(took);
            bare_cpu.push(used);
        }
    }
    fleet.end().await?;
    coordinator.program.end().await?;
    let mut at = |percent| -> Result<(f64, f64)> {
        Ok((
            millis(percentile(&mut ours, percent)?),
            millis(percentile(&mut bare, percent)?),
        ))
    };
    let (p50, bare_p50) = at(50)?;
    let (p90, bare_p90) = at(90)?;
    let (our_cpu, bare_cpu): (Cpu, Cpu) = (our_cpu.into_iter().sum(), bare_cpu.into_iter().sum());
    let per_step = |time: Duration| time.as_secs_f64() * 1e6 / (rounds * NODES) as f64;
    Ok(vec![
        Figure::new(
            format!("fan-out: {NODES} agents, {what}, p50 to all proofs"),
            "ms",
            p50,
        )
        .floor(bare_p50),
        Figure::new(
            format!("fan-out: {NODES} agents, {what}, p90 to all proofs"),
            "ms",
            p90,
        )
        .floor(bare_p90)
        .budget(Budget::Value(most)),
        Figure::new(
            format!("fan-out: {what}, CPU of the coordinator"),
            "us a step",
            per_step(our_cpu.coordinator),
        )
        .floor(per_step(bare_cpu.coordinator)),
        Figure::new(
            format!("fan-out: {what}, CPU of the agents"),
            "us a step",
            per_step(our_cpu.agents),
        )
        .floor(per_step(bare_cpu.agents)),
    ])
}

/// The time between the first and the last of three services, and what was used between their arrivals.
fn stage(arrivals: &[(ServiceName, Times)]) -> Option<(Duration, Cpu)> {
    match arrivals {
        [(_, before), (wide, _), (_, behind)] if wide.as_str() == "wide" => Some((
            between(before.last, behind.first),
            behind.used.since(before.used),
        )),
        _ => None,
    }
}
