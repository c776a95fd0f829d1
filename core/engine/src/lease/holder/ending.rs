//! How a role ends: given back, lost, or left standing by an agent that ends (safety rules E10, E12, E14).
//!
//! *Released* means: the control group is empty, the address is gone, and a durable local fact forbids to start anything in
//! that epoch again. Only then anybody is told. A local restart and a release exclude each other because both are phases of
//! this one machine.

use interlock_model::lease::{ControlLoss, Epoch, Holder as Member, Terms, Timings};

use super::{After, Clock, Effect, Found, Holder, Phase, Released, Tenure};
use crate::lease::Right;

impl Holder {
    /// The very first thing of each call: a right that is over ends by force.
    pub(super) fn fence_if_lapsed(&mut self, now: Clock, out: &mut Vec<Effect>) {
        if self
            .tenure
            .as_ref()
            .is_some_and(|tenure| tenure.has_lapsed(now))
        {
            self.force_stop(now, "its lease is about to end", out);
        }
    }

    /// Ends writes by force, whatever the instance is doing; a promotion that is under way as well (E5).
    pub(super) fn force_stop(&mut self, now: Clock, why: &'static str, out: &mut Vec<Effect>) {
        if let Some(tenure) = self.tenure.take() {
            let within = tenure.stop_within();
            self.stop_by_force(tenure.epoch(), within, now, why, out);
        }
    }

    /// Something runs that has no right and whose epoch, if it ever had one, is in the mark.
    pub(super) fn force_stop_unowned(
        &mut self,
        now: Clock,
        why: &'static str,
        out: &mut Vec<Effect>,
    ) {
        let epoch = self.facts.mark.as_ref().map_or(Epoch::NONE, |m| m.epoch);
        self.stop_by_force(epoch, Timings::default().stop(), now, why, out);
    }

    fn stop_by_force(
        &mut self,
        epoch: Epoch,
        within: std::time::Duration,
        now: Clock,
        why: &'static str,
        out: &mut Vec<Effect>,
    ) {
        self.claimed = None;
        self.questions.clear();
        self.phase = Phase::Stopping {
            epoch,
            since: now,
            within,
            reset: false,
        };
        out.extend([
            Effect::ClosePath,
            Effect::ForceStop { within, why },
            Effect::Keep(None),
        ]);
    }

    /// A forced stop that is not done by K: SIGKILL does not reach a process in an uninterruptible sleep, a reset does.
    pub(super) fn reset_if_stuck(&mut self, now: Clock, out: &mut Vec<Effect>) {
        if let Phase::Stopping {
            since,
            within,
            reset,
            ..
        } = &mut self.phase
            && !*reset
            && now.longest_since(*since) >= *within
        {
            *reset = true;
            out.push(Effect::Reset);
        }
    }

    /// The store says that the epoch is over for this node.
    pub(super) fn superseded(&mut self, epoch: Epoch, now: Clock, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Claiming { epoch: claimed, .. } if claimed == epoch => {
                self.phase = Phase::Standby;
                self.claimed = None;
            }
            Phase::Blocked { epoch: blocked, .. } if blocked == epoch => {
                self.force_stop_unowned(now, "its epoch is over", out);
            }
            _ if self.tenure.as_ref().is_some_and(|t| t.epoch() == epoch) => {
                self.force_stop(now, "its epoch is over", out);
            }
            _ => {}
        }
    }

    /// The role is to be given back.
    pub(super) fn release(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Claiming { epoch: claimed, .. } if claimed == epoch => {
                self.claimed = None;
                self.free_own(epoch, out);
            }
            // The record names this node, and it knows nothing of it: an agent was started again before it was primary.
            Phase::Standby if epoch > self.facts.released_through() => self.free_own(epoch, out),
            Phase::Promoting | Phase::Primary
                if self.tenure.as_ref().is_some_and(|t| t.epoch() == epoch) =>
            {
                self.stop(out);
            }
            _ => {}
        }
    }

    /// Stops in order; the right is kept meanwhile.
    pub(super) fn stop(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Promoting | Phase::Primary) {
            self.phase = Phase::Releasing;
            out.extend([Effect::ClosePath, Effect::Stop]);
        }
    }

    /// The instance died by itself.
    pub(super) fn died(&mut self, restart: bool, now: Clock, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Blocked { .. }) {
            self.force_stop_unowned(now, "it died while it was blocked", out);
        }
        let Some(tenure) = self.tenure.as_ref().filter(|t| !t.has_lapsed(now)) else {
            return;
        };
        if restart && self.phase == Phase::Primary {
            out.push(Effect::Restart(Right(tenure.epoch())));
        } else {
            // What is left of it must go before the role does: orphans of a database write on.
            self.stop(out);
        }
    }

    /// The manager has looked: a primary that nobody made one is stopped. What it has written meanwhile is of a line of its own, and
    /// how far its data go says nothing until they are seen to follow again.
    pub(super) fn found(&mut self, found: Found, now: Clock, out: &mut Vec<Effect>) {
        let unowned = matches!(
            self.phase,
            Phase::Standby | Phase::Claiming { .. } | Phase::Freeing
        );
        if found == Found::Primary && unowned {
            self.force_stop_unowned(now, "nobody gave it that role", out);
            self.forget_line(out);
        }
    }

    /// The promotion that failed had no effect. Of an instance that was primary in this epoch that is no news of all of it.
    pub(super) fn unwritten(&mut self) {
        self.unwritten = self.phase == Phase::Releasing && self.mark_before.is_some();
    }

    /// Nothing is left.
    pub(super) fn empty(&mut self, position: Option<u64>, out: &mut Vec<Effect>) {
        let epoch = match &self.phase {
            Phase::Stopping { epoch, .. } => *epoch,
            Phase::Releasing => self.tenure.as_ref().map_or(Epoch::NONE, Tenure::epoch),
            Phase::Standby
            | Phase::Claiming { .. }
            | Phase::Marking
            | Phase::Promoting
            | Phase::Primary
            | Phase::Blocked { .. }
            | Phase::Freeing => return,
        };
        self.tenure = None;
        out.push(Effect::Keep(None));
        self.disarm(out);
        if epoch <= self.facts.released_through() {
            self.phase = Phase::Standby;
            return;
        }
        // A mark of an earlier boot is the right of that boot, and it is the one that is given back.
        let boot = match &self.facts.mark {
            Some(mark) if mark.epoch == epoch => mark.boot.clone(),
            Some(_) | None => self.config.me.boot.clone(),
        };
        let by = Member {
            node: self.config.me.node.clone(),
            boot,
        };
        let unwritten = self.unwritten && self.phase == Phase::Releasing;
        if let Some(before) = self.mark_before.take().filter(|_| unwritten) {
            // Its data are what they were.
            self.facts.mark = before;
        }
        let released = Released {
            epoch,
            by,
            began: !unwritten,
            position,
        };
        self.free(released, out);
    }

    /// Gives back what this boot never used.
    pub(super) fn free_own(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        let by = self.config.me.clone();
        let released = Released {
            epoch,
            by,
            began: false,
            position: None,
        };
        self.free(released, out);
    }

    /// Makes *released* durable; told only afterwards.
    pub(super) fn free(&mut self, released: Released, out: &mut Vec<Effect>) {
        self.phase = Phase::Freeing;
        self.facts.released = Some(released);
        self.commit(After::Released, out);
    }

    /// *Released* is durable.
    pub(super) fn released(&mut self, now: Clock, out: &mut Vec<Effect>) {
        if self.phase == Phase::Freeing {
            self.phase = Phase::Standby;
        }
        let released = self.facts.released.as_ref();
        self.unreported = released.map(|released| released.report(&self.config.service));
        self.last_report = None;
        self.report(now, out);
    }

    /// Is what was given back last written, as far as this life of the agent knows?
    #[must_use]
    pub fn is_release_written(&self) -> bool {
        self.unreported.is_none()
    }

    /// Tells it again and again, until it is written.
    pub(super) fn report(&mut self, now: Clock, out: &mut Vec<Effect>) {
        let due = self
            .last_report
            .is_none_or(|last| now.longest_since(last) >= std::time::Duration::from_millis(250));
        if let Some(report) = self.unreported.clone().filter(|_| due) {
            self.last_report = Some(now);
            out.push(Effect::ReportRelease(report));
        }
    }

    pub(super) fn release_written(&mut self, epoch: Epoch) {
        self.unreported.take_if(|report| report.epoch <= epoch);
    }

    /// The agent is asked to end. A primary that is left alone goes on only under `hold`, and the record must say so
    /// before: under any other policy silence is an expiry.
    pub(super) fn exit(&mut self, out: &mut Vec<Effect>) {
        let Some(tenure) = &self.tenure else {
            out.push(Effect::MayExit);
            return;
        };
        self.wished = Some(Terms {
            on_control_loss: ControlLoss::Hold,
            ..tenure.terms().clone()
        });
        self.exiting = true;
        self.exit_if_held(out);
    }

    pub(super) fn exit_if_held(&self, out: &mut Vec<Effect>) {
        let held = self.tenure.as_ref().is_none_or(|tenure| {
            !tenure.is_changing() && tenure.terms().on_control_loss == ControlLoss::Hold
        });
        if self.exiting && held {
            out.push(Effect::MayExit);
        }
    }
}
