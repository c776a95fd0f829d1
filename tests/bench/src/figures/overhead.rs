//! What orchestration adds to a stage.
//!
//! The steps of the operations do nothing (`ladder`), so what remains is orchestration: every stage must be dispatched
//! after its intents are durable, and proven before the next one begins (invariants I2, I3). The time of a stage is that
//! from its first arrival at an agent to the first arrival of the next stage; no clock but one is read.
//!
//! The floor of a stage is one durable commit of the same kind of store, and one round trip: that of a bare dispatch to
//! the same number of streams and of all answers back. Promised is as many times the floor, also if that has the round
//! trip of one stream alone in it, in which nobody could bring a hundred nodes to do something: two rows, so that it is
//! seen which of the two is kept.

use anyhow::Result;

use super::commits::{Floor, written};
use super::ladder::{Ladder, NODES, STAGES};
use crate::cluster::Site;
use crate::figure::{Budget, Figure};
use crate::stats::median;

/// Operations, startups and shutdowns in turn; the first two warm up.
const OPERATIONS: usize = 14;
const WARM_UP: usize = 2;

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let site = Site::create()?;
    let mut ladder = Ladder::start(&site, "").await?;
    let mut floor = Floor::open(ladder.wire_site.path().join("floor.redb")).await?;

    let (mut stages, mut commits, mut fans, mut trips) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut steps = 0;
    for number in 0..OPERATIONS {
        let climb = ladder.climb(number).await?;
        steps = climb.operation.steps;
        if number < WARM_UP {
            continue;
        }
        stages.extend(climb.stages);
        for _ in 1..STAGES {
            commits.push(floor.commit().await?);
            fans.push(ladder.server.fan_out().await?);
            trips.push(ladder.server.round_trip().await?);
        }
    }
    let store = ladder.coordinator.store();
    ladder.end().await?;
    let written = written(&store, OPERATIONS as u64).await?;

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
        .floor(commit + trip)
        .budget(Budget::Ratio(3.0)),
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
