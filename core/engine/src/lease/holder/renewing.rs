//! Renewals, and what rides on them: terms (safety rule E8), the watchdog (E7), synchrony (D1).

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_model::lease::{Epoch, Synchrony, Terms};
use interlock_model::names::NodeName;

use super::{Clock, Effect, Holder, Phase, Sent, Tenure, Watchdog};
use crate::lease::{RenewRequest, Safeguards};

impl Holder {
    /// The epoch that is renewed at this time, if any.
    fn renews(&self) -> Option<Epoch> {
        match self.phase {
            // Its disk must know the epoch first: one that does not, and whose record says that it was held, went back.
            Phase::Claiming { epoch, .. } if self.durable_seen < epoch => None,
            Phase::Claiming { epoch, .. } | Phase::Blocked { epoch, .. } => Some(epoch),
            Phase::Marking | Phase::Promoting | Phase::Primary | Phase::Releasing => {
                self.tenure.as_ref().map(Tenure::epoch)
            }
            Phase::Standby | Phase::Stopping { .. } | Phase::Freeing => None,
        }
    }

    pub(super) fn renew_if_due(&mut self, now: Clock, out: &mut Vec<Effect>) {
        let Some(epoch) = self.renews() else {
            return;
        };
        let current = self.tenure.as_ref().map(Tenure::terms);
        let period = current.or(self.claimed.as_ref()).map_or_else(
            || interlock_model::lease::Timings::default().renewal(),
            |terms| terms.timings.renewal(),
        );
        if self
            .last_sent
            .is_some_and(|last| now.longest_since(last) < period)
        {
            return;
        }
        self.renew(epoch, now, out);
    }

    fn renew(&mut self, epoch: Epoch, now: Clock, out: &mut Vec<Effect>) {
        self.take_up_wish(now, out);
        // Who has no right yet leaves the terms to the record, and hears with the answer what they are.
        let known = self.tenure.as_ref().map(Tenure::terms_to_send).cloned();
        let terms = known.as_ref().or(self.claimed.as_ref());
        let safeguards = terms.map_or(Safeguards::default(), |terms| self.safeguards(terms));
        let synchrony = terms.map_or(Synchrony::Off, |terms| self.synchrony_under(terms));
        if !self.sent.is_empty() {
            self.turn += 1;
        }
        // Unique and rising, even if the clock has not moved since.
        let sent = now
            .boottime
            .max(self.highest_sent + Duration::from_nanos(1));
        self.highest_sent = sent;
        let request = RenewRequest {
            service: self.config.service.clone(),
            holder: self.config.me.clone(),
            epoch,
            sent,
            safeguards,
            synchrony: synchrony.clone(),
            position: self.position,
            terms: known,
        };
        self.recorded_off &= synchrony == Synchrony::Off;
        self.last_sent = Some(now);
        self.sent.insert(
            sent,
            Sent {
                at: now,
                epoch,
                synchrony,
            },
        );
        out.push(Effect::Renew {
            request: Box::new(request),
            turn: self.turn,
        });
    }

    /// The leader would like other terms.
    pub(super) fn wish(&mut self, terms: Terms) {
        if !terms.members.contains(&self.config.me.node) || self.exiting {
            return;
        }
        self.wished = Some(terms);
    }

    /// Accepts what the leader would like: from here on both sets of terms bind. What is kept and what the kernel was told
    /// comes before the renewal: the record may have the new terms before the answer is here.
    fn take_up_wish(&mut self, now: Clock, out: &mut Vec<Effect>) {
        let Some(tenure) = &mut self.tenure else {
            return;
        };
        // Setting a watchdog's time pets it, so that must be allowed.
        if tenure.is_changing() || !tenure.may_pet(now) {
            return;
        }
        let Some(terms) = self.wished.take().filter(|wished| wished != tenure.terms()) else {
            return;
        };
        tenure.propose(terms, now);
        out.push(Effect::Keep(Some(tenure.clone())));
        self.arm(now, out);
        self.open_path(now, out);
    }

    /// Arms a watchdog with what binds now, where one is used. That pets it, so the right must be young.
    pub(super) fn arm(&mut self, now: Clock, out: &mut Vec<Effect>) {
        let young = self.tenure.as_ref().filter(|tenure| tenure.may_pet(now));
        let time = young.and_then(Tenure::watchdog);
        if let Some(time) = time.filter(|_| self.config.watchdog != Watchdog::Off) {
            self.arms = true;
            out.push(Effect::Arm(time));
        }
    }

    /// The watchdog is armed, or cannot be, or is not any more.
    pub(super) fn armed(&mut self, armed: bool, out: &mut Vec<Effect>) {
        self.armed = armed;
        if self.lacks_watchdog() {
            self.stop(out);
        }
    }

    /// Nothing is left that a watchdog would have to end. One that an earlier agent of this boot has armed runs on until it is
    /// disarmed, also if this one never opened it.
    pub(super) fn disarm(&mut self, out: &mut Vec<Effect>) {
        let failed = self.arms && !self.armed;
        if self.config.watchdog != Watchdog::Off && !failed {
            out.push(Effect::Disarm);
        }
        self.armed = false;
    }

    /// Is this node without a watchdog that it may not be without?
    pub(super) fn lacks_watchdog(&self) -> bool {
        let tried = self.arms && !self.armed;
        let ends = self.tenure.as_ref().is_some_and(|t| t.watchdog().is_some());
        tried && ends && self.config.watchdog == Watchdog::Required
    }

    /// A renewal is committed.
    pub(super) fn acknowledged(
        &mut self,
        epoch: Epoch,
        sent: Duration,
        terms: Terms,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        let Some(renewal) = self.sent.get(&sent).cloned() else {
            return;
        };
        if renewal.epoch != epoch || self.renews() != Some(epoch) {
            return;
        }
        self.sent = self.sent.split_off(&(sent + Duration::from_nanos(1)));
        match self.phase {
            // Only what was sent after the command came: `promote` forgets what was sent before.
            Phase::Claiming { since, .. } | Phase::Blocked { since, .. } => {
                if renewal.at >= since {
                    self.claim_acknowledged(epoch, terms, renewal.at, now, out);
                }
            }
            Phase::Marking | Phase::Promoting | Phase::Primary | Phase::Releasing => {
                self.prolong(terms, renewal.at, now, out);
            }
            Phase::Standby | Phase::Stopping { .. } | Phase::Freeing => return,
        }
        // An older one says nothing if a later one promised more.
        let all_off = self
            .sent
            .values()
            .all(|sent| sent.synchrony == Synchrony::Off);
        self.recorded_off |= renewal.synchrony == Synchrony::Off && all_off;
        if self.degrading && self.recorded_off {
            self.degrading = false;
            self.synchrony = Synchrony::Off;
            out.push(Effect::AllowAsynchronous);
        }
        self.exit_if_held(out);
    }

    fn prolong(&mut self, terms: Terms, sent: Clock, now: Clock, out: &mut Vec<Effect>) {
        let Some(tenure) = &mut self.tenure else {
            return;
        };
        let expired_before = tenure.terms().on_control_loss.expires();
        let time_before = tenure.watchdog();
        tenure.acknowledged(terms, sent);
        out.push(Effect::Keep(Some(tenure.clone())));
        let expires = tenure.terms().on_control_loss.expires();
        if expired_before && !expires && !tenure.is_changing() {
            self.armed = false;
            self.arms = false;
            out.push(Effect::Disarm);
        }
        if tenure.watchdog() != time_before || !self.arms {
            self.arm(now, out);
        }
        self.questions.clear();
        self.open_path(now, out);
    }

    /// Pets the watchdog on young acknowledgements only.
    pub(super) fn pet(&self, now: Clock, out: &mut Vec<Effect>) {
        let holds = matches!(
            self.phase,
            Phase::Marking | Phase::Promoting | Phase::Primary | Phase::Releasing
        );
        let young = self.tenure.as_ref().is_some_and(|t| t.may_pet(now));
        if holds && self.armed && young {
            out.push(Effect::Pet);
        }
    }

    /// The instance waits for these from now on. Said with the next renewal: until then the record promises less than is
    /// so, which is safe.
    pub(super) fn synchronous(&mut self, nodes: BTreeSet<NodeName>) {
        let new = Synchrony::With(nodes);
        if !self.degrading && self.synchrony.promises_at_most(&new) {
            self.synchrony = new;
        }
    }

    /// The instance wants to wait for nobody. The record says so before the first acknowledgement that relies on it.
    pub(super) fn degrade(&mut self, now: Clock, out: &mut Vec<Effect>) {
        if self.recorded_off && self.synchrony == Synchrony::Off {
            out.push(Effect::AllowAsynchronous);
            return;
        }
        if self.degrading {
            return;
        }
        self.degrading = true;
        if let Some(epoch) = self.renews() {
            self.renew(epoch, now, out);
        }
    }
}
