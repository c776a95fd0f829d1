//! The terms under which the next epoch begins, and what those of the last one still bind.

use std::borrow::Cow;
use std::time::Duration;

use interlock_model::lease::{ControlLoss, Exclusion, Terms};

use super::reading::Reading;
use super::{Clock, Leader, NotExpired};
use crate::lease::LeaseRecord;

impl Leader {
    /// The terms of the next epoch: those of the record, which its holder keeps (safety rule E8). Where nobody holds it they
    /// bind nobody, and those of the spec begin; else a service whose members were all replaced would never have a primary.
    ///
    /// Nobody may be able to keep those: where a watchdog is required, no node takes the role under timings that its device does not
    /// suit. So if an epoch came to nothing under other ones, the next has the timings and the policy that somebody has kept before.
    /// Once it was given back it is tried with those of the spec again. One that nobody has answered keeps its members: they may have
    /// promised an earlier primary to wait, and nobody else has (safety rule E2).
    pub(super) fn terms_after<'a>(&'a self, record: &'a LeaseRecord) -> Cow<'a, Terms> {
        let spec = &self.config.terms;
        let is_free = record.holder().is_none();
        let usual = if is_free { spec } else { record.terms() };
        let came_to_nothing = !record.has_begun() && (is_free || !record.is_held());
        let Some(proven) = record.proven_terms().filter(|_| came_to_nothing) else {
            return Cow::Borrowed(usual);
        };
        let tried = record.terms();
        let binds = |terms: &Terms| (terms.timings, terms.on_control_loss);
        if binds(proven) == binds(tried) {
            return Cow::Borrowed(usual);
        }
        Cow::Owned(Terms {
            timings: proven.timings,
            on_control_loss: proven.on_control_loss,
            ..usual.clone()
        })
    }
}

/// Who was last primary may go on by the promises of its members for as long as those last, although its lease was taken for
/// expired. They keep the members of its record from the role. But once the next epoch was given back by somebody who never had
/// it, that record is free for the spec's members, and one that is new has promised nothing (safety rule E2).
pub(super) fn promises_end(
    reading: &Reading,
    record: &LeaseRecord,
    now: Clock,
) -> Result<(), NotExpired> {
    let last = record.last_held();
    let expired = matches!(
        record.exclusions().get(&last),
        Some(Exclusion::Expired { .. })
    );
    let terms = record.terms();
    if last == record.epoch() || !expired || terms.on_control_loss != ControlLoss::Failsafe {
        return Ok(());
    }
    let gone = now.shortest_since(reading.since());
    match terms.timings.life().saturating_sub(gone) {
        Duration::ZERO => Ok(()),
        left => Err(NotExpired::Lasts(left)),
    }
}
