//! How long the right lasts.
//!
//! # Two sets of terms at once
//! Terms change by a renewal in which the holder accepts them (safety rule E8). From the moment it *sends* that renewal the
//! record may have the new terms, whether the answer arrives or not; until the answer it may also have the old ones. So the
//! right ends at the earlier of both: the old terms since the last acknowledgement, the new ones since they were first sent.
//! The same goes for what follows from them: the shorter K and W, and an age that satisfies both A.
//! And renewals are taken in the order in which they were sent only (`renewal`), so that the old terms cannot come back.

use std::time::Duration;

use interlock_model::ids::BootId;
use interlock_model::lease::{ControlLoss, Epoch, Terms};
use serde::{Deserialize, Serialize};

use crate::lease::Clock;

/// Terms, and since when they bind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Clause {
    terms: Terms,
    since: Clock,
}

impl Clause {
    /// What is left of it; none without end.
    fn left(&self, now: Clock) -> Option<Duration> {
        let gone = now.longest_since(self.since);
        let fence = self.terms.timings.fence();
        let expires = self.terms.on_control_loss.expires();
        expires.then(|| fence.saturating_sub(gone))
    }

    /// Is so much left of the life of the lease, counted since this bound, that clients may be sent here?
    fn is_ample(&self, now: Clock) -> bool {
        let timings = &self.terms.timings;
        let gone = now.longest_since(self.since);
        // One renewal may be lost without a word to anybody, however closely S follows L.
        let ample = (timings.life().saturating_sub(timings.fence())).max(timings.renewal() * 2);
        !self.terms.on_control_loss.expires() || gone < ample.min(timings.fence())
    }
}

/// The right to be primary, and when it ends: what is kept in `/run` for the next agent of this boot (safety rule E12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    boot: BootId,
    epoch: Epoch,
    /// What was acknowledged, since that was sent, or since all peers were asked (safety rule E2).
    agreed: Clause,
    /// When the last acknowledged renewal was sent.
    renewed: Clock,
    /// What was sent and not acknowledged yet, since it was sent first.
    proposed: Option<Clause>,
}

impl Tenure {
    /// A first renewal, sent at `sent`, was acknowledged.
    pub(super) fn new(boot: BootId, epoch: Epoch, terms: Terms, sent: Clock) -> Self {
        Self {
            boot,
            epoch,
            agreed: Clause { terms, since: sent },
            renewed: sent,
            proposed: None,
        }
    }

    /// In which epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// In which boot.
    #[must_use]
    pub fn boot(&self) -> &BootId {
        &self.boot
    }

    /// The terms that were acknowledged.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.agreed.terms
    }

    /// The terms that the next renewal carries.
    pub(super) fn terms_to_send(&self) -> &Terms {
        let proposed = self.proposed.as_ref().map(|clause| &clause.terms);
        proposed.unwrap_or(&self.agreed.terms)
    }

    /// Is a change of terms on its way?
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.proposed.is_some()
    }

    /// When the last acknowledged renewal was sent.
    #[must_use]
    pub fn renewed(&self) -> Clock {
        self.renewed
    }

    /// What is left of the right; none without end.
    #[must_use]
    pub fn left(&self, now: Clock) -> Option<Duration> {
        let proposed = self.proposed.as_ref().and_then(|clause| clause.left(now));
        match (self.agreed.left(now), proposed) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Is it over? Then writes must end by force.
    #[must_use]
    pub fn has_lapsed(&self, now: Clock) -> bool {
        self.left(now) == Some(Duration::ZERO)
    }

    /// May clients still be sent here? No longer as soon as what is left of the lease is less than S: by the time that the right
    /// ends, those who ask now and then have heard of it, and before anybody else can be primary.
    #[must_use]
    pub fn is_ample(&self, now: Clock) -> bool {
        self.clauses().all(|clause| clause.is_ample(now))
    }

    /// Every set of terms that binds at this time.
    fn clauses(&self) -> impl Iterator<Item = &Clause> {
        [&self.agreed].into_iter().chain(&self.proposed)
    }

    /// Every set of terms that binds at this time.
    pub fn binding(&self) -> impl Iterator<Item = &Terms> {
        self.clauses().map(|clause| &clause.terms)
    }

    /// May the watchdog be petted (safety rule E7)? Setting its time, or opening it, pets it as well.
    #[must_use]
    pub fn may_pet(&self, now: Clock) -> bool {
        let young = |clause: &Clause| {
            let age = now.longest_since(clause.since);
            !clause.terms.on_control_loss.expires() || age < clause.terms.timings.pet_age()
        };
        self.clauses().all(young)
    }

    /// K: the bound of a forced stop, by all terms that bind.
    pub(super) fn stop_within(&self) -> Duration {
        let stops = self.clauses().map(|clause| clause.terms.timings.stop());
        stops.fold(Duration::MAX, Ord::min)
    }

    /// W: the time that a watchdog is armed with, by all terms that bind; none if no right ends by itself.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        let clauses = self
            .clauses()
            .filter(|clause| clause.terms.on_control_loss.expires());
        clauses.map(|clause| clause.terms.timings.watchdog()).min()
    }

    /// Other terms are about to be sent for the first time. One change at a time.
    pub(super) fn propose(&mut self, terms: Terms, now: Clock) {
        if self.proposed.is_none() && terms != self.agreed.terms {
            self.proposed = Some(Clause { terms, since: now });
        }
    }

    /// A renewal with these terms, sent then, was acknowledged.
    pub(super) fn acknowledged(&mut self, terms: Terms, sent: Clock) {
        let known = terms == self.agreed.terms;
        if known {
            self.agreed.since = self.agreed.since.max(sent);
        } else {
            self.agreed = Clause { terms, since: sent };
            self.proposed = None;
        }
        self.renewed = self.renewed.max(sent);
    }

    /// Every other member has promised, asked then.
    pub(super) fn promised(&mut self, asked: Clock) {
        if self.counts_promises() {
            self.agreed.since = self.agreed.since.max(asked);
        }
    }

    /// May promises of peers stand in for a renewal? Only while the record's terms are `failsafe`, or have become ones under which
    /// nothing expires: an agent that ends proposes these, and may be answered by nobody.
    pub(super) fn counts_promises(&self) -> bool {
        let ends = |clause: &Clause| clause.terms.on_control_loss.expires();
        self.agreed.terms.on_control_loss == ControlLoss::Failsafe
            && !self.proposed.as_ref().is_some_and(ends)
    }
}

#[cfg(test)]
mod tests {
    use interlock_model::lease::{Profile, Timings, VmPause};

    use super::*;

    fn at(millis: u64) -> Clock {
        let time = Duration::from_millis(100_000 + millis);
        Clock {
            boottime: time,
            raw: time,
        }
    }

    fn tenure(on_control_loss: ControlLoss, profile: Profile) -> Tenure {
        let terms = Terms {
            timings: Timings::of(profile),
            on_control_loss,
            vm_pause: VmPause::Accepted,
            members: ["n1", "n2"].map(|node| node.parse().unwrap()).into(),
            max_lag: 0,
        };
        Tenure::new(BootId("boot-1".into()), Epoch(1), terms, at(0))
    }

    #[test]
    fn clients_are_sent_away_long_before_the_right_ends() {
        for (profile, until) in [(Profile::Fast, 550), (Profile::Conservative, 3000)] {
            let tenure = tenure(ControlLoss::Demote, profile);
            assert!(tenure.is_ample(at(until - 1)), "{profile}");
            assert!(!tenure.is_ample(at(until)), "{profile}");
            assert!(!tenure.has_lapsed(at(until)), "{profile}");
        }
    }

    #[test]
    fn a_suspension_counts_although_one_of_the_clocks_stands_still() {
        let tenure = tenure(ControlLoss::Demote, Profile::Fast);
        let thawed = Clock {
            boottime: at(60_000).boottime,
            raw: at(1).raw,
        };
        assert!(!tenure.is_ample(thawed));
    }

    #[test]
    fn a_right_without_an_end_is_always_ample() {
        let tenure = tenure(ControlLoss::Hold, Profile::Fast);
        assert!(tenure.is_ample(at(3_600_000)));
    }

    #[test]
    fn terms_that_are_on_their_way_bind_as_well() {
        let mut tenure = tenure(ControlLoss::Demote, Profile::Conservative);
        let fast = Terms {
            timings: Timings::of(Profile::Fast),
            ..tenure.terms().clone()
        };
        tenure.propose(fast, at(100));
        assert!(tenure.is_ample(at(600)));
        assert!(!tenure.is_ample(at(700)));
    }
}
