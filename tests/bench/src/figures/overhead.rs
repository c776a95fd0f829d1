//! What orchestration adds to a stage.
//!
//! Ten services, each on the same hundred nodes and each above the one before: a startup is ten stages of a hundred
//! steps, and a shutdown the same backwards. The steps do nothing, so what remains is orchestration: every stage must
//! be dispatched after its intents are durable, and proven before the next one begins (invariants I2, I3). The time of a
//! stage is that from its first arrival at an agent to the first arrival of the next stage; no clock but one is read.
//!
//! The floor of a stage is one durable commit of the same kind of store, and one round trip: that of a bare dispatch to
//! the same number of streams and of all answers back. The round trip of one stream alone is stated as well; nobody
//! could bring a hundred nodes to do something in that time.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_model::names::NodeName;

use super::commits::{Floor, written};
use crate::body::{Work, between};
use crate::cluster::{self, Coordinator, Site};
use crate::figure::{Budget, Figure};
use crate::fleet::Fleet;
use crate::stats::{millis, percentile};
use crate::wire;

const NODES: usize = 100;
const STAGES: usize = 10;
/// Operations, startups and shutdowns in turn; the first two warm up.
const OPERATIONS: usize = 14;
const WARM_UP: usize = 2;

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let nodes = cluster::nodes(NODES)?;
    let (wire_site, mut server) = wire::Server::start().await?;
    let _clients = wire::Clients::start(wire_site.agents(&nodes)?, &server.target()?, None);
    server.has(NODES).await?;
    let mut floor = Floor::open(wire_site.path().join("floor.redb")).await?;

    let site = Site::create()?;
    let coordinator = Coordinator::start(&site).await?;
    let names: Vec<String> = (0..STAGES).map(|stage| format!("stage{stage}")).collect();
    let services: Vec<(&str, &[NodeName])> = names
        .iter()
        .map(|name| (name.as_str(), nodes.as_slice()))
        .collect();
    coordinator.apply(&cluster::spec(&nodes, &services)).await?;
    let fleet = Fleet::start(
        site.agents(&nodes)?,
        &coordinator.target()?,
        coordinator.trace()?,
        Work::NoOp,
    );
    coordinator.settled(NODES).await?;

    let (mut stages, mut commits, mut fans, mut trips) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut steps = 0;
    for operation in 0..OPERATIONS {
        let kind = if operation % 2 == 0 {
            "startup"
        } else {
            "shutdown"
        };
        fleet.trace.take();
        (_, steps) = coordinator.operate(kind).await?;
        let arrivals = fleet.trace.take();
        ensure!(
            arrivals.len() == STAGES,
            "{} stages instead of {STAGES}",
            arrivals.len()
        );
        coordinator.settled(NODES).await?;
        if operation < WARM_UP {
            continue;
        }
        let gap = |pair: &[(_, crate::body::Times)]| between(pair[0].1.first, pair[1].1.first);
        stages.extend(arrivals.windows(2).map(gap));
        for _ in 1..STAGES {
            commits.push(floor.commit().await?);
            fans.push(server.fan_out().await?);
            trips.push(server.round_trip().await?);
        }
    }
    fleet.end().await?;
    let store = coordinator.store();
    coordinator.program.end().await?;
    let written = written(&store, OPERATIONS as u64).await?;

    let median = |samples: &mut [Duration]| percentile(samples, 50).map(millis);
    let (commit, fan, trip) = (
        median(&mut commits)?,
        median(&mut fans)?,
        median(&mut trips)?,
    );
    let stage = median(&mut stages)?;
    let per_stage = |count: usize| count as f64 / STAGES as f64;
    let per_step = |count: usize| count as f64 / steps as f64;
    Ok(vec![
        Figure::new(
            format!("overhead: median stage of {NODES} steps"),
            "ms",
            stage,
        )
        .floor(commit + fan)
        .budget(Budget::Ratio(3.0)),
        Figure::new(
            "overhead: the same against a round trip of one stream",
            "ms",
            stage,
        )
        .floor(commit + trip),
        Figure::new("overhead: the floor's durable commit", "ms", commit),
        Figure::new(
            format!("overhead: the floor's round trip of {NODES} streams"),
            "ms",
            fan,
        ),
        Figure::new(
            "overhead: store transactions per stage",
            "count",
            per_stage(written.transactions),
        ),
        Figure::new(
            "overhead: store records per step",
            "count",
            per_step(written.records),
        ),
        Figure::new(
            "overhead: journal entries per step",
            "count",
            per_step(written.entries),
        ),
        Figure::new(
            "overhead: journal bytes per step",
            "bytes",
            per_step(written.bytes),
        ),
    ])
}
