//! What orchestration adds to a stage on etcd, and what an operation writes there.
//!
//! The same operations as in `overhead`, on a real etcd of one member on this machine. The floor of a
//! stage is one transaction of the same size, and one round trip of all streams. *Of the same size* is: with as many
//! writes and bytes as the mean transaction of an operation that was read back from etcd's own history. So who writes more
//! at once has no easier floor than who writes less, but that of a larger transaction. The floor of an operation is that
//! of its stages.
//!
//! The writes are all that etcd has seen between start and end of an operation: those of plan, journal and head, what is
//! remembered, events, and the key by which the coordinator holds the store in every transaction.

use anyhow::{Result, ensure};
use interlock_e2e::tools;

use super::ladder::{Ladder, NODES, STAGES};
use crate::cluster::Site;
use crate::etcd::{Etcd, Written};
use crate::figure::{Budget, Figure};
use crate::stats::median;

/// Operations, startups and shutdowns in turn; the first two warm up.
const OPERATIONS: usize = 14;
const WARM_UP: usize = 2;

/// Measures.
pub(super) async fn measure() -> Result<Vec<Figure>> {
    let program = match tools::etcd() {
        Ok(program) => program,
        Err(why) => {
            let name = format!("etcd: median stage of {NODES} steps");
            return Ok(vec![Figure::absent(name, "ms", why.to_string())]);
        }
    };
    let site = Site::create()?;
    let mut etcd = Etcd::start(&program, &site).await?;
    let mut client = etcd.client().await?;
    let mut ladder = Ladder::start(&site, &etcd.section()).await?;

    let (mut stages, mut commits, mut fans) = (Vec::new(), Vec::new(), Vec::new());
    let mut operations = Vec::new();
    let mut all = Written::default();
    let mut steps = 0;
    for number in 0..OPERATIONS {
        let before = etcd.revision().await?;
        let climb = ladder.climb(number).await?;
        let written = etcd.written(before, etcd.revision().await?).await?;
        if number < WARM_UP {
            continue;
        }
        steps += climb.operation.steps;
        operations.push(climb.operation.took);
        stages.extend(climb.stages);
        all += written;
        let writes = written.writes.div_ceil(written.transactions);
        let bytes = written.bytes.div_ceil(written.transactions);
        for _ in 1..STAGES {
            commits.push(etcd.commit(&mut client, writes, bytes).await?);
            fans.push(ladder.server.fan_out().await?);
        }
    }
    ladder.end().await?;
    ensure!(steps > 0, "the operations had no steps");

    let took: f64 = operations.iter().map(|took| took.as_secs_f64()).sum();
    let (commit, fan) = (median(&mut commits)?, median(&mut fans)?);
    let (stage, operation) = (median(&mut stages)?, median(&mut operations)?);
    let per_step = |count: usize| count as f64 / steps as f64;
    let per_transaction = |count: usize| count as f64 / all.transactions as f64;
    Ok(vec![
        Figure::new(format!("etcd: median stage of {NODES} steps"), "ms", stage)
            .floor(commit + fan)
            .budget(Budget::Ratio(3.0)),
        Figure::new(
            format!("etcd: operation of {STAGES} stages"),
            "ms",
            operation,
        )
        .floor(STAGES as f64 * (commit + fan))
        .budget(Budget::Ratio(3.0)),
        Figure::new("etcd: throughput", "steps/s", steps as f64 / took),
        Figure::new("etcd: the floor's transaction", "ms", commit),
        Figure::new(
            format!("etcd: the floor's round trip of {NODES} streams"),
            "ms",
            fan,
        ),
        Figure::new(
            "etcd: transactions per step",
            "count",
            per_step(all.transactions),
        )
        .budget(Budget::Value(3.0)),
        Figure::new(
            "etcd: writes per step, all keys counted",
            "count",
            per_step(all.writes),
        )
        .budget(Budget::Value(3.0)),
        Figure::new("etcd: bytes written per step", "bytes", per_step(all.bytes)),
        Figure::new(
            "etcd: writes per transaction",
            "count",
            per_transaction(all.writes),
        ),
        Figure::new(
            "etcd: size of a transaction",
            "KiB",
            per_transaction(all.bytes) / 1024.0,
        ),
    ])
}
