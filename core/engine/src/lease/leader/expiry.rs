//! Expiry as a proof: when time alone says that a holder is over (safety rules E1, E4, E6).

use std::time::Duration;

use interlock_model::lease::{Epoch, Holder as Member, VmPause};
use interlock_model::names::NodeName;

use super::reading::Reading;
use crate::lease::Clock;

/// The lease of this holder ran out, counted from this revision on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::lease) struct Expired {
    epoch: Epoch,
    holder: Member,
    revision: u64,
}

impl Expired {
    pub(in crate::lease) fn into_parts(self) -> (Epoch, Member, u64) {
        (self.epoch, self.holder, self.revision)
    }
}

/// Why time proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotExpired {
    /// Nobody holds it.
    #[error("nobody holds it")]
    NobodyHolds,
    /// Its holder goes on when it can reach nobody (safety rule E1).
    #[error(
        "its holder goes on without coordinators (hold): once its machine is certainly down, `interlockctl failover` with \
         --attest-down moves the role"
    )]
    Holds,
    /// Nothing acts on the node when its agent cannot (safety rule E4).
    #[error(
        "nothing acts on its node when its agent cannot: once its machine is certainly down, `interlockctl failover` with \
         --attest-down moves the role"
    )]
    NothingActs,
    /// The hypervisor may have paused it (safety rule E6).
    #[error(
        "its machine may be paused, and would go on where it stood: once it is certainly down, `interlockctl failover` with \
         --attest-down moves the role"
    )]
    MayBePaused,
    /// It is not over yet.
    #[error("{} of its life are left", humantime_of(*.0))]
    Lasts(Duration),
    /// Somebody still sees it accept writes.
    #[error("{0} still sees it accept writes")]
    Seen(NodeName),
}

fn humantime_of(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

/// Looks whether the holder's lease is over by the leader's clock. `seen_by` still sees it accept writes, if anybody does.
pub(super) fn judge(
    reading: &Reading,
    seen_by: Option<&NodeName>,
    now: Clock,
) -> Result<Expired, NotExpired> {
    let held = reading.record().and_then(|record| {
        let holder = record.holder()?;
        Some((record, holder))
    });
    let (record, holder) = held.ok_or(NotExpired::NobodyHolds)?;
    let terms = record.terms();
    if !terms.on_control_loss.expires() {
        return Err(NotExpired::Holds);
    }
    if !record.safeguards().any() {
        return Err(NotExpired::NothingActs);
    }
    if terms.vm_pause != VmPause::Accepted {
        return Err(NotExpired::MayBePaused);
    }
    let gone = now.shortest_since(reading.since());
    let left = terms.timings.life().saturating_sub(gone);
    if !left.is_zero() {
        return Err(NotExpired::Lasts(left));
    }
    if let Some(observer) = seen_by {
        return Err(NotExpired::Seen(observer.clone()));
    }
    Ok(Expired {
        epoch: record.epoch(),
        holder: holder.clone(),
        revision: reading.revision(),
    })
}
