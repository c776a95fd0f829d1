//! Instances: is what was proven to be up still up?
//!
//! A proof is of one moment. An instance may die right after it, while whatever else listens on its port keeps its checks
//! green, or much later, when its dependants' turn comes. So the word of its agent is heard again where something is built
//! upon it: *healthy* is up **and** green, and a start begins only while what its service requires is still as far up as
//! the edges of the plan demanded when they were met. Edges for the order alone are met once and for all.
//!
//! | the agent says | it means |
//! |---|---|
//! | running, paused | up |
//! | starting, stopping, unknown; nothing, or is silent | not known to be up: there is hope (invariant I5) |
//! | stopped | down for good: nobody starts again what ended cleanly |
//! | failed | down; for good once its guard has spent its budget, or has none |
//!
//! What agents say of instances comes apart from what they say of attempts, and a look that began before the end of an
//! attempt may be told after it. So a word counts only if it is about the time since; where that cannot be told from the
//! word itself, once a later look would have been told ([`LATE_LOOK`]).

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::plan::Wait;
use interlock_model::spec::Service;

use super::gates::{ASK_AGAIN, Readiness};
use super::{Ctx, Operation, Phase};

/// How long after an attempt an agent may still tell what it saw before the end of it.
pub(super) const LATE_LOOK: Duration = Duration::from_secs(5);

/// The steps that a start relies on, by required service, and what each of them had to reach.
type Relied<'a> = BTreeMap<&'a ServiceName, BTreeMap<usize, Wait>>;

impl Operation {
    /// Is the instance of a step up, by a word of its agent about the time since the step's action?
    ///
    /// *Never* if it is down for good.
    pub(super) fn is_up(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let step = self.step(at);
        let (Some(node), Some(name)) = (&step.node, &step.service) else {
            return Readiness::Yes;
        };
        // Nobody is there who could tell: its checks are all that there is.
        if is_agentless(node, ctx) {
            return Readiness::Yes;
        }
        if !ctx.view.alive(node) {
            let liveness = ctx.view.node(node).map(|seen| seen.liveness);
            let liveness = liveness.unwrap_or_default();
            return Readiness::NotYet(format!(
                "{name} on {node} is unknown: its agent is {liveness}"
            ));
        }
        let Some((seen, told)) = ctx.view.instance(node, name) else {
            return Readiness::NotYet(format!(
                "{name} on {node} is unknown: its agent has not said yet how it is"
            ));
        };
        let live = &self.live[at];
        // A step that only looks has changed nothing that an earlier word would not tell of.
        let since = |moment: Option<Duration>| match step.action {
            Action::Check => Duration::ZERO,
            _ => moment.unwrap_or_default(),
        };
        let (began, proven) = (since(live.began), since(live.proven));
        let stands = ctx.now.since(told.first.max(proven)) >= LATE_LOOK;
        let mut what = format!("{name} on {node} is {}", seen.state);
        if !seen.reason.is_empty() {
            what.push_str(": ");
            what.push_str(&seen.reason);
        }
        match seen.state {
            InstanceState::Running | InstanceState::Paused if told.last >= began || stands => {
                Readiness::Yes
            }
            InstanceState::Running | InstanceState::Paused => {
                Readiness::NotYet(format!("{what}, as told before this attempt"))
            }
            InstanceState::Stopped if told.first >= proven && stands => Readiness::Never(what),
            InstanceState::Failed if told.first >= proven && stands && seen.given_up => {
                Readiness::Never(what)
            }
            InstanceState::Stopped
            | InstanceState::Failed
            | InstanceState::Starting
            | InstanceState::Stopping
            | InstanceState::Unknown => Readiness::NotYet(what),
        }
    }

    /// How long it takes at most until the word of an instance that ran before its attempt, and that has nothing new to
    /// tell, counts.
    pub(super) fn awaits_a_word(&self, at: usize, ctx: &Ctx<'_>) -> Duration {
        let step = self.step(at);
        let known = match (&step.node, &step.service) {
            (Some(node), Some(name)) => ctx.view.instance(node, name),
            _ => None,
        };
        let ran = |state| matches!(state, InstanceState::Running | InstanceState::Paused);
        let began = self.live[at].began.unwrap_or_default();
        match known {
            Some((seen, told)) if ran(seen.state) && told.last < began => LATE_LOOK + ASK_AGAIN,
            _ => Duration::ZERO,
        }
    }

    /// Is what a step is built upon still as the edges of the step demanded when they were met: for a start what its service
    /// requires, for a stop that its dependants are down?
    ///
    /// `last` is the answer of the same pass for the step before: a thousand starts of one service behind the same
    /// thousand are one look at those, not a million.
    pub(super) fn requirements(
        &self,
        at: usize,
        last: &mut Option<(usize, Readiness)>,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        if let Some((other, readiness)) = last
            && self.relies_on_the_same(*other, at)
        {
            return readiness.clone();
        }
        let readiness = self
            .look_at_requirements(at, ctx)
            .and(|| self.is_clear(at, ctx))
            .and(|| self.strands_nobody(at, ctx));
        *last = Some((at, readiness.clone()));
        readiness
    }

    fn relies_on_the_same(&self, one: usize, other: usize) -> bool {
        let (step, like) = (self.step(one), self.step(other));
        step.service == like.service
            && step.action == like.action
            && self.before[one] == self.before[other]
    }

    fn look_at_requirements(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        let relied_on = self.relied_on(at, ctx);
        let starts = matches!(self.step(at).action, Action::Start | Action::Verify);
        let service = self.step(at).service.as_ref().filter(|_| starts);
        if let Some(service) = service.and_then(|name| ctx.spec.services.get(name)) {
            let stands =
                |name: &ServiceName| relied_on.contains_key(name) || self.is_vouched_for(name);
            let found = self.finds_requirements(service, stands, ctx);
            if !matches!(found, Readiness::Yes) {
                return found;
            }
        }
        for (name, relied) in relied_on {
            let Some(required) = ctx.spec.services.get(name) else {
                continue;
            };
            let what = |why: String| format!("it requires {name}, and {why}");
            match self.is_still(required, &relied, ctx) {
                Readiness::Yes => {}
                Readiness::NotYet(why) => return Readiness::NotYet(what(why)),
                Readiness::Never(why) => {
                    return Readiness::Never(format!(
                        "{} (repair that and retry, or abort and plan again)",
                        what(why)
                    ));
                }
            }
        }
        Readiness::Yes
    }

    /// Has the checks looked at again that [`requirements`](Self::requirements) goes by.
    pub(super) fn probe_requirements(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let mut gates = Vec::new();
        for relied in self.relied_on(at, ctx).into_values() {
            let healthy = relied.iter().filter(|(_, until)| **until == Wait::Healthy);
            gates.extend(healthy.flat_map(|(&other, _)| self.step(other).healthy.clone()));
        }
        self.probe(&gates, self.since_its_turn(at, ctx), ctx);
        for (gate, since) in self.asked_of_confirmed(at, ctx) {
            self.probe(&[gate], since, ctx);
        }
    }

    /// The steps by which a start knows that what its service requires is up or healthy, also through the meeting points
    /// of many. Without those that a person took for done: that word stands.
    fn relied_on<'a>(&'a self, at: usize, ctx: &Ctx<'_>) -> Relied<'a> {
        let mut relied = Relied::new();
        let step = self.step(at);
        let Some(service) = step
            .service
            .as_ref()
            .filter(|_| matches!(step.action, Action::Start | Action::Verify))
            .and_then(|name| ctx.spec.services.get(name))
        else {
            return relied;
        };
        let mut open = self.before[at].clone();
        while let Some((other, until)) = open.pop() {
            let first = self.step(other);
            let (Wait::Up | Wait::Healthy, Some(name)) = (until, &first.service) else {
                continue;
            };
            let needed = service.dependencies.get(name).is_some_and(|d| d.needed);
            if !needed || self.steps[other].phase == Phase::Skipped {
                continue;
            }
            match (&first.action, &first.node) {
                (Action::Start | Action::Verify | Action::Check, Some(_)) => {
                    let known = relied
                        .entry(name)
                        .or_default()
                        .entry(other)
                        .or_insert(until);
                    *known = until.max(*known);
                }
                (Action::Check, None) => open.extend(self.before[other].iter().copied()),
                _ => {}
            }
        }
        relied
    }

    /// Is a service still as far up as was relied on: its primary, or as many instances as it needs at least?
    fn is_still(
        &self,
        required: &Service,
        relied: &BTreeMap<usize, Wait>,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        let primary = self.plan().assumptions.get(&required.name);
        let primary = primary.map(|assumption| &assumption.active);
        let primary = relied.iter().find(|(other, _)| {
            required.is_exclusive() && self.step(**other).node.as_ref() == primary
        });
        if let Some((&other, &until)) = primary {
            return self.is_still_up(other, until, ctx);
        }
        let at_least = usize::try_from(required.at_least).unwrap_or(usize::MAX);
        let needed = match required.is_exclusive() {
            true => 1,
            false => at_least.clamp(1, relied.len()),
        };
        let (mut up, mut hope, mut why) = (0, 0, Vec::new());
        for (&other, &until) in relied {
            match self.is_still_up(other, until, ctx) {
                Readiness::Yes if up + 1 >= needed => return Readiness::Yes,
                Readiness::Yes => up += 1,
                Readiness::NotYet(what) => {
                    hope += 1;
                    why.push(what);
                }
                Readiness::Never(what) => why.push(what),
            }
        }
        let why = why.join("; ");
        if up + hope >= needed {
            Readiness::NotYet(why)
        } else {
            Readiness::Never(why)
        }
    }

    pub(super) fn is_still_up(&self, other: usize, until: Wait, ctx: &Ctx<'_>) -> Readiness {
        self.is_up(other, ctx).and(|| match until {
            Wait::Healthy => self.are_green(other, ctx),
            _ => Readiness::Yes,
        })
    }

    /// Are the checks of a step green, by their last results? Only fresh ones count, as everywhere.
    fn are_green(&self, other: usize, ctx: &Ctx<'_>) -> Readiness {
        let forced = &self.plan().forced;
        let mut checks = self.step(other).healthy.iter();
        let red = checks.find_map(|gate| {
            let seen = ctx.view.check(ctx.spec, &gate.on, &gate.check, ctx.now);
            (seen.verdict != Verdict::Ok && !forced.contains(&gate.check)).then(|| {
                format!(
                    "{} on {} is {}: {}",
                    gate.check, gate.on, seen.verdict, seen.evidence
                )
            })
        });
        red.map_or(Readiness::Yes, Readiness::NotYet)
    }
}

pub(super) fn is_agentless(node: &NodeName, ctx: &Ctx<'_>) -> bool {
    let node = ctx.spec.nodes.get(node);
    node.is_some_and(|node| node.agentless.is_some())
}
