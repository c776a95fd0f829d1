//! Taking back what was done, in reverse.
//!
//! A step is taken back when every step that came after it is: taken back, without an undo, or never begun. What comes
//! back up must be healthy before what depended on it follows; what goes down must be proven down. A start on the way back
//! waits for what its service requires like any other start, and a stop for those who require what it takes away. What is
//! done has the limit of such an action by the spec: how long the way forward took says nothing. An undo that fails is a
//! state of its own, for a person. A file is put back only while what the plan stopped for it is down. Undos that have nothing
//! to do with each other run side by side; machines that never came up are not waited for one after the other (`unheard`).
//!
//! A step that has acted and was then skipped is taken back like any other: a person took it for done so that the
//! operation went on, which says nothing about what it left behind. One that was skipped before it acted has left
//! nothing of this operation's.
//!
//! What comes up with its machine (`boot: autostart`) runs although its step has not begun, once this operation has switched
//! the machine on: that step is taken back as well, before the machine goes.
//!
//! A stop whose instance was started again by the same plan, and is healthy, is taken back already: it runs, as it did
//! before. Such a start has no undo, which would only interrupt the instance once more; if it did not get that far, the
//! undo of its stop starts the instance.

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, CheckId, CheckKind};
use interlock_model::plan::{Gate, StepId, Wait};

use super::capacity::own_checks;
use super::gates::{ASK_AGAIN, Readiness, green};
use super::{Ctx, Operation, Phase, State, What};

impl Operation {
    /// Is there anything that is still to be taken back, and could be?
    pub(super) fn can_unwind_more(&self) -> bool {
        (0..self.steps.len()).any(|at| self.needs_undo(at))
    }

    pub(super) fn needs_undo(&self, at: usize) -> bool {
        let stands = match self.steps[at].phase {
            // One that waits for another attempt may have happened in an earlier one.
            Phase::Waiting
            | Phase::Blocked
            | Phase::Running
            | Phase::Checking
            | Phase::Done
            | Phase::Failed
            | Phase::Unknown
            | Phase::Skipped => true,
            Phase::Undoing | Phase::Undone | Phase::UndoFailed => false,
        };
        let acted = self.steps[at].acted || self.came_with_its_machine(at);
        stands && acted && self.step(at).undo.is_some()
    }

    /// May the instance of a step have come up because this operation has switched its machine on?
    fn came_with_its_machine(&self, at: usize) -> bool {
        let step = self.step(at);
        let verified = step.node.as_ref().filter(|_| step.action == Action::Verify);
        let on =
            verified.and_then(|node| self.index.get(&StepId::new(&format!("power-on:{node}"))));
        on.is_some_and(|&on| self.steps[on].acted)
    }

    /// How many machines would go down if all of it was taken back now.
    #[must_use]
    pub fn unwinding_takes_down(&self) -> usize {
        let steps = 0..self.steps.len();
        steps
            .filter(|&at| self.needs_undo(at))
            .filter_map(|at| self.step(at).undo.as_ref())
            .filter(|undo| matches!(*undo.0, Action::PowerOff { .. } | Action::Reboot))
            .count()
    }

    /// For each step, does anything that came after it still stand? Through steps that have nothing to be taken back,
    /// such as the meeting points of many, too.
    fn stands_behind(&self) -> Vec<bool> {
        let mut stands = vec![false; self.steps.len()];
        // Plan order is topological: whatever is behind a step has a higher number.
        for at in (0..self.steps.len()).rev() {
            stands[at] = self.behind[at].iter().any(|&later| {
                stands[later]
                    || self.needs_undo(later)
                    || matches!(self.steps[later].phase, Phase::Undoing | Phase::UndoFailed)
            });
        }
        stands
    }

    pub(super) fn unwind(&mut self, ctx: &mut Ctx<'_>) {
        let stands = self.stands_behind();
        for at in (0..self.steps.len()).rev() {
            if self.steps[at].phase == Phase::Undoing {
                self.watch(at, ctx);
                self.watch_health(at, ctx);
            } else if self.state == State::Unwinding && self.needs_undo(at) {
                self.hears_machine(at, ctx);
                match stands[at] {
                    false => self.begin_undo(at, ctx),
                    true => self.is_off_before_its_turn(at, ctx),
                }
            }
        }
    }

    fn begin_undo(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let Some(undo) = self.step(at).undo.clone() else {
            return;
        };
        let Some(node) = self.step(at).node.clone() else {
            return;
        };
        if let Some(again) = self.started_again(at) {
            let evidence = format!("it runs again: {} is done", self.step(again).id);
            self.intend(at, "prove", true, ctx);
            let step = self.step(at).id.clone();
            self.record(What::Proven { step, evidence }, ctx.now);
            return;
        }
        if !self.live[at].undoing {
            self.live[at] = super::Live {
                undoing: true,
                ready: Some(ctx.now.mono),
                silent: self.live[at].silent,
                ..super::Live::default()
            };
        }
        let ready = self.live[at].ready.unwrap_or(ctx.now.mono);
        if self.is_so_already(at, &undo.0, &node, ready, ctx) {
            return;
        }
        let mut look = false;
        let readiness = if undo.0.is_power() {
            self.leaves_no_stray(&undo.0, &node, ctx)
                .and(|| super::power::ready(&undo.0, &node, ready, ctx))
        } else {
            let rest = self
                .beside_undo(at, &undo.0, ready, ctx)
                .and(|| self.may_be_let_in(&undo.0, ready, ctx))
                .and(|| self.capacity(at, ctx))
                .and(|| match &*undo.0 {
                    // Not under an instance that somebody has started with the new text.
                    Action::RestoreFile { .. } => self.is_clear(at, ctx),
                    _ => Readiness::Yes,
                })
                .and(|| super::off::ready(&undo.0, &node, ready, ctx));
            look = self.lets_look(at, &rest, ctx);
            let since = self.since_last_look(at, ctx);
            self.assumption_of_undo(at, &undo.0, since, ctx)
                .and(|| rest)
        };
        match readiness {
            Readiness::Yes if undo.0.is_power() => self.begin_power(at, true, ctx),
            Readiness::Yes => {
                if self.is_stopped_by_off(at, &undo.0, true, ctx) {
                    return;
                }
                match self.command(at, &undo.0, ctx) {
                    Some(command) => self.dispatch(at, &node, command, true, ctx),
                    None => {
                        let evidence = "cannot be taken back: the spec no longer has this service; take it back by hand and \
                                        `skip` the step";
                        let what = What::UndoFailed {
                            step: self.step(at).id.clone(),
                            evidence: evidence.to_owned(),
                        };
                        self.record(what, ctx.now);
                    }
                }
            }
            Readiness::NotYet(what)
                if self.waited_to_go_back(at, ready, ctx) <= self.limit(at, ctx) =>
            {
                self.live[at].seen = what;
                let again = self.live[at].asked;
                if look || again.is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN) {
                    self.live[at].asked = Some(ctx.now.mono);
                    if undo.0.is_power() {
                        ctx.effects.push(super::Effect::AskPower(node));
                    } else {
                        self.probe_assumption(at, ctx);
                        let required = self.required_checks(at, ctx);
                        self.probe(&required, ready, ctx);
                        self.probe_capacity(at, ctx);
                        self.ask_power_of_silent(at, ctx);
                    }
                }
            }
            Readiness::NotYet(ref what) | Readiness::Never(ref what) => {
                let evidence = format!("cannot be taken back: {what}");
                let step = self.step(at).id.clone();
                self.record(What::UndoFailed { step, evidence }, ctx.now);
                if matches!(readiness, Readiness::NotYet(_)) {
                    self.give_up_unheard(at, ctx);
                }
            }
        }
    }

    /// Is there what a start on the way back requires, by the spec and where it will be used? And does nobody run who
    /// requires what a stop on the way back takes away?
    fn beside_undo(&self, at: usize, undo: &Action, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let service = self.step(at).service.as_ref();
        match (undo, service.and_then(|name| ctx.spec.services.get(name))) {
            (Action::Start, Some(service)) => self
                .finds_requirements(service, |_| false, ctx)
                .and(|| self.gates(at, &self.required_checks(at, ctx), ready, ctx)),
            (Action::Stop, Some(_)) => self.strands_nobody_going_back(at, ctx),
            _ => Readiness::Yes,
        }
    }

    /// The checks from its consumers of what a start on the way back requires, on its node.
    fn required_checks(&self, at: usize, ctx: &Ctx<'_>) -> Vec<Gate> {
        let step = self.step(at);
        let starts = step.undo.as_ref().is_some_and(|it| *it.0 == Action::Start);
        let service = step.service.as_ref().filter(|_| starts);
        let service = service.and_then(|name| ctx.spec.services.get(name));
        let (Some(service), Some(node)) = (service, &step.node) else {
            return Vec::new();
        };
        let needed = service
            .dependencies
            .iter()
            .filter(|(_, edge)| edge.needed && edge.start == Wait::Healthy);
        let required = needed.filter_map(|(name, _)| ctx.spec.services.get(name));
        let gates = required.flat_map(|required| {
            let checks = required.checks.iter().filter(|(_, check)| {
                check.from == CheckFrom::Consumers && !matches!(check.kind, CheckKind::Same { .. })
            });
            checks.map(|(check, _)| Gate {
                check: CheckId {
                    service: required.name.clone(),
                    check: check.clone(),
                },
                on: node.clone(),
            })
        });
        gates.collect()
    }

    /// The step that has brought up again, and seen healthy, what this one stopped.
    fn started_again(&self, at: usize) -> Option<usize> {
        let stop = self.step(at);
        let (Action::Stop, Some(service), Some(node)) = (&stop.action, &stop.service, &stop.node)
        else {
            return None;
        };
        let later = self.places_of(service, node).iter().copied();
        later
            .filter(|&later| later > at && self.steps[later].phase == Phase::Done)
            .find(|&later| matches!(self.step(later).action, Action::Start | Action::Verify))
    }

    /// What came back up must be healthy before it counts as taken back.
    fn watch_health(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        if self.steps[at].phase != Phase::Undoing || !self.steps[at].reached.contains_key(&Wait::Up)
        {
            return;
        }
        let gates = self.own_checks(at, ctx);
        let since = match self.live[at].checking {
            Some(since) => since,
            None => {
                let deadline = ctx.now.mono + self.limit(at, ctx);
                self.live[at].checking = Some(ctx.now.mono);
                self.live[at].deadline = Some(deadline);
                ctx.now.mono
            }
        };
        match self.health(at, &gates, since, ctx) {
            Readiness::Yes => {
                let step = self.step(at).id.clone();
                // Without checks the word of its agent is the proof, as it is on the way forward.
                let evidence = match gates.len() {
                    0 => self.steps[at].evidence.clone(),
                    count => green(count),
                };
                self.record(What::Proven { step, evidence }, ctx.now);
            }
            // Nobody waits for health any more, and nobody may take it for healthy.
            Readiness::NotYet(what) | Readiness::Never(what) if self.is_ending() => {
                let (step, evidence) = (
                    self.step(at).id.clone(),
                    format!("aborted before it was healthy: {what}"),
                );
                self.record(What::UndoFailed { step, evidence }, ctx.now);
            }
            Readiness::Never(what) => {
                let (step, evidence) = (
                    self.step(at).id.clone(),
                    format!("it was up again, but {what}"),
                );
                self.record(What::UndoFailed { step, evidence }, ctx.now);
            }
            Readiness::NotYet(what) => {
                self.live[at].seen = what;
                if self.live[at]
                    .asked
                    .is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN)
                {
                    self.live[at].asked = Some(ctx.now.mono);
                    self.probe(&gates, since, ctx);
                }
            }
        }
    }

    fn own_checks(&self, at: usize, ctx: &Ctx<'_>) -> Vec<Gate> {
        let step = self.step(at);
        let Some((service, node)) = step
            .service
            .as_ref()
            .and_then(|name| ctx.spec.services.get(name))
            .zip(step.node.as_ref())
        else {
            return Vec::new();
        };
        let own = own_checks(service).map(|check| Gate {
            check,
            on: node.clone(),
        });
        own.collect()
    }
}
