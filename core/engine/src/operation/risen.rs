//! What this operation stopped, and runs again; and at its end what it started, and runs no more.
//!
//! A stop is proven at one moment. A person can start the instance at its agent's own door right afterwards, or a unit behind
//! everybody's back. Going on would take the database from under it, or the machine, and end in *done* over something that
//! is not. So the agents are heard again where something is taken from under what was stopped, and once more at the end.
//!
//! Only what is seen up counts. An agent that is silent by now says nothing against the proof: its machine may have been
//! shut down meanwhile, as the plan wanted. A word that may be about the time before the proof is waited out, like
//! everywhere ([`LATE_LOOK`]).

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::observation::InstanceState;

use super::gates::Readiness;
use super::instances::LATE_LOOK;
use super::{Ctx, Operation, Phase};

impl Operation {
    /// May a stop, a power-off or a reboot take away what it takes away? Only while everything that the plan had stopped
    /// before is down.
    pub(super) fn is_clear(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        if !matches!(
            self.step(at).action,
            Action::Stop | Action::PowerOff { .. } | Action::Reboot
        ) {
            return Readiness::Yes;
        }
        let mut open = self.before[at].clone();
        while let Some((other, _)) = open.pop() {
            let first = self.step(other);
            match (&first.action, &first.node) {
                (Action::Stop, _) => match self.stayed_down(other, ctx) {
                    Readiness::Yes => {}
                    risen => return risen,
                },
                (Action::Check, None) => open.extend(self.before[other].iter().copied()),
                _ => {}
            }
        }
        Readiness::Yes
    }

    /// May the operation end as done? Only if what it stopped, and did not start again itself, is down, and nothing that it
    /// brought up is known to be down for good, or sick.
    pub(super) fn may_end(&self, ctx: &Ctx<'_>) -> Readiness {
        let fell = (0..self.steps.len()).find_map(|at| self.fell(at, ctx));
        if let Some(why) = fell {
            return Readiness::Never(why);
        }
        let stops = |at: &usize| self.step(*at).action == Action::Stop;
        let mut stopped = (0..self.steps.len()).filter(stops);
        let risen = stopped.find_map(|at| match self.stayed_down(at, ctx) {
            Readiness::Yes => None,
            risen => Some(risen),
        });
        risen.unwrap_or(Readiness::Yes)
    }

    /// What is known to be wrong by now with what a step brought up. Silence, and what its guard may still bring back, says
    /// nothing against the proof.
    fn fell(&self, at: usize, ctx: &Ctx<'_>) -> Option<String> {
        let step = self.step(at);
        if self.steps[at].phase != Phase::Done
            || !matches!(step.action, Action::Start | Action::Verify)
        {
            return None;
        }
        let said = match self.is_up(at, ctx) {
            Readiness::Never(why) => Some(why),
            Readiness::Yes | Readiness::NotYet(_) => step.healthy.iter().find_map(|gate| {
                let seen = ctx.view.check(ctx.spec, &gate.on, &gate.check, ctx.now);
                let forced = self.plan().forced.contains(&gate.check);
                (seen.verdict == Verdict::Bad && !forced)
                    .then(|| format!("{} on {} is bad: {}", gate.check, gate.on, seen.evidence))
            }),
        };
        said.map(|why| {
            format!(
                "{why}, after {} was done: repair that and `resume`, or abort and plan again",
                step.id
            )
        })
    }

    /// Has the operation itself begun to start what this step stopped?
    fn has_restarted(&self, at: usize) -> bool {
        let stop = self.step(at);
        self.steps().any(|(step, state)| {
            matches!(step.action, Action::Start | Action::Verify)
                && (&step.service, &step.node) == (&stop.service, &stop.node)
                && state.phase != Phase::Waiting
        })
    }

    /// Is the instance of a proven stop still down, for all that its agent says?
    fn stayed_down(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let (Phase::Done, Some(node), Some(name)) =
            (self.steps[at].phase, &step.node, &step.service)
        else {
            return Readiness::Yes;
        };
        let Some((seen, told)) = ctx
            .view
            .instance(node, name)
            .filter(|_| ctx.view.alive(node))
        else {
            return Readiness::Yes;
        };
        let proven = self.live[at].proven.unwrap_or(Duration::ZERO);
        let up = matches!(
            seen.state,
            InstanceState::Running | InstanceState::Paused | InstanceState::Starting
        );
        if !up || told < proven || self.has_restarted(at) {
            return Readiness::Yes;
        }
        let what = format!("{name} on {node} is {} again", seen.state);
        if ctx.now.since(told) < LATE_LOOK {
            return Readiness::NotYet(what);
        }
        Readiness::Never(format!(
            "{what}, which {} had stopped: stop it there and go on (`retry` of the step, `resume` if none is blocked), or abort \
             and plan again",
            step.id
        ))
    }
}
