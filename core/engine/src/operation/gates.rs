//! Gates: what must be fresh and green before a step begins, and before what it brought up counts as healthy.
//!
//! A result counts only if its probe began after a question that was asked since the gate's turn came; what was green
//! before that is asked for again. How long a result was on its way has no part in it.

use std::sync::Arc;
use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::names::NodeName;
use interlock_model::plan::{Gate, Wait};

use super::attempt::humantime;
use super::{Ctx, Effect, Operation, State, What};

/// How often closed gates are probed again, and power sources asked again. Often enough that a person at the screen
/// does not wait for it, rarely enough that a slow probe is not run into the ground.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// May a step begin?
#[derive(Debug, Clone)]
pub(super) enum Readiness {
    /// It may.
    Yes,
    /// Not yet, and what is missing.
    NotYet(String),
    /// Not at all, and why.
    Never(String),
}

/// That so many checks are green.
pub(super) fn green(checks: usize) -> String {
    match checks {
        1 => "1 check is green".to_owned(),
        more => format!("{more} checks are green"),
    }
}

impl Readiness {
    /// And if it may, what does the next one say?
    pub(super) fn and(self, next: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Yes => next(),
            other => other,
        }
    }
}

impl Operation {
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

    /// Asks for the checks of gates that count since `since`. A question that was asked since then, and not long ago, is the
    /// question of all who wait for its answer: a hundred steps behind the same hundred ask a hundred questions.
    pub(super) fn probe(&mut self, gates: &[Gate], since: Duration, ctx: &mut Ctx<'_>) {
        for gate in gates {
            let on = ctx.view.stand_in(ctx.spec, &gate.on, &gate.check);
            if ctx.view.connected(on) {
                let of_it = self.probed.get(on).and_then(|it| it.get(&gate.check));
                // In the very moment of `since` it may have been answered before that.
                let is_answered = |asked: Duration| {
                    let seen = ctx.view.node(on).and_then(|it| it.checks.get(&gate.check));
                    seen.is_some_and(|seen| seen.after >= asked)
                };
                let is_asked = |asked: Duration| {
                    let is_since = asked > since || asked == since && !is_answered(asked);
                    is_since && ctx.now.since(asked) < ASK_AGAIN
                };
                if of_it.copied().is_some_and(is_asked) {
                    continue;
                }
                let checks = self.probed.entry(on.clone()).or_default();
                checks.insert(gate.check.clone(), ctx.now.mono);
                match ctx.effects.last_mut() {
                    Some(Effect::Probe { on: last, checks }) if last == on => {
                        checks.push(gate.check.clone())
                    }
                    _ => ctx.effects.push(Effect::Probe {
                        on: on.clone(),
                        checks: vec![gate.check.clone()],
                    }),
                }
            }
        }
    }

    /// Since when the results count that a step waits for: since its turn came.
    pub(super) fn since_its_turn(&self, at: usize, ctx: &Ctx<'_>) -> Duration {
        self.live[at].ready.unwrap_or(ctx.now.mono)
    }

    /// Can the step's action be sent, and does its power source answer?
    pub(super) fn reachable(&self, at: usize, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        match (&step.action, &step.node) {
            (action, _) if action.only_looks() => Readiness::Yes,
            (Action::Approve { .. }, _) => Readiness::Yes,
            (action, Some(node)) if action.is_power() => self
                .leaves_no_stray(action, node, ctx)
                .and(|| super::power::ready(action, node, ready, ctx)),
            (action, Some(node)) => super::off::ready(action, node, ready, ctx),
            (_, None) => Readiness::Never("the step names no node".to_owned()),
        }
    }

    /// Is the instance of a proven step healthy: up by the word of its agent, and its checks green?
    pub(super) fn health(
        &self,
        at: usize,
        gates: &[Gate],
        since: Duration,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        self.is_up(at, ctx)
            .and(|| self.gates(at, gates, since, ctx))
    }

    /// A proven step whose instance must turn healthy.
    pub(super) fn check(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let began = match self.live[at].checking {
            Some(began) => began,
            None => {
                self.live[at].checking = Some(ctx.now.mono);
                let limit = self.step(at).timeout.max(self.awaits_a_word(at, ctx));
                self.live[at].deadline = Some(ctx.now.mono + limit);
                self.live[at].asked = None;
                ctx.now.mono
            }
        };
        let is_held = matches!(
            self.state,
            State::Pausing | State::Paused | State::NeedsAttention
        );
        match self.health(at, &self.step(at).healthy, began, ctx) {
            // Somebody has halted the operation, perhaps to repair this.
            Readiness::NotYet(what) | Readiness::Never(what) if is_held => {
                self.live[at].seen = what;
                self.probe_health(at, began, ctx);
            }
            Readiness::Yes => {
                let evidence = green(self.step(at).healthy.len());
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
            Readiness::Never(what) => {
                self.not_healthy(at, format!("it was up, but {what}"), ctx);
            }
            Readiness::NotYet(what) => {
                if self.live[at]
                    .deadline
                    .is_some_and(|deadline| ctx.now.mono >= deadline)
                {
                    let limit = humantime(self.step(at).timeout);
                    let evidence = format!("it was up, but not healthy within {limit}: {what}");
                    self.not_healthy(at, evidence, ctx);
                    return;
                }
                self.live[at].seen = what;
                self.probe_health(at, began, ctx);
            }
        }
    }

    fn probe_health(&mut self, at: usize, began: Duration, ctx: &mut Ctx<'_>) {
        let asked = self.live[at].asked;
        if asked.is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN) {
            self.live[at].asked = Some(ctx.now.mono);
            let plan = Arc::clone(&self.sealed);
            self.probe(&plan.plan().steps[at].healthy, began, ctx);
        }
    }

    fn not_healthy(&mut self, at: usize, evidence: String, ctx: &Ctx<'_>) {
        let step = self.step(at).id.clone();
        let failed = What::Failed {
            step,
            unknown: false,
            refused: false,
            evidence,
        };
        self.record(failed, ctx.now);
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
