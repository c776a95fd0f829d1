//! Attempts: how one is sent, watched, taken over from an earlier process, and ended.

use std::time::Duration;

use interlock_model::action::{Action, Command};
use interlock_model::ids::AttemptId;
use interlock_model::names::NodeName;
use interlock_model::plan::Wait;
use interlock_model::time::human;

use super::report::WORTH_WHILE;
use super::{Ctx, Effect, Operation, Phase, State, What};

impl Operation {
    /// Records the intent of the next attempt and asks for its dispatch.
    pub(super) fn dispatch(
        &mut self,
        at: usize,
        to: &NodeName,
        command: Command,
        undo: bool,
        ctx: &mut Ctx<'_>,
    ) {
        if self.distrusted.contains(to) {
            let (step, evidence) = (self.step(at).id.clone(), self.namesake(to));
            let what = if undo {
                What::UndoFailed { step, evidence }
            } else {
                What::Blocked { step, evidence }
            };
            self.record(what, ctx.now);
            return;
        }
        let step = self.step(at);
        let (step, node) = (step.id.clone(), step.node.clone());
        let attempt = self.steps[at].attempt.next();
        let boot = node.and_then(|node| ctx.view.node(&node).and_then(|seen| seen.boot.clone()));
        self.record(
            What::Intent {
                step: step.clone(),
                attempt,
                on: Some(to.clone()),
                command: command.word().to_owned(),
                term: ctx.term,
                boot,
                undo,
            },
            ctx.now,
        );
        let mut limit = self.time_left(at, ctx);
        if limit < WORTH_WHILE {
            // It was waiting that took the time, for a gate or for a person who had paused the operation.
            self.live[at].first = None;
            limit = self.limit(at, ctx);
        }
        let live = &mut self.live[at];
        live.first.get_or_insert(ctx.now.mono);
        live.began = Some(ctx.now.mono);
        live.deadline = Some(ctx.now.mono + limit);
        live.asked = None;
        live.said.clear();
        live.unsure = None;
        live.session = ctx.view.node(to).and_then(|seen| seen.session);
        live.seen = format!("{} sent to {to}", command.word());
        let id = AttemptId {
            operation: self.id,
            step,
            attempt,
        };
        ctx.effects.push(Effect::Dispatch {
            to: to.clone(),
            id,
            limit,
            command,
        });
    }

    /// What is left of a step's limit. Attempts that nobody was asked about share one: what a plan says it takes at most holds
    /// for all of them. A switching has its own: what its agent did not live to see may have to be asked for again, and the
    /// machine needs its time from then on.
    pub(super) fn time_left(&self, at: usize, ctx: &Ctx<'_>) -> Duration {
        let limit = self.limit(at, ctx);
        if self.doing(at).is_power() {
            return limit;
        }
        let spent = self.live[at]
            .first
            .map_or(Duration::ZERO, |first| ctx.now.since(first));
        limit.saturating_sub(spent)
    }

    /// The limit of what is done for a step: its own or, while it is taken back, that of such an action by the spec. A server
    /// that stops in seconds may need minutes to start.
    pub(super) fn limit(&self, at: usize, ctx: &Ctx<'_>) -> Duration {
        let goes_back = self.live[at].undoing
            || matches!(self.steps[at].phase, Phase::Undoing | Phase::UndoFailed);
        match goes_back {
            true => self.limit_of_undo(at, ctx),
            false => self.step(at).timeout,
        }
    }

    /// The limit of taking a step back.
    pub(super) fn limit_of_undo(&self, at: usize, ctx: &Ctx<'_>) -> Duration {
        let step = self.step(at);
        let service = step.service.as_ref();
        let service = service.and_then(|name| ctx.spec.services.get(name));
        let node = step.node.as_ref().and_then(|name| ctx.spec.nodes.get(name));
        let power = node.and_then(|node| node.power.as_ref());
        let limit = match step.undo.as_ref().map(|undo| &*undo.0) {
            Some(Action::Start) => service.map(|it| it.start_within),
            Some(Action::Stop) => service.map(|it| it.stop_within),
            Some(Action::PowerOn { .. }) => power.map(|it| it.on_within),
            Some(Action::PowerOff { .. }) => power.map(|it| it.off_within),
            _ => None,
        };
        limit.unwrap_or(step.timeout)
    }

    /// An attempt under way: is it known to its agent, is it proven, has it taken too long?
    pub(super) fn watch(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        self.take_over(at, ctx);
        if self.reconnected {
            self.ask_after_reconnect(at, ctx);
        }
        if self.doing(at).is_power() {
            self.watch_power(at, ctx);
            let by_hand = self.steps[at].on.is_none() && self.steps[at].phase.in_flight();
            if self.is_ending() && by_hand {
                self.give_up_power(at, ctx);
            }
        }
        if self.steps[at].phase.in_flight() {
            self.watch_off(at, ctx);
        }
        self.watch_deadline(at, ctx);
    }

    fn watch_deadline(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let overdue = self.live[at]
            .deadline
            .is_some_and(|deadline| ctx.now.mono >= deadline);
        if !overdue || !self.steps[at].phase.in_flight() {
            return;
        }
        let evidence = format!(
            "not proven within {}: {}",
            humantime(self.limit(at, ctx)),
            self.seen(at)
        );
        let unknown = !self.doing(at).is_power() || self.power_is_unknown(at, ctx);
        self.end_attempt(at, ctx);
        self.record(
            What::Failed {
                step: self.step(at).id.clone(),
                unknown,
                refused: false,
                evidence,
            },
            ctx.now,
        );
    }

    /// Asks the agent to end the current attempt, if it is one that can be ended.
    pub(super) fn end_attempt(&self, at: usize, ctx: &mut Ctx<'_>) {
        if self.doing(at).is_power() {
            return;
        }
        if let Some(on) = &self.steps[at].on {
            let id = AttemptId {
                operation: self.id,
                step: self.step(at).id.clone(),
                attempt: self.steps[at].attempt,
            };
            ctx.effects.push(Effect::Cancel { to: on.clone(), id });
        }
    }

    /// Has an agent, or a power source, something to do for the step, forwards or back? That is what an abort ends, or
    /// awaits where it cannot be ended. An undo that is up and has yet to turn healthy is as little under way as a step
    /// whose checks are awaited.
    pub(super) fn is_under_way(&self, at: usize) -> bool {
        match self.steps[at].phase {
            Phase::Running => true,
            Phase::Undoing => !self.steps[at].reached.contains_key(&Wait::Up),
            _ => false,
        }
    }

    /// Is everything under way being ended?
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.state, State::Aborting | State::AbortingToUnwind)
    }

    /// The agent of a power step has nothing left to do, or never had, and nobody waits for the machine any more. What
    /// it comes to is not proven.
    pub(super) fn give_up_power(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let evidence = format!("aborted before it was proven: {}", self.seen(at));
        self.record(
            What::Failed {
                step: self.step(at).id.clone(),
                unknown: true,
                refused: false,
                evidence,
            },
            ctx.now,
        );
    }

    /// A switching cannot be cancelled, but its agent may have said its last word of it before anybody wanted to know.
    pub(super) fn ask_after_switching(&self, at: usize, ctx: &mut Ctx<'_>) {
        if let (true, Some(on)) = (self.doing(at).is_power(), &self.steps[at].on) {
            let id = AttemptId {
                operation: self.id,
                step: self.step(at).id.clone(),
                attempt: self.steps[at].attempt,
            };
            ctx.effects.push(Effect::Query { to: on.clone(), id });
        }
    }

    /// After a restart of the coordinator an attempt has its limit anew. How much of it has gone only the wall clock could
    /// tell, and that may have jumped meanwhile; the attempt's agent counts by its own clock, and ends it in time.
    fn take_over(&mut self, at: usize, ctx: &Ctx<'_>) {
        if self.live[at].began.is_some() {
            return;
        }
        let limit = self.limit(at, ctx);
        let live = &mut self.live[at];
        live.first = Some(ctx.now.mono);
        live.began = Some(ctx.now.mono);
        live.deadline = Some(ctx.now.mono + limit);
        live.seen = "taken over from the journal".to_owned();
    }

    /// A session that has not seen this attempt is asked for it: the dispatch, or its answer, may have been lost.
    fn ask_after_reconnect(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let Some(on) = self.steps[at].on.clone() else {
            return;
        };
        let session = ctx.view.node(&on).and_then(|seen| seen.session);
        if session.is_none() {
            if self.live[at].session.take().is_some() || self.live[at].seen.is_empty() {
                self.live[at].seen = format!("the agent of {on} is not connected");
            }
            return;
        }
        if session != self.live[at].session {
            self.live[at].session = session;
            let id = AttemptId {
                operation: self.id,
                step: self.step(at).id.clone(),
                attempt: self.steps[at].attempt,
            };
            let ends = self.is_ending() && !self.doing(at).is_power();
            // A cancel may have been lost with its session as well, and is answered like a query.
            ctx.effects.push(if ends {
                Effect::Cancel { to: on, id }
            } else {
                Effect::Query { to: on, id }
            });
        }
    }
}

/// A duration for people, in whole seconds or, below one, milliseconds.
pub(super) fn humantime(duration: Duration) -> String {
    let whole = match (duration.as_secs(), duration.as_millis()) {
        (0, millis) => Duration::from_millis(u64::try_from(millis).unwrap_or_default()),
        (seconds, _) => Duration::from_secs(seconds),
    };
    human::text(whole)
}
