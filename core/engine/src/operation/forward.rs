//! Going forward: what begins, what is waited for, what has taken too long.

use std::time::Duration;

use interlock_model::action::{Action, Command};
use interlock_model::check::{CheckId, Verdict};
use interlock_model::ids::AttemptId;
use interlock_model::names::NodeName;
use interlock_model::observation::{Active, Observations};
use interlock_model::plan::{Gate, Known, Wait};
use interlock_model::spec::Service;

use super::{Ctx, Effect, Operation, Phase, State, What};

/// How often closed gates are probed again, and power sources asked again. Often enough that a person at the screen
/// does not wait for it, rarely enough that a slow probe is not run into the ground.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What an attempt taken over after a restart gets at least, so that its agent can be heard before it is given up.
const TAKEN_OVER: Duration = Duration::from_secs(15);

/// May a step begin?
pub(super) enum Readiness {
    /// It may.
    Yes,
    /// Not yet, and what is missing.
    NotYet(String),
    /// Not at all, and why.
    Never(String),
}

impl Operation {
    /// Does everything that can be done now. To be called after every event, and from time to time.
    pub fn advance(&mut self, ctx: &mut Ctx<'_>) {
        if self.state.is_over() {
            return;
        }
        // A pass over a thousand steps under way shall not look up a thousand sessions at every message.
        let sessions = Some(ctx.view.sessions());
        self.reconnected = self.sessions != sessions;
        self.sessions = sessions;
        // What went wrong since the last pass halts this one before anything begins.
        self.settle(ctx);
        // Plan order is topological: a step that settles here opens the ones behind it within the same pass.
        let open: Vec<usize> = self.open.iter().copied().collect();
        for at in open {
            match self.steps[at].phase {
                Phase::Waiting if self.state == State::Running => self.consider(at, ctx),
                Phase::Running => self.watch(at, ctx),
                Phase::Checking => self.check(at, ctx),
                _ => {}
            }
            if self.state == State::Running && self.steps[at].phase.needs_person() {
                self.settle(ctx);
            }
        }
        if matches!(self.state, State::Unwinding)
            || self.steps.iter().any(|step| step.phase == Phase::Undoing)
        {
            self.unwind(ctx);
        }
        self.settle(ctx);
    }

    fn settle(&mut self, ctx: &mut Ctx<'_>) {
        let in_flight = self.steps.iter().any(|step| step.phase.in_flight());
        let turn = match self.state {
            State::Running | State::Pausing | State::Paused | State::Unwinding => {
                if let Some(at) = self.steps.iter().position(|step| {
                    step.phase.needs_person()
                        && (self.state != State::Unwinding || step.phase == Phase::UndoFailed)
                }) {
                    let reason = format!("{}: {}", self.step(at).id, self.steps[at].evidence);
                    Some((State::NeedsAttention, reason))
                } else if self.state == State::Running
                    && self.steps.iter().all(|step| step.phase.is_settled())
                {
                    Some((State::Done, "every step is done and proven".to_owned()))
                } else if self.state == State::Pausing && !in_flight {
                    Some((State::Paused, "nothing is under way".to_owned()))
                } else if self.state == State::Unwinding && !in_flight && !self.can_unwind_more() {
                    Some((
                        State::Unwound,
                        "everything that has an undo is taken back".to_owned(),
                    ))
                } else {
                    None
                }
            }
            State::Aborting if !in_flight => Some((State::Aborted, self.left_behind())),
            State::AbortingToUnwind if !in_flight => {
                Some((State::Unwinding, "nothing is under way".to_owned()))
            }
            _ => None,
        };
        if let Some((to, reason)) = turn {
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

    fn left_behind(&self) -> String {
        let unknown = self
            .steps
            .iter()
            .filter(|step| step.phase == Phase::Unknown)
            .count();
        if unknown == 0 {
            "nothing is under way".to_owned()
        } else {
            format!(
                "nothing is under way; {unknown} steps are unknown: look at them before you go on"
            )
        }
    }

    /// A step that has not begun: may it?
    fn consider(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        if self.before[at]
            .iter()
            .any(|(other, until)| !self.steps[*other].has_reached(*until))
        {
            return;
        }
        let first = self.live[at].ready.is_none();
        let ready = *self.live[at].ready.get_or_insert(ctx.now.mono);
        if matches!(self.step(at).action, Action::Approve { .. }) {
            return;
        }
        let readiness = match self.assumption(at, ready, ctx) {
            Readiness::Yes => match self.gates(at, &self.step(at).gates, ready, ctx) {
                Readiness::Yes => self.reachable(at, ready, ctx),
                other => other,
            },
            other => other,
        };
        match readiness {
            Readiness::Yes
                if self.single_step && self.tokens == 0 && self.steps[at].attempt.0 == 0 =>
            {
                self.live[at].seen = "your `next`".to_owned();
            }
            Readiness::Yes => self.begin(at, ctx),
            Readiness::NotYet(what) if ctx.now.since(ready) > self.step(at).timeout => {
                let waited = humantime(ctx.now.since(ready));
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
                    self.probe(&self.step(at).gates, ctx);
                    self.probe_assumption(at, ctx);
                    self.ask_power(at, ctx);
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

    /// Is the active side still where the plan took it to be (invariant I9)? A stop looks again when its turn comes; what
    /// was seen before then may have changed.
    fn assumption(&self, at: usize, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let Some((service, assumption)) = step
            .service
            .as_ref()
            .and_then(|name| self.plan().assumptions.get_key_value(name))
        else {
            return Readiness::Yes;
        };
        let Some(service) = ctx.spec.services.get(service) else {
            return Readiness::Yes;
        };
        let seen = ctx.view.snapshot_of(ctx.spec, &service.nodes, ctx.now);
        let active = seen.active(service);
        if matches!(active, Active::On(_))
            && assumption.known == Known::Observed
            && step.action == Action::Stop
            && let Some(old) = self.not_looked_at(service, &seen, ready, ctx)
        {
            return Readiness::NotYet(old);
        }
        match active {
            Active::On(node) if node != assumption.active => Readiness::Never(format!(
                "the active side of {} is {node}, but this plan was made for {} ({}): plan again",
                service.name, assumption.active, assumption.known
            )),
            Active::On(_) | Active::Nowhere => Readiness::Yes,
            // An assumption that was observed must stay observable until its own active side is taken down; one that
            // a person or the memory supplied never was.
            Active::Unknown(why)
                if assumption.known == Known::Observed && step.action == Action::Stop =>
            {
                Readiness::NotYet(format!(
                    "which side of {} is active is unknown: {why}",
                    service.name
                ))
            }
            Active::Unknown(_) => Readiness::Yes,
        }
    }

    /// The first check that tells the active side and has not been run since the step's turn came.
    fn not_looked_at(
        &self,
        service: &Service,
        seen: &Observations,
        since: Duration,
        ctx: &Ctx<'_>,
    ) -> Option<String> {
        let up = service
            .nodes
            .iter()
            .filter(|node| !seen.instance(node, &service.name).is_down());
        for node in up {
            for check in &service.active_when {
                let id = CheckId {
                    service: service.name.clone(),
                    check: check.clone(),
                };
                let look = ctx.view.check_since(ctx.spec, node, &id, ctx.now, since);
                if look.verdict == Verdict::Unknown {
                    return Some(format!("{id} on {node}: {}", look.evidence));
                }
            }
        }
        None
    }

    fn probe_assumption(&self, at: usize, ctx: &mut Ctx<'_>) {
        let Some(service) = self
            .step(at)
            .service
            .as_ref()
            .and_then(|name| ctx.spec.services.get(name))
        else {
            return;
        };
        if !self.plan().assumptions.contains_key(&service.name) {
            return;
        }
        for node in &service.nodes {
            if !ctx.view.alive(node) {
                // Only its power source can tell that a silent one is not the active side.
                ctx.effects.push(Effect::AskPower(node.clone()));
                continue;
            }
            let checks = service
                .active_when
                .iter()
                .map(|check| CheckId {
                    service: service.name.clone(),
                    check: check.clone(),
                })
                .collect();
            ctx.effects.push(Effect::Probe {
                on: node.clone(),
                checks,
            });
        }
    }

    /// Are these checks green, by probes that ran since `since`?
    pub(super) fn gates(
        &self,
        at: usize,
        gates: &[Gate],
        since: Duration,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        let mut closed = gates
            .iter()
            .filter(|gate| !self.plan().forced.contains(&gate.check))
            .filter_map(|gate| {
                let seen = ctx
                    .view
                    .check_since(ctx.spec, &gate.on, &gate.check, ctx.now, since);
                (seen.verdict != Verdict::Ok).then(|| {
                    format!(
                        "{} on {} is {}: {}",
                        gate.check, gate.on, seen.verdict, seen.evidence
                    )
                })
            });
        match (closed.next(), closed.count()) {
            (None, _) => Readiness::Yes,
            (Some(first), 0) => Readiness::NotYet(first),
            (Some(first), more) => {
                Readiness::NotYet(format!("{first} (and {more} more of {})", self.step(at).id))
            }
        }
    }

    pub(super) fn probe(&self, gates: &[Gate], ctx: &mut Ctx<'_>) {
        for gate in gates {
            if ctx.view.connected(&gate.on) {
                match ctx.effects.last_mut() {
                    Some(Effect::Probe { on, checks }) if *on == gate.on => {
                        checks.push(gate.check.clone())
                    }
                    _ => ctx.effects.push(Effect::Probe {
                        on: gate.on.clone(),
                        checks: vec![gate.check.clone()],
                    }),
                }
            }
        }
    }

    /// Can the step's action be sent, and does its power source answer?
    fn reachable(&self, at: usize, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        match (&step.action, &step.node) {
            (Action::Check | Action::Approve { .. }, _) => Readiness::Yes,
            (action, Some(node)) if action.is_power() => {
                super::power::ready(action, node, ready, ctx)
            }
            (_, Some(node)) => agent_ready(node, ctx),
            (_, None) => Readiness::Never("the step names no node".to_owned()),
        }
    }

    fn begin(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let step = self.step(at);
        match &step.action {
            Action::Check | Action::Approve { .. } => {
                let evidence = match step.gates.len() {
                    0 => "reached".to_owned(),
                    count => format!("{count} checks are green"),
                };
                let id = step.id.clone();
                self.record(What::Proven { step: id, evidence }, ctx.now);
                self.live[at].began = Some(ctx.now.mono);
            }
            Action::PowerOn { .. } | Action::PowerOff { .. } | Action::Reboot => {
                self.begin_power(at, false, ctx)
            }
            Action::Start | Action::Stop | Action::Verify => {
                let Some(node) = step.node.clone() else {
                    return;
                };
                match self.command(at, &step.action, ctx) {
                    Some(command) => self.dispatch(at, &node, command, false, ctx),
                    None => {
                        let evidence = "the spec no longer has this service".to_owned();
                        let id = step.id.clone();
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
            Action::Verify => service().map(|(service, parts)| Command::Verify { service, parts }),
            Action::Reboot => Some(Command::Reboot),
            Action::PowerOff { power } => Some(Command::Shutdown { by: power.shutdown }),
            Action::PowerOn { .. } | Action::Check | Action::Approve { .. } => None,
        }
    }

    /// What the attempt under way does: the step's action, or what takes it back.
    pub(super) fn doing(&self, at: usize) -> &Action {
        match (&self.step(at).undo, self.steps[at].phase) {
            (Some(undo), Phase::Undoing | Phase::UndoFailed) => &undo.0,
            _ => &self.step(at).action,
        }
    }

    /// Records the intent of the next attempt and asks for its dispatch.
    pub(super) fn dispatch(
        &mut self,
        at: usize,
        to: &NodeName,
        command: Command,
        undo: bool,
        ctx: &mut Ctx<'_>,
    ) {
        let step = self.step(at);
        let (step, timeout, node) = (step.id.clone(), step.timeout, step.node.clone());
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
        let live = &mut self.live[at];
        live.began = Some(ctx.now.mono);
        live.deadline = Some(ctx.now.mono + timeout);
        live.asked = None;
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
            limit: timeout,
            command,
        });
    }

    /// An attempt under way: is it known to its agent, is it proven, has it taken too long?
    pub(super) fn watch(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        self.take_over(at, ctx);
        if self.reconnected {
            self.ask_after_reconnect(at, ctx);
        }
        if self.doing(at).is_power() {
            self.watch_power(at, ctx);
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
            humantime(self.step(at).timeout),
            self.live[at].seen
        );
        let unknown = !self.doing(at).is_power() || self.power_is_unknown(at, ctx);
        self.end_attempt(at, ctx);
        self.record(
            What::Failed {
                step: self.step(at).id.clone(),
                unknown,
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

    /// After a restart of the coordinator the clock of an attempt goes on from its recorded intent.
    fn take_over(&mut self, at: usize, ctx: &Ctx<'_>) {
        if self.live[at].began.is_some() {
            return;
        }
        let spent = self.steps[at]
            .intended
            .map_or(Duration::ZERO, |intended| ctx.now.wall.since(intended));
        let left = self.step(at).timeout.saturating_sub(spent).max(TAKEN_OVER);
        let live = &mut self.live[at];
        live.began = Some(ctx.now.mono);
        live.deadline = Some(ctx.now.mono + left);
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
            let ends = matches!(self.state, State::Aborting | State::AbortingToUnwind)
                && !self.doing(at).is_power();
            // A cancel may have been lost with its session as well, and is answered like a query.
            ctx.effects.push(if ends {
                Effect::Cancel { to: on, id }
            } else {
                Effect::Query { to: on, id }
            });
        }
    }

    /// A proven step whose checks must turn green.
    fn check(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let began = match self.live[at].checking {
            Some(began) => began,
            None => {
                self.live[at].checking = Some(ctx.now.mono);
                self.live[at].deadline = Some(ctx.now.mono + self.step(at).timeout);
                self.live[at].asked = None;
                ctx.now.mono
            }
        };
        match self.gates(at, &self.step(at).healthy, began, ctx) {
            Readiness::Yes => {
                let evidence = format!("{} checks are green", self.step(at).healthy.len());
                let step = self.step(at).id.clone();
                self.record(
                    What::Reached {
                        step,
                        until: Wait::Healthy,
                        evidence,
                    },
                    ctx.now,
                );
            }
            Readiness::NotYet(what) | Readiness::Never(what) => {
                if self.live[at]
                    .deadline
                    .is_some_and(|deadline| ctx.now.mono >= deadline)
                {
                    let evidence = format!(
                        "up, but not healthy within {}: {what}",
                        humantime(self.step(at).timeout)
                    );
                    let step = self.step(at).id.clone();
                    self.record(
                        What::Failed {
                            step,
                            unknown: false,
                            evidence,
                        },
                        ctx.now,
                    );
                    return;
                }
                self.live[at].seen = what;
                if self.live[at]
                    .asked
                    .is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN)
                {
                    self.live[at].asked = Some(ctx.now.mono);
                    self.probe(&self.step(at).healthy, ctx);
                }
            }
        }
    }
}

pub(super) fn agent_ready(node: &NodeName, ctx: &Ctx<'_>) -> Readiness {
    if ctx.view.connected(node) {
        Readiness::Yes
    } else {
        let liveness = ctx
            .view
            .node(node)
            .map_or_else(Default::default, |seen| seen.liveness);
        Readiness::NotYet(format!("the agent of {node} is not connected ({liveness})"))
    }
}

/// A duration for people, in whole seconds or, below one, milliseconds.
pub(super) fn humantime(duration: Duration) -> String {
    if duration.as_secs() == 0 {
        format!("{}ms", duration.as_millis())
    } else if duration.as_secs() < 60 {
        format!("{}s", duration.as_secs())
    } else {
        format!(
            "{}m{:02}s",
            duration.as_secs() / 60,
            duration.as_secs() % 60
        )
    }
}
