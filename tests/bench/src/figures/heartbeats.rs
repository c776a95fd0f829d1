//! A coordinator with a thousand idle agents that say a heartbeat a second.

use std::time::Duration;

use anyhow::Result;

use crate::body::Work;
use crate::cluster::{self, Coordinator, Site};
use crate::figure::{Budget, Figure};
use crate::fleet::Fleet;
use crate::wire;

const NODES: usize = 1_000;
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long is waited before anything is measured: what connecting cost is not what idling costs.
const SETTLE: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(30);

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let nodes = cluster::nodes(NODES)?;
    let per_agent = |before: f64, after: f64| (after - before) / NODES as f64;

    let (wire_site, mut server) = wire::Server::start().await?;
    let process = server.process()?;
    let before = process.memory()?.rss;
    let clients = wire::Clients::start(
        wire_site.agents(&nodes)?,
        &server.target()?,
        Some(HEARTBEAT),
    );
    server.has(NODES).await?;
    tokio::time::sleep(SETTLE).await;
    let bare_share = process.share(MEASURED).await?;
    let bare_memory = per_agent(before, process.memory()?.rss);
    drop(clients);
    drop(server);

    let site = Site::create()?;
    let coordinator = Coordinator::start(&site).await?;
    coordinator
        .apply(&cluster::spec(&nodes, &[("service", &nodes)]))
        .await?;
    let process = coordinator.program.process()?;
    let before = process.memory()?.rss;
    let fleet = Fleet::start(
        site.agents(&nodes)?,
        &coordinator.target()?,
        coordinator.trace()?,
        Work::NoOp,
    );
    coordinator.settled(NODES).await?;
    tokio::time::sleep(SETTLE).await;
    let share = process.share(MEASURED).await?;
    let after = process.memory()?.rss;
    fleet.end().await?;
    coordinator.program.end().await?;
    Ok(vec![
        Figure::new(
            format!("coordinator: {NODES} idle agents, 1 heartbeat/s"),
            "% of a core",
            share,
        )
        .floor(bare_share)
        .budget(Budget::Value(8.0)),
        Figure::new(
            "coordinator: memory per agent",
            "KiB",
            per_agent(before, after),
        )
        .floor(bare_memory)
        .budget(Budget::Value(90.0)),
        Figure::new("coordinator: memory as a whole", "MiB RSS", after / 1024.0),
    ])
}
