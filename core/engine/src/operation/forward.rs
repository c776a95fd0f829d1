//! The pass over an operation: what begins, what is watched, what settles.

use std::sync::Arc;
use std::time::Duration;

use interlock_model::action::{Action, Command};
use interlock_model::file::FileWork;
use interlock_model::names::LocalName;
use interlock_model::plan::Plan;

use super::attempt::humantime;
use super::gates::{ASK_AGAIN, Readiness, green};
use super::live::Ending;
use super::next::YOUR_NEXT;
use super::{Ctx, Operation, Phase, State, What};

/// How often steps under way are looked through for deadlines, which are seconds.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// How long an operation whose steps are all done waits for what is not known: longer than an agent takes to come back after
/// its coordinator did, and to be called lost.
const END_WITHIN: Duration = Duration::from_secs(60);

impl Operation {
    /// Does everything that can be done now. To be called after every event, and from time to time.
    pub fn advance(&mut self, ctx: &mut Ctx<'_>) {
        if self.state.is_over() {
            return;
        }
        self.taken.get_or_insert(ctx.now.mono);
        // A pass over a thousand steps under way shall not look up a thousand sessions at every message.
        let sessions = Some(ctx.view.sessions());
        self.reconnected = self.sessions != sessions;
        self.sessions = sessions;
        // What went wrong since the last pass halts this one before anything begins.
        self.settle(ctx);
        // Plan order is topological: a step that settles here opens the ones behind it within the same pass.
        let open = self.due(ctx.now.mono);
        let mut required = None;
        for at in open {
            match self.steps[at].phase {
                Phase::Waiting if self.state == State::Running => {
                    self.consider(at, &mut required, ctx);
                }
                Phase::Running => self.watch(at, ctx),
                Phase::Checking => self.check(at, ctx),
                _ => {}
            }
            if self.state == State::Running && self.steps[at].phase.needs_person() {
                self.settle(ctx);
            }
        }
        if self.state == State::Unwinding || self.tally.undoing > 0 {
            self.unwind(ctx);
        }
        self.settle(ctx);
    }

    /// The steps to look through in this pass, in plan order.
    fn due(&mut self, now: Duration) -> Vec<usize> {
        let rested = |last| now.saturating_sub(last) < WATCH_EVERY;
        if self.watched.is_some_and(rested) && !self.reconnected && !self.is_ending() {
            return self.open.iter().copied().collect();
        }
        self.watched = Some(now);
        self.open.union(&self.reported).copied().collect()
    }

    fn settle(&mut self, ctx: &mut Ctx<'_>) {
        let in_flight = || self.tally.in_flight > 0;
        let turn = match self.state {
            State::Running | State::Pausing | State::Paused | State::Unwinding => {
                if let Some(at) = self.trouble() {
                    let reason = format!("{}: {}", self.step(at).id, self.steps[at].evidence);
                    Some((State::NeedsAttention, reason))
                } else if self.state != State::Unwinding && self.tally.settled == self.steps.len() {
                    match self.may_end(ctx) {
                        Readiness::Yes => {
                            Some((State::Done, "every step is done and proven".to_owned()))
                        }
                        // It is heard again with the next word of the agent, or a moment later.
                        Readiness::NotYet(why) => {
                            let late = self.waits_to_end(&why, ctx);
                            let why = format!("{why}: repair that and `resume`, or abort");
                            late.then_some((State::NeedsAttention, why))
                        }
                        Readiness::Never(why) => Some((State::NeedsAttention, why)),
                    }
                } else if self.state == State::Pausing && !in_flight() {
                    Some((State::Paused, "nothing is under way".to_owned()))
                } else if self.state == State::Unwinding && !in_flight() && !self.can_unwind_more()
                {
                    let reason = "everything that has an undo is taken back".to_owned();
                    Some((State::Unwound, self.with_what_is_left(reason)))
                } else {
                    None
                }
            }
            State::Aborting if !in_flight() && self.has_done_all(ctx) => Some((
                State::Done,
                "every step is done and proven: the abort came too late to end one".to_owned(),
            )),
            State::Aborting if !in_flight() => {
                let reason = self.with_what_is_left(self.left_behind());
                Some((State::Aborted, reason))
            }
            State::AbortingToUnwind if !in_flight() => {
                Some((State::Unwinding, "nothing is under way".to_owned()))
            }
            _ => None,
        };
        if let Some((to, reason)) = turn {
            self.ending = None;
            self.record(
                What::Turned {
                    to,
                    by: String::new(),
                    reason,
                },
                ctx.now,
            );
        }
    }

    /// The first step about which a person has to decide.
    fn trouble(&self) -> Option<usize> {
        if self.tally.needing == 0 {
            return None;
        }
        self.steps.iter().position(|step| {
            step.phase.needs_person()
                && (self.state != State::Unwinding || step.phase == Phase::UndoFailed)
        })
    }

    /// All steps are settled, and something that they proved is not known to be so now. Has that been awaited for too long?
    fn waits_to_end(&mut self, why: &str, ctx: &mut Ctx<'_>) -> bool {
        let now = ctx.now;
        let ending = self.ending.get_or_insert(Ending {
            since: now.mono,
            asked: None,
            seen: String::new(),
        });
        why.clone_into(&mut ending.seen);
        let since = ending.since;
        let rested = |asked| now.since(asked) >= ASK_AGAIN;
        if ending.asked.is_none_or(rested) {
            ending.asked = Some(now.mono);
            self.probe_at_end(ctx);
        }
        now.since(since) > END_WITHIN
    }

    /// Is there nothing that an abort has kept from being done?
    fn has_done_all(&self, ctx: &Ctx<'_>) -> bool {
        let done = |phase| matches!(phase, Phase::Done | Phase::Skipped);
        self.steps.iter().all(|step| done(step.phase))
            && matches!(self.may_end(ctx), Readiness::Yes)
    }

    fn with_what_is_left(&self, reason: String) -> String {
        match self.would_leave().as_str() {
            "" => reason,
            left => format!("{reason}; {left}"),
        }
    }

    fn left_behind(&self) -> String {
        let count = |phase| {
            let steps = self.steps.iter().filter(|step| step.phase == phase);
            steps.count()
        };
        let are = |count: usize| match count {
            1 => "1 step is".to_owned(),
            more => format!("{more} steps are"),
        };
        let left = match (count(Phase::Unknown), count(Phase::UndoFailed)) {
            (0, 0) => return "nothing is under way".to_owned(),
            (unknown, 0) => format!("{} unknown", are(unknown)),
            (0, half) => format!("{} half taken back", are(half)),
            (unknown, half) => {
                format!("{} unknown, {} half taken back", are(unknown), are(half))
            }
        };
        format!("nothing is under way; {left}: look there before you go on")
    }

    /// Does a step wait for one before it? Who waits for a thousand is asked at each of their reports: it remembers one of
    /// them, the last in plan order, which is likely to be among the last.
    fn awaits_an_edge(&mut self, at: usize) -> bool {
        let edges = &self.before[at];
        let waits = |place: &usize| {
            let (other, until) = edges[*place];
            !self.steps[other].has_reached(until)
        };
        let edge = self.live[at].edge.filter(waits);
        let edge = edge.or_else(|| (0..edges.len()).rev().find(waits));
        self.live[at].edge = edge;
        edge.is_some()
    }

    /// A step that has not begun: may it?
    fn consider(
        &mut self,
        at: usize,
        required: &mut Option<(usize, Readiness)>,
        ctx: &mut Ctx<'_>,
    ) {
        if self.awaits_an_edge(at) {
            return;
        }
        let first = self.live[at].ready.is_none();
        let ready = *self.live[at].ready.get_or_insert(ctx.now.mono);
        // By a coordinator that has just begun its agent is heard a little later.
        if self.live[at].boot.is_none() && self.step(at).action == Action::Reboot {
            let node = self.step(at).node.as_ref();
            let seen = node.and_then(|node| ctx.view.node(node));
            self.live[at].boot = seen.and_then(|seen| seen.boot.clone());
        }
        if let Action::Approve { text, .. } = &self.step(at).action {
            let (text, held) = (text.clone(), self.is_held(at, ctx));
            let again = self.live[at].asked;
            if held.is_some() && again.is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN) {
                self.live[at].asked = Some(ctx.now.mono);
                self.probe_capacity(at, ctx);
            }
            self.live[at].closed = held.is_some();
            self.live[at].seen = held.unwrap_or_default();
            if self.live[at].waited(ready, ctx.now) > self.step(at).timeout {
                let limit = humantime(self.step(at).timeout);
                let evidence = format!("nobody has confirmed it within {limit}: {text}");
                let step = self.step(at).id.clone();
                self.record(What::Blocked { step, evidence }, ctx.now);
            }
            return;
        }
        let rest = self
            .requirements(at, required, ctx)
            .and(|| self.stands_upon_skipped(at, ctx))
            .and(|| self.capacity(at, ctx))
            .and(|| self.gates(at, &self.step(at).gates, ready, ctx))
            .and(|| self.batches(at, ready, ctx))
            .and(|| self.arrival(at, ready, ctx))
            .and(|| self.reachable(at, ready, ctx));
        let first = self.lets_look(at, &rest, ctx) || first;
        let since = self.since_last_look(at, ctx);
        let readiness = self.assumption(at, since, ctx).and(|| rest);
        let awaits_next = self.awaits_next(at);
        self.live[at].offered = awaits_next && matches!(readiness, Readiness::Yes);
        match readiness {
            Readiness::Yes if awaits_next => {
                self.live[at].seen = YOUR_NEXT.to_owned();
            }
            Readiness::Yes => self.begin(at, ctx),
            // While a person keeps it from beginning no gate is late.
            Readiness::NotYet(what)
                if !awaits_next && self.live[at].waited(ready, ctx.now) > self.step(at).timeout =>
            {
                let waited = humantime(self.live[at].waited(ready, ctx.now));
                self.record(
                    What::Blocked {
                        step: self.step(at).id.clone(),
                        evidence: format!("not begun after {waited}: {what}"),
                    },
                    ctx.now,
                );
            }
            Readiness::NotYet(what) => {
                self.live[at].seen = what;
                let again = self.live[at]
                    .asked
                    .is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN);
                if first || again {
                    self.live[at].asked = Some(ctx.now.mono);
                    let plan = Arc::clone(&self.sealed);
                    self.probe(&plan.plan().steps[at].gates, ready, ctx);
                    self.probe_assumption(at, ctx);
                    self.probe_requirements(at, ctx);
                    self.probe_capacity(at, ctx);
                    self.probe_batches(at, ctx);
                    self.ask_power(at, ctx);
                    self.ask_power_of_silent(at, ctx);
                    self.try_addresses(at, ctx);
                }
            }
            Readiness::Never(why) => {
                self.record(
                    What::Blocked {
                        step: self.step(at).id.clone(),
                        evidence: why,
                    },
                    ctx.now,
                );
            }
        }
    }

    /// Why a person must not do now what a step asks them for; none if they may.
    pub(super) fn is_held(&self, at: usize, ctx: &Ctx<'_>) -> Option<String> {
        let held = self.capacity(at, ctx).and(|| self.asks_over_stray(at, ctx));
        match held {
            Readiness::Yes => None,
            Readiness::NotYet(why) | Readiness::Never(why) => Some(why),
        }
    }

    fn begin(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let step = self.step(at);
        match &step.action {
            Action::VerifyRole { .. } | Action::CatchUp => {
                let (step, evidence) = (step.id.clone(), self.arrival_seen(at, ctx));
                self.record(What::Proven { step, evidence }, ctx.now);
                self.live[at].began = Some(ctx.now.mono);
            }
            Action::Check | Action::Approve { .. } => {
                let evidence = match step.gates.len() {
                    0 => "reached".to_owned(),
                    count => green(count),
                };
                let id = step.id.clone();
                self.record(What::Proven { step: id, evidence }, ctx.now);
                self.live[at].began = Some(ctx.now.mono);
            }
            Action::PowerOn { .. } | Action::PowerOff { .. } | Action::Reboot => {
                self.begin_power(at, false, ctx)
            }
            Action::Start
            | Action::Stop
            | Action::Verify
            | Action::Promote
            | Action::TryFile { .. }
            | Action::WriteFile { .. }
            | Action::RestoreFile { .. }
            | Action::Drain { .. }
            | Action::Admit { .. } => {
                let (action, Some(node)) = (step.action.clone(), step.node.clone()) else {
                    return;
                };
                if self.is_stopped_by_off(at, &action, false, ctx) {
                    return;
                }
                match self.command(at, &action, ctx) {
                    Some(command) => self.dispatch(at, &node, command, false, ctx),
                    None => {
                        let evidence = "the spec no longer has this service".to_owned();
                        let id = self.step(at).id.clone();
                        self.record(What::Blocked { step: id, evidence }, ctx.now);
                    }
                }
            }
        }
    }

    /// What the agent of the step's node is asked for.
    pub(super) fn command(&self, at: usize, action: &Action, ctx: &Ctx<'_>) -> Option<Command> {
        let service = || {
            let service = self
                .step(at)
                .service
                .as_ref()
                .and_then(|name| ctx.spec.services.get(name))?;
            Some((service.name.clone(), service.parts.clone()))
        };
        match action {
            Action::Start => service().map(|(service, parts)| Command::Start { service, parts }),
            Action::Stop => service().map(|(service, parts)| Command::Stop { service, parts }),
            // What an earlier attempt has started since is not what came up with the machine.
            Action::Verify if self.has_verified(at, ctx) => {
                service().map(|(service, parts)| Command::Start { service, parts })
            }
            Action::Verify => service().map(|(service, parts)| Command::Verify { service, parts }),
            Action::Promote => service().map(|(service, _)| Command::Promote { service }),
            Action::Drain {
                member,
                within,
                then,
            } => Some(Command::Drain {
                balancer: self.step(at).service.clone()?,
                member: member.clone(),
                within: *within,
                then: *then,
            }),
            Action::Admit { member } => Some(Command::Admit {
                balancer: self.step(at).service.clone()?,
                member: member.clone(),
            }),
            Action::TryFile { file, text } => self.file_command(at, file, |plan| {
                Some(FileWork::Try(plan.texts.get(text)?.clone()))
            }),
            Action::WriteFile { file, text } => self.file_command(at, file, |plan| {
                Some(FileWork::Write(plan.texts.get(text)?.clone()))
            }),
            Action::RestoreFile { file } => {
                self.file_command(at, file, |_| Some(FileWork::Restore))
            }
            Action::Reboot => Some(Command::Reboot),
            Action::PowerOff { power } => Some(Command::Shutdown { by: power.shutdown }),
            Action::PowerOn { .. }
            | Action::Check
            | Action::VerifyRole { .. }
            | Action::CatchUp
            | Action::Approve { .. } => None,
        }
    }

    fn file_command(
        &self,
        at: usize,
        file: &LocalName,
        work: impl FnOnce(&Plan) -> Option<FileWork>,
    ) -> Option<Command> {
        Some(Command::File {
            service: self.step(at).service.clone()?,
            file: file.clone(),
            work: work(self.plan())?,
        })
    }

    /// Has an attempt of this step made sure, since its machine has booted, that the instance runs since its requirements do?
    fn has_verified(&self, at: usize, ctx: &Ctx<'_>) -> bool {
        let node = self.step(at).node.as_ref();
        let boot = node.and_then(|node| ctx.view.node(node)?.boot.as_ref());
        boot.is_some() && self.steps[at].proven_in.as_ref() == boot
    }

    /// What the attempt under way does: the step's action, or what takes it back.
    pub(super) fn doing(&self, at: usize) -> &Action {
        match (&self.step(at).undo, self.steps[at].phase) {
            (Some(undo), Phase::Undoing | Phase::UndoFailed) => &undo.0,
            _ => &self.step(at).action,
        }
    }
}
