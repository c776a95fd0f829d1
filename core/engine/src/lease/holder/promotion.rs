//! From a command to a primary (safety rules E5, E17).
//!
//! A command gives no right: it may be the late message of a leader that has been replaced, for an epoch that is over. The
//! agent asks the store itself, by renewing exactly that epoch, and only an answer to what it sent *after* the command came
//! counts. Then the mark *was primary* is made durable, and only then the instance is promoted.

use std::time::Duration;

use interlock_model::lease::{ControlLoss, Epoch, Holder as Member, Synchrony, Terms};

use super::{After, Clock, Effect, Holder, Mark, Phase, Released, Tenure, Watchdog};
use crate::lease::Right;

impl Holder {
    /// A coordinator says that this node is to be primary.
    pub(super) fn promote(
        &mut self,
        epoch: Epoch,
        holder: &Member,
        terms: Terms,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        self.see(epoch, out);
        self.free_earlier_boot(epoch, Some(holder), out);
        let mine = *holder == self.config.me;
        let new = epoch > self.facts.released_through() && epoch >= self.facts.seen;
        let free = matches!(self.phase, Phase::Standby)
            || matches!(self.phase, Phase::Claiming { epoch: claimed, .. } if claimed < epoch);
        if !mine || !new || !free || self.must_wait_for_peers(&terms, now) {
            return;
        }
        self.phase = Phase::Claiming { epoch, since: now };
        self.claimed = Some(terms);
        // What it promised when it was primary before is no promise now: a new primary waits for nobody yet (D1).
        self.synchrony = Synchrony::Off;
        self.degrading = false;
        self.recorded_off = false;
        self.sent.clear();
        // The next renewal is due at once.
        self.last_sent = None;
    }

    /// A promise holds, or one that this agent does not know of may hold: a restarted peer waits a full L (E2).
    fn must_wait_for_peers(&self, terms: &Terms, now: Clock) -> bool {
        let young = terms.on_control_loss == ControlLoss::Failsafe
            && now.shortest_since(self.started) < terms.timings.life();
        young || self.has_promised(now)
    }

    /// A renewal was acknowledged while there was no right yet.
    pub(super) fn claim_acknowledged(
        &mut self,
        epoch: Epoch,
        terms: Terms,
        sent: Clock,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        let tenure = Tenure::new(self.config.me.boot.clone(), epoch, terms, sent);
        let terms = tenure.terms();
        let arms = self.config.watchdog != Watchdog::Off && terms.on_control_loss.expires();
        if tenure.has_lapsed(now) || (arms && !tenure.may_pet(now)) {
            // Asked for too long ago to be worth anything, or to arm a watchdog; the next one may be.
            return;
        }
        out.push(Effect::Keep(Some(tenure.clone())));
        self.tenure = Some(tenure);
        self.claimed = None;
        self.arms = false;
        self.arm(now, out);
        if matches!(self.phase, Phase::Blocked { .. }) {
            self.phase = Phase::Primary;
            self.open_path(now, out);
            out.push(Effect::Unblock);
            return;
        }
        self.phase = Phase::Marking;
        let mark = Mark {
            epoch,
            boot: self.config.me.boot.clone(),
        };
        self.mark_before = Some(self.facts.mark.replace(mark));
        self.unwritten = false;
        self.commit(After::Promote(epoch), out);
    }

    /// Whoever waits for a first acknowledgement does not wait for ever: an answer that comes later than this finds nobody.
    /// A command is repeated as long as it holds; an instance that is blocked is of no use.
    pub(super) fn give_up_if_unanswered(&mut self, now: Clock, out: &mut Vec<Effect>) {
        let (Phase::Claiming { since, .. } | Phase::Blocked { since, .. }) = self.phase else {
            return;
        };
        let claimed = self.claimed.as_ref().map(|terms| terms.timings);
        if now.longest_since(since) < claimed.unwrap_or_default().life() {
            return;
        }
        if let Phase::Claiming { epoch, .. } = self.phase {
            // Renewals were sent, and one of them may be committed: what the record may say is given back.
            self.claimed = None;
            self.sent.clear();
            self.free_own(epoch, out);
        } else {
            self.force_stop_unowned(now, "no coordinator has acknowledged its lease", out);
        }
    }

    /// The mark is durable.
    pub(super) fn marked(&mut self, epoch: Epoch, now: Clock, out: &mut Vec<Effect>) {
        let holds = self
            .tenure
            .as_ref()
            .is_some_and(|tenure| tenure.epoch() == epoch && !tenure.has_lapsed(now));
        if self.phase != Phase::Marking || !holds {
            return;
        }
        if self.lacks_watchdog() {
            // Nothing was promoted: what was so before is so still.
            if let Some(before) = self.mark_before.take() {
                self.facts.mark = before;
            }
            self.tenure = None;
            out.push(Effect::Keep(None));
            self.free_own(epoch, out);
            return;
        }
        self.phase = Phase::Promoting;
        out.push(Effect::Promote(Right(epoch)));
    }

    /// The instance accepts writes: clients may come.
    pub(super) fn promoted(&mut self, now: Clock, out: &mut Vec<Effect>) {
        if self.phase == Phase::Promoting {
            self.phase = Phase::Primary;
            self.mark_before = None;
            self.open_path(now, out);
        }
    }

    /// Lets clients in for as long as the right lasts.
    pub(super) fn open_path(&self, now: Clock, out: &mut Vec<Effect>) {
        let Some(tenure) = &self.tenure else {
            return;
        };
        let left = tenure.left(now);
        if left != Some(Duration::ZERO) && matches!(self.phase, Phase::Primary) {
            out.push(Effect::OpenPath(left));
        }
    }

    /// What a coordinator says of the store.
    pub(super) fn heard(
        &mut self,
        epoch: Epoch,
        holder: Option<&Member>,
        now: Clock,
        out: &mut Vec<Effect>,
    ) {
        self.see(epoch, out);
        self.free_earlier_boot(epoch, holder, out);
        if let Phase::Claiming { epoch: claimed, .. } = self.phase
            && claimed < epoch
        {
            self.phase = Phase::Standby;
            self.claimed = None;
        }
        if matches!(self.phase, Phase::Blocked { epoch: blocked, .. } if blocked < epoch) {
            self.force_stop_unowned(now, "a later epoch has begun", out);
        }
        let over = self
            .tenure
            .as_ref()
            .is_some_and(|tenure| tenure.epoch() < epoch);
        if over {
            self.force_stop(now, "a later epoch has begun", out);
        }
        // Where there is no data, whoever was primary follows as soon as somebody else is.
        let mark = self.facts.mark.as_ref().map(|mark| mark.epoch);
        if !self.config.data && mark.is_some_and(|mark| mark < epoch) {
            self.unmark(out);
        }
        let written = self.unreported.as_ref().is_some_and(|report| {
            report.epoch < epoch || (report.epoch == epoch && holder.is_none())
        });
        if written {
            self.unreported = None;
        }
    }

    /// The record says what this node has once seen: one that knows less has lost what it knew (safety rule E6). Durable
    /// here before anything newer is: otherwise the next word of a coordinator would hide it.
    pub(super) fn compare(&mut self, witnessed: Epoch, out: &mut Vec<Effect>) {
        if witnessed > self.facts.seen && !self.facts.reverted {
            self.facts.reverted = true;
            self.commit(After::Nothing, out);
        }
    }

    /// A person has looked. What a disk that went back says of its data is not of what is there now.
    pub(super) fn cleared(&mut self, out: &mut Vec<Effect>) {
        if std::mem::take(&mut self.facts.reverted) {
            self.facts.mark = None;
            self.facts.follows = Epoch::NONE;
            self.commit(After::Nothing, out);
        }
    }

    /// Remembers the highest epoch.
    fn see(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        if epoch > self.facts.seen {
            self.facts.seen = epoch;
            self.commit(After::Nothing, out);
        }
    }

    /// The record names an earlier boot of this machine: whatever held it is gone, and this boot says so. Needed where
    /// the machine went down before the mark was durable.
    fn free_earlier_boot(&mut self, epoch: Epoch, holder: Option<&Member>, out: &mut Vec<Effect>) {
        let me = &self.config.me;
        let Some(earlier) = holder.filter(|at| at.node == me.node && at.boot != me.boot) else {
            return;
        };
        if self.phase == Phase::Standby && epoch > self.facts.released_through() {
            // The mark is made durable after the epoch was. A disk that does not know the epoch may be one that went back,
            // and then the missing mark says nothing.
            let mark = self.facts.mark.as_ref();
            let began = mark.is_some_and(|mark| mark.epoch == epoch);
            self.free(
                Released {
                    epoch,
                    by: earlier.clone(),
                    began: began || self.seen_at_start < epoch,
                    position: None,
                },
                out,
            );
        }
    }

    /// The data of this node follow the primary of this epoch. What it had as primary before is of no account any more.
    pub(super) fn follows(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        let own = self.facts.mark.as_ref().map(|mark| mark.epoch);
        // Word of an epoch before its own one is old.
        let late = own >= Some(epoch) || self.facts.follows >= epoch;
        if self.phase == Phase::Standby && !late {
            self.facts.follows = epoch;
            self.facts.mark = None;
            self.commit(After::Nothing, out);
        }
    }

    /// What was seen before is not so any more: a disk was replaced, or has lost what it said to have written. Whoever was
    /// chosen for what its data were is not promoted with what they are.
    pub(super) fn diverged(&mut self, out: &mut Vec<Effect>) {
        self.forget_line(out);
        match self.phase {
            Phase::Claiming { epoch, .. } => {
                self.claimed = None;
                self.free_own(epoch, out);
            }
            // Whoever promotes waits for who has found this, and stops instead.
            Phase::Promoting => self.stop(out),
            Phase::Standby
            | Phase::Marking
            | Phase::Primary
            | Phase::Blocked { .. }
            | Phase::Releasing
            | Phase::Stopping { .. }
            | Phase::Freeing => {}
        }
    }

    /// Of whatever line its data are, that they follow a primary is not known any more.
    pub(super) fn forget_line(&mut self, out: &mut Vec<Effect>) {
        if self.facts.follows > Epoch::NONE {
            self.facts.follows = Epoch::NONE;
            self.commit(After::Nothing, out);
        }
    }

    /// Where there is no data, the role was handed over for good.
    fn unmark(&mut self, out: &mut Vec<Effect>) {
        if self.phase == Phase::Standby && self.facts.mark.take().is_some() {
            self.commit(After::Nothing, out);
        }
    }
}
