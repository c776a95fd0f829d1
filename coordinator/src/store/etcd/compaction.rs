//! Forgetting old revisions.
//!
//! etcd keeps every revision until somebody compacts; by default nobody does, and its quota fills
//! up. The holder of the store compacts to where the store was one period ago. That is long for a
//! watch that follows and for a snapshot that is being read, and both cope with less. On an etcd
//! that others use too this is their history as well; then leave it to etcd
//! (`--auto-compaction-retention`).

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::endpoints::Endpoints;
use super::fault::{Fault, Kind};

/// Compacts every `period` until `ended`.
pub(crate) async fn run(
    endpoints: Arc<Endpoints>,
    key: String,
    period: Duration,
    ended: CancellationToken,
) {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut old = None;
    let compacting = async {
        loop {
            tick.tick().await;
            match once(&endpoints, &key, old).await {
                Ok(now) => old = Some(now),
                Err(fault) => {
                    tracing::warn!(place = %endpoints.place(), reason = ?fault, "etcd was not compacted");
                }
            }
        }
    };
    tokio::select! {
        () = compacting => {}
        () = ended.cancelled() => {}
    }
}

/// Compacts to `old`, and returns the present revision.
async fn once(endpoints: &Endpoints, key: &str, old: Option<i64>) -> Result<i64, Fault> {
    if let Some(old) = old {
        let compact = |mut client: Client| async move { client.compact(old, None).await };
        match endpoints.once(compact).await {
            Ok(_) => {}
            // Somebody else has.
            Err(fault) if fault.kind() == Kind::Compacted => {}
            Err(fault) => return Err(fault),
        }
    }
    let ask = |mut client: Client| async move { client.get(key, None).await };
    let header = endpoints.once(ask).await?.take_header();
    Ok(header.map_or(0, |header| header.revision()))
}
