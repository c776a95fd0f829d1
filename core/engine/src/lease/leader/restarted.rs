//! Machines that have just been started: when all of them are, after a loss of power, they do not come up at once.
//!
//! For a time after its start (*boot-dead*) a machine is **young**. A standby on a young machine takes over by itself only if it is
//! proven to have everything: what it may lack is on a machine that may be about to come up. And where the machines of both were
//! restarted, who was primary last is primary again: once it is heard it is waited for, until its machine is young no more. It is not
//! waited for while it is not heard: then whoever has everything takes over at once.

use std::time::Duration;

use interlock_model::lease::Exclusion;
use interlock_model::names::NodeName;

use super::fitness::Unfit;
use super::{Clock, Heard, Leader};
use crate::lease::LeaseRecord;

impl Leader {
    /// For how long its machine is still young; none if it is not, or does not say how long it has been up.
    pub(super) fn young(&self, heard: &Heard, now: Clock) -> Option<Duration> {
        let up = heard.standing.up? + now.shortest_since(heard.at);
        let left = self.config.boot_dead.saturating_sub(up);
        (!left.is_zero()).then_some(left)
    }

    /// Who was primary last, in an earlier boot of a machine that is young, is heard, and may be so again; and for how long it is
    /// waited for.
    pub(super) fn restarted_owner<'a>(
        &'a self,
        record: &LeaseRecord,
        now: Clock,
    ) -> Option<(&'a NodeName, Duration)> {
        let of_record = record.holder().filter(|_| record.is_held());
        let last = of_record.or_else(|| match record.exclusions().get(&record.last_held())? {
            Exclusion::Released { by: last } | Exclusion::Expired { holder: last, .. } => {
                Some(last)
            }
            Exclusion::Fenced { .. }
            | Exclusion::Attested { .. }
            | Exclusion::NeverHeld
            | Exclusion::AllReported => None,
        })?;
        let (node, heard) = self.heard.get_key_value(&last.node)?;
        let standing = &heard.standing;
        let is_back = standing.holder.boot != last.boot
            && standing.mark == Some(record.last_held())
            && now.longest_since(heard.at) < self.timings().fence();
        // What a person has to look at first, or wants left alone, is not waited for.
        let is_out = record.quarantined().contains(node)
            || standing.reverted
            || standing.unlinked.is_some()
            || standing.rests.is_some();
        let left = self.young(heard, now)?;
        (is_back && !is_out).then_some((node, left))
    }

    /// Does this member wait for who was primary last?
    pub(super) fn waits_for_owner(
        &self,
        record: &LeaseRecord,
        heard: &Heard,
        now: Clock,
    ) -> Result<(), Unfit> {
        let owner = self
            .restarted_owner(record, now)
            .filter(|(owner, _)| **owner != heard.standing.holder.node);
        match (owner, self.young(heard, now)) {
            (Some((owner, left)), Some(_)) => Err(Unfit::OwnerFirst {
                owner: owner.clone(),
                left,
            }),
            (Some(_) | None, _) => Ok(()),
        }
    }
}
