//! How large the state in etcd is after many operations.
//!
//! The coordinator is told to keep the newest hundred of the operations that are over, whatever their age; else a
//! quarter of a year would have to pass before anything goes. After each hundred operations it is started anew, since a
//! leader looks at its start for what is old. The history of revisions is then forgotten, as the coordinator itself does
//! every five minutes, and the file defragmented: what it has then is what is kept.
//!
//! The floor is what the first hundred alone needed, so a ratio near 1 after ten times as many says that the policy holds
//! the size. What is kept apart from operations has its own bounds, such as the number of events, and grows up to these.

use anyhow::{Context as _, Result};
use interlock_e2e::tools;

use crate::body::Work;
use crate::cluster::{self, Coordinator, Site};
use crate::etcd::Etcd;
use crate::figure::{Budget, Figure};
use crate::fleet::Fleet;

/// Each operation has a step for each.
const NODES: usize = 100;
/// Operations that are over and kept, and as many in a round. Even: each round ends as it began, with a shutdown.
const KEPT: usize = 100;
const ROUNDS: usize = 10;

const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let name = format!(
        "etcd: {} operations of {NODES} steps, {KEPT} kept",
        ROUNDS * KEPT
    );
    let program = match tools::etcd() {
        Ok(program) => program,
        Err(why) => return Ok(vec![Figure::absent(name, "MiB", why.to_string())]),
    };
    let site = Site::create()?;
    let etcd = Etcd::start(&program, &site).await?;
    let sections = format!("{}[keep]\noperations = {KEPT}\ndays = 0\n", etcd.section());
    let nodes = cluster::nodes(NODES)?;
    let mut coordinator = Coordinator::configured(&site, &sections).await?;
    coordinator
        .apply(&cluster::spec(&nodes, &[("service", &nodes)]))
        .await?;
    let mut sizes = Vec::new();
    for _ in 0..ROUNDS {
        let fleet = Fleet::start(
            &site,
            &nodes,
            &coordinator.target()?,
            coordinator.trace()?,
            Work::NoOp,
        )?;
        coordinator.settled(NODES).await?;
        for number in 0..KEPT {
            let kind = match number % 2 {
                0 => "startup",
                _ => "shutdown",
            };
            coordinator.operate(kind).await?;
            coordinator.settled(NODES).await?;
        }
        fleet.end().await?;
        coordinator.program.end().await?;
        coordinator = Coordinator::configured(&site, &sections).await?;
        etcd.keeps(KEPT).await?;
        sizes.push(etcd.size().await?);
    }
    coordinator.program.end().await?;
    let (first, last) = (
        sizes.first().context("there was no round")?,
        sizes.last().context("there was no round")?,
    );
    Ok(vec![
        Figure::new(name, "MiB", last.state / MIB)
            .floor(first.state / MIB)
            .budget(Budget::Ratio(1.25)),
        Figure::new(
            "etcd: the same, before the file is defragmented",
            "MiB",
            last.file / MIB,
        )
        .floor(first.file / MIB),
        Figure::new(
            format!("etcd: a kept operation of {NODES} steps"),
            "KiB",
            last.state / KEPT as f64 / KIB,
        ),
    ])
}
