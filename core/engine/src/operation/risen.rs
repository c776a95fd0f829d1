//! What this operation stopped, and runs again; and at its end what it started or found well, and is so no more.
//!
//! A stop is proven at one moment. A person can start the instance at its agent's own door right afterwards, or a unit behind
//! everybody's back. Going on would take the database from under it, or the machine, and end in *done* over something that
//! is not. So the agents are heard again where something is taken from under what was stopped, and once more at the end.
//!
//! A person may take a stop for done. Their word stands where nobody can tell, not against an agent that says otherwise: such a
//! `skip` is refused, and what comes to light later holds up what follows as it does behind a stop that was proven.
//!
//! What is seen up counts, and what is not known yet is waited for: a coordinator that has just begun has heard nobody, and
//! nothing heard is not nothing there (`word`). An agent that is lost or has left by now says nothing against the proof: its
//! machine may have been shut down meanwhile, as the plan wanted. A word that may be about the time before the proof is
//! waited out, like everywhere ([`LATE_LOOK`]).

use std::time::Duration;

use interlock_model::action::{Action, Power};
use interlock_model::check::Verdict;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceState, Liveness};
use interlock_model::plan::Gate;

use super::gates::Readiness;
use super::instances::LATE_LOOK;
use super::word::Word;
use super::{Ctx, Operation, Phase};

/// How long a check that is bad at the end is looked at again and again before a person is called: who has just repaired it,
/// and resumed, need not wait for its next run, and it may take some green runs in a row to be green.
const RED_WITHIN: Duration = Duration::from_secs(5);

impl Operation {
    /// May a stop, a power-off or a reboot take away what it takes away, and a file be changed? Only while everything that the
    /// plan had stopped before is down: what runs reads the new text whenever it likes, or never.
    pub(super) fn is_clear(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        if !matches!(
            self.step(at).action,
            Action::Stop | Action::PowerOff { .. } | Action::Reboot | Action::WriteFile { .. }
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
                (Action::Approve { .. }, _) => match self.is_down_by_hand(other, ctx) {
                    Readiness::Yes => {}
                    up => return up,
                },
                (Action::PowerOff { .. }, _) => match self.stayed_off(other, Some(at), ctx) {
                    Readiness::Yes => {}
                    on => return on,
                },
                (Action::Check, None) => open.extend(self.before[other].iter().copied()),
                _ => {}
            }
        }
        Readiness::Yes
    }

    /// May the operation end as done? Only if what it stopped, and did not start again itself, is down, what it switched off
    /// is off, and what it brought up is known to be up and well.
    pub(super) fn may_end(&self, ctx: &Ctx<'_>) -> Readiness {
        let mut not_yet = Readiness::Yes;
        for at in 0..self.steps.len() {
            let stands = match self.step(at).action {
                Action::Start | Action::Verify | Action::Promote | Action::Check => {
                    self.still_stands(at, ctx)
                }
                Action::Stop => self.stayed_down(at, ctx),
                Action::Approve { .. } => self.is_down_by_hand(at, ctx),
                Action::PowerOff { .. } => self.stayed_off(at, None, ctx),
                _ => Readiness::Yes,
            };
            match stands {
                Readiness::Yes => {}
                Readiness::NotYet(_) => not_yet = stands,
                Readiness::Never(_) => return stands,
            }
        }
        not_yet.and(|| self.is_reached(ctx))
    }

    /// Has the checks looked at again that [`may_end`](Self::may_end) goes by, where they are not green now.
    pub(super) fn probe_at_end(&mut self, ctx: &mut Ctx<'_>) {
        let mut gates = Vec::new();
        for (step, state) in self.steps() {
            let is_looked_at = matches!(
                step.action,
                Action::Start | Action::Verify | Action::Promote | Action::Check
            );
            if is_looked_at && state.phase == Phase::Done {
                let not_green = |gate: &&Gate| {
                    let seen = ctx.view.check(ctx.spec, &gate.on, &gate.check, ctx.now);
                    seen.verdict != Verdict::Ok
                };
                gates.extend(step.healthy.iter().filter(not_green).cloned());
            }
        }
        let ending = self.ending.as_ref().map(|ending| ending.since);
        self.probe(&gates, ending.unwrap_or(ctx.now.mono), ctx);
        let mut asked = self.asked_of_dependants(ctx);
        asked.extend((0..self.steps.len()).flat_map(|at| self.asked_of(at, ctx)));
        for (gate, since) in asked {
            self.probe(&[gate], since, ctx);
        }
    }

    /// Is what a step brought up, or found well, as it was proven? What its guard may still bring back is waited for, and so is
    /// an agent that has only just lost its session. What the plan itself took down later is not asked for.
    fn still_stands(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let is_past = step.action == Action::Check && self.plan().kind.goes_down();
        if self.steps[at].phase != Phase::Done || is_past {
            return Readiness::Yes;
        }
        let stands = self.lasts(at, ctx).and(|| {
            let mut unknown = Readiness::Yes;
            let asked = step.healthy.iter();
            for gate in asked.filter(|gate| !self.plan().forced.contains(&gate.check)) {
                let seen = ctx.view.check(ctx.spec, &gate.on, &gate.check, ctx.now);
                let verdict = seen.verdict;
                let what = format!(
                    "{} on {} is {verdict}: {}",
                    gate.check, gate.on, seen.evidence
                );
                match verdict {
                    Verdict::Ok => {}
                    Verdict::Unknown => unknown = Readiness::NotYet(what),
                    Verdict::Bad if self.is_still_red(gate, ctx) => return Readiness::Never(what),
                    Verdict::Bad => {
                        unknown = Readiness::NotYet(format!("{what}; it is looked at again"));
                    }
                }
            }
            unknown
        });
        match stands {
            Readiness::Never(why) => Readiness::Never(format!(
                "{why}, after {} was done: repair that and `resume`, or abort and plan again",
                step.id
            )),
            other => other,
        }
    }

    /// Is a check bad by a probe that ran since the operation began to end, and has it had its time to turn green? What was
    /// seen before that is asked for again.
    fn is_still_red(&self, gate: &Gate, ctx: &Ctx<'_>) -> bool {
        self.ending.as_ref().is_some_and(|ending| {
            let since = ending.since;
            let seen = ctx
                .view
                .check_since(ctx.spec, &gate.on, &gate.check, ctx.now, since);
            seen.verdict == Verdict::Bad && ctx.now.since(since) >= RED_WITHIN
        })
    }

    /// Is the instance of a proven start up by the word of its agent? It is down where its machine is off or has been silent
    /// for too long; what has not been told yet, as after a restart of this process, is waited for.
    fn lasts(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let (Some(node), Some(name)) = (&self.step(at).node, &self.step(at).service) else {
            return Readiness::Yes;
        };
        if ctx.view.is_off(node) {
            return Readiness::Never(format!("{name} on {node} is down: its machine is off"));
        }
        let liveness = ctx.view.node(node).map(|seen| seen.liveness);
        match self.is_up(at, ctx) {
            Readiness::NotYet(why) if matches!(liveness, Some(Liveness::Lost | Liveness::Left)) => {
                Readiness::Never(why)
            }
            other => other,
        }
    }

    /// Is the machine that a step has switched off still off, for all that is known? `next` is the step that waits for that; none:
    /// the end of the operation.
    fn stayed_off(&self, at: usize, next: Option<usize>, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let (Phase::Done, Some(node)) = (self.steps[at].phase, &step.node) else {
            return Readiness::Yes;
        };
        let proven = self.live[at].proven.unwrap_or_default();
        let is_on = matches!(ctx.view.power_since(node, proven), Some((Power::On, _)));
        let since = self.live[at].proven.or(self.taken).unwrap_or_default();
        let answers = ctx.view.answers(ctx.spec, node, since, ctx.now);
        let why = match (is_on, ctx.view.alive(node)) {
            (false, false) if answers.is_some() => "a check of it is green",
            (false, false) => {
                let awaited = self.awaits_power(node, ctx);
                return awaited.map_or(Readiness::Yes, Readiness::NotYet);
            }
            (_, true) => "its agent is heard",
            (true, false) => "its power source says so",
        };
        let id = &self.id;
        let go_on = match next {
            Some(next) => format!("interlockctl operation retry {id} {}", self.step(next).id),
            None => format!("interlockctl operation resume {id}"),
        };
        Readiness::Never(format!(
            "{node} is on again ({why}), which {} had switched off: switch it off at its power source, then `{go_on}`; or leave it on, \
             `interlockctl operation abort {id}`, and plan again",
            step.id
        ))
    }

    /// Has the operation itself begun to start what this step stopped, or a person taken that start for done? What waits for
    /// another attempt has begun; what was blocked before its first one has not, and what is taken back has ended.
    fn has_restarted(&self, at: usize) -> bool {
        let stop = self.step(at);
        let (Some(service), Some(node)) = (&stop.service, &stop.node) else {
            return false;
        };
        self.places_of(service, node).iter().any(|&other| {
            let state = &self.steps[other];
            matches!(self.step(other).action, Action::Start | Action::Verify)
                && (state.acted && state.phase != Phase::Undone || state.phase == Phase::Skipped)
        })
    }

    /// What runs, and how, of which this step, or taking it back, was to be the stop; none if nothing says so.
    pub(super) fn runs_against_its_stop(&self, at: usize, ctx: &Ctx<'_>) -> Option<String> {
        let step = self.step(at);
        let (Action::Stop, Some(node), Some(name)) = (self.doing(at), &step.node, &step.service)
        else {
            return None;
        };
        match self.word(node, name, ctx) {
            Word::Up(state, _) => Some(format!("{name} on {node} is {state}")),
            Word::GoingDown(_) | Word::Down | Word::Awaited(_) | Word::Silent => None,
        }
    }

    /// Has a person taken the stop of an instance for done, whose agent has looked and cannot tell how it is? An agent that has
    /// just begun has not looked yet, and what is half up is unknown as well: of an instance of several parts one may be seen
    /// running.
    pub(super) fn is_vouched_down(
        &self,
        node: &NodeName,
        service: &ServiceName,
        ctx: &Ctx<'_>,
    ) -> bool {
        let mut places = self.places_of(service, node).iter();
        let skipped = places.any(|&at| {
            self.steps[at].phase == Phase::Skipped && self.step(at).action == Action::Stop
        });
        let told = ctx.view.instance(node, service);
        let declared = ctx.spec.services.get(service);
        let is_one = declared.is_some_and(|service| service.parts.len() <= 1);
        let cannot_tell = told.is_some_and(|(seen, _)| {
            seen.state == InstanceState::Unknown && !seen.reason.is_empty()
        });
        skipped && is_one && cannot_tell
    }

    /// When this operation last proved that an instance is down; zero if this process has not seen it do so.
    pub(super) fn proven_down(&self, node: &NodeName, service: &ServiceName) -> Duration {
        let places = self.places_of(service, node).iter();
        let stopped = places.filter(|&&at| match self.step(at).action {
            Action::Stop => self.steps[at].phase == Phase::Done,
            Action::Start | Action::Verify => self.steps[at].phase == Phase::Undone,
            _ => false,
        });
        let proven = stopped.filter_map(|&at| self.live[at].proven).max();
        proven.unwrap_or(Duration::ZERO)
    }

    /// Is the instance of a stop, that is proven or was taken for done, still down, for all that its agent says?
    fn stayed_down(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let (phase @ (Phase::Done | Phase::Skipped), Some(node), Some(name)) =
            (self.steps[at].phase, &step.node, &step.service)
        else {
            return Readiness::Yes;
        };
        if self.has_restarted(at) {
            return Readiness::Yes;
        }
        let proven = self.proven_down(node, name);
        let (state, told) = match self.word(node, name, ctx) {
            Word::Up(state, told) if told.last >= proven => (state, told.first.max(proven)),
            Word::Awaited(_) if self.is_vouched_down(node, name, ctx) => return Readiness::Yes,
            Word::Awaited(why) => return Readiness::NotYet(why),
            Word::GoingDown(told) if told.last >= proven => {
                return Readiness::NotYet(format!("{name} on {node} is still stopping"));
            }
            Word::Up(..) | Word::GoingDown(_) | Word::Down | Word::Silent => return Readiness::Yes,
        };
        let (what, which) = match phase {
            Phase::Skipped => (
                format!("{name} on {node} is {state}"),
                format!("and {} was taken for done", step.id),
            ),
            _ => (
                format!("{name} on {node} is {state} again"),
                format!("which {} had stopped", step.id),
            ),
        };
        if ctx.now.since(told) < LATE_LOOK || !ctx.view.alive(node) {
            return Readiness::NotYet(what);
        }
        Readiness::Never(format!(
            "{what}, {which}: stop it there and go on (`retry` of the step, `resume` if none is blocked), or abort and plan again"
        ))
    }
}
