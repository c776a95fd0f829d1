//! A coordinator with a thousand idle agents that say a heartbeat a second: of one service that is everywhere, and of two hundred
//! on fifty nodes each.

use std::time::Duration;

use anyhow::Result;
use interlock_model::names::NodeName;

use crate::body::Work;
use crate::cluster::{self, Coordinator, Site};
use crate::figure::{Budget, Figure};
use crate::fleet::Fleet;
use crate::process::Process;
use crate::wire;

const NODES: usize = 1_000;
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Of the larger cluster, and on how many nodes each of them is.
const SERVICES: usize = 200;
const EACH: usize = 50;

/// How long is waited before anything is measured: what connecting cost is not what idling costs.
const SETTLE: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(30);

/// What a server costs whose agents are idle.
struct Cost {
    /// Of a core, in percent.
    share: f64,
    /// What came with the agents, in KiB each.
    per_agent: f64,
    /// Resident in all, in KiB.
    resident: f64,
}

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let nodes = cluster::nodes(NODES)?;
    let (wire_site, mut server) = wire::Server::start().await?;
    let process = server.process()?;
    let before = process.memory()?.rss;
    let clients = wire::Clients::start(
        wire_site.agents(&nodes)?,
        &server.target()?,
        Some(HEARTBEAT),
        Work::NoOp,
    );
    server.has(NODES).await?;
    let bare = cost(process, before).await?;
    drop(clients);
    drop(server);

    let one = idle(&nodes, &cluster::spec(&nodes, &[("service", &nodes)])).await?;
    let names: Vec<String> = (0..SERVICES).map(|it| format!("service{it}")).collect();
    let on = |number: usize| &nodes[number * EACH % NODES..][..EACH];
    let services: Vec<(&str, &[NodeName])> = (0..)
        .map(on)
        .zip(&names)
        .map(|(on, name)| (name.as_str(), on))
        .collect();
    let many = idle(&nodes, &cluster::spec(&nodes, &services)).await?;
    Ok(vec![
        Figure::new(
            format!("coordinator: {NODES} idle agents, 1 heartbeat/s"),
            "% of a core",
            one.share,
        )
        .floor(bare.share)
        .budget(Budget::Value(8.0)),
        Figure::new("coordinator: memory per agent", "KiB", one.per_agent)
            .floor(bare.per_agent)
            .budget(Budget::Value(90.0)),
        Figure::new(
            "coordinator: memory as a whole",
            "MiB RSS",
            one.resident / 1024.0,
        ),
        Figure::new(
            format!("coordinator: the same, {SERVICES} services on {EACH} nodes each"),
            "% of a core",
            many.share,
        )
        .floor(bare.share),
        Figure::new(
            format!("coordinator: memory per agent, {SERVICES} services"),
            "KiB",
            many.per_agent,
        )
        .floor(bare.per_agent),
    ])
}

/// The real coordinator with this spec.
async fn idle(nodes: &[NodeName], spec: &str) -> Result<Cost> {
    let site = Site::create()?;
    let coordinator = Coordinator::start(&site).await?;
    coordinator.apply(spec).await?;
    let process = coordinator.program.process()?;
    let before = process.memory()?.rss;
    let (target, trace) = (coordinator.target()?, coordinator.trace()?);
    let fleet = Fleet::start(&site, nodes, &target, trace, Work::NoOp)?;
    coordinator.settled(nodes.len()).await?;
    let cost = cost(process, before).await?;
    fleet.end().await?;
    coordinator.program.end().await?;
    Ok(cost)
}

/// What a server costs now, that had so much memory before its agents came.
async fn cost(process: Process, before: f64) -> Result<Cost> {
    tokio::time::sleep(SETTLE).await;
    let share = process.share(MEASURED).await?;
    let resident = process.memory()?.rss;
    Ok(Cost {
        share,
        per_agent: (resident - before) / NODES as f64,
        resident,
    })
}
