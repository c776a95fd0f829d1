//! The records of why epochs began, for whoever asks.

use interlock_model::lease::{Epoch, Exclusion};
use interlock_model::names::ServiceName;
use interlock_model::time::Timestamp;
use interlock_proto::v1;
use tonic::Status;

use super::why::{Decision, WHY};
use crate::driver::read_json;
use crate::store::{PageRequest, Prefix, Store};

/// How many records are read at a time: some hundred are kept of a service, each of some KiB.
const PAGE: usize = 50;

/// The decisions of a service, newest first, at most so many of them; with an epoch only the one that began it.
///
/// # Errors
/// *Unavailable* if the store does not answer, *internal* if a record cannot be read.
pub(crate) async fn decisions(
    store: &dyn Store,
    service: &ServiceName,
    epoch: Option<Epoch>,
    limit: usize,
) -> Result<Vec<v1::Decision>, Status> {
    let internal = |error: &dyn std::error::Error| Status::internal(error.to_string());
    let prefix = Prefix::new(format!("{WHY}/{service}")).map_err(|error| internal(&error))?;
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = PageRequest {
            after: after.as_ref(),
            limit: PAGE,
        };
        let page = store
            .range(&prefix, page)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        for entry in &page.entries {
            let decision: Decision =
                read_json(&entry.key, &entry.value).map_err(|error| internal(&error))?;
            all.push(decision);
        }
        match page.entries.into_iter().next_back() {
            Some(last) if page.more => after = Some(last.key),
            _ => break,
        }
    }
    let asked = |decision: &Decision| epoch.is_none_or(|epoch| decision.epoch == epoch);
    let newest = all.into_iter().rev().filter(asked).take(limit);
    Ok(newest.map(wire).collect())
}

fn wire(decision: Decision) -> v1::Decision {
    let millis = |at: Option<Timestamp>| at.map_or(0, |at| at.0);
    let times = decision.times;
    v1::Decision {
        service: decision.service.to_string(),
        epoch: decision.epoch.0,
        node: decision.node.to_string(),
        cause: decision.cause,
        before: decision
            .before
            .map(|node| node.to_string())
            .unwrap_or_default(),
        over: decision
            .over
            .into_iter()
            .map(|(epoch, why)| v1::EpochOver {
                epoch: epoch.0,
                how: how(&why).to_owned(),
                why: why.to_string(),
            })
            .collect(),
        evidence: decision.evidence,
        candidates: decision
            .candidates
            .into_iter()
            .map(|(node, unfit)| v1::Candidate {
                node: node.to_string(),
                unfit: unfit.unwrap_or_default(),
            })
            .collect(),
        last_renewed_ms: millis(times.last_renewed),
        suspected_ms: millis(times.suspected),
        decided_ms: millis(times.decided),
        held_ms: millis(times.held),
        primary_ms: millis(times.primary),
    }
}

fn how(why: &Exclusion) -> &'static str {
    match why {
        Exclusion::Released { .. } => "released",
        Exclusion::Expired { .. } => "expired",
        Exclusion::Fenced { .. } => "fenced",
        Exclusion::Attested { .. } => "attested",
        Exclusion::NeverHeld => "never-held",
        Exclusion::AllReported => "all-reported",
    }
}
