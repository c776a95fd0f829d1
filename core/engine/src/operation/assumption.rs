//! The active side that a plan was made for: is it still there (invariant I9)?
//!
//! The order in which the instances of an exclusive service go down depends on which one is active: the active one is
//! the last. So before one is stopped, going forward or taking a start back, the checks that tell the active side are
//! run anew. What was seen before the step's turn came may have changed, and what is stopped without having been looked
//! at cannot be asked any more (invariant I10).
//!
//! The same holds before one is started, going forward or taking a stop back. A standby starts beside an active side
//! that is seen to be active; the active side itself starts while no other one is. Where the service was down as a whole
//! nothing is active that could be seen, and the remembered side decides.
//!
//! What else a step waits for may take its time: a gate, the capacity that another instance gives back. What was seen of the
//! active side before that is over may be as old as the wait. So the look that counts is the last one, once nothing else is
//! waited for.
//!
//! | step, made for what was observed | must be seen, since nothing else was waited for |
//! |---|---|
//! | stop, of any instance | the active side, where the plan took it to be; or everything down |
//! | start of a standby | the active side, where the plan took it to be |
//! | start of the active side, or of a standby after this operation stopped the active side | no other one active |
//!
//! Where a person took the place of the checks, or a memory did, a start waits for no look; an active side that is seen
//! elsewhere still forbids it.

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::check::{CheckId, Verdict};
use interlock_model::names::NodeName;
use interlock_model::observation::{Active, Liveness, Observations};
use interlock_model::plan::{Assumption, Gate, Known};
use interlock_model::spec::Service;

use super::gates::Readiness;
use super::{Ctx, Effect, Operation};

impl Operation {
    /// Is the active side still where the plan took it to be? A stop and a start look again when their turn comes.
    pub(super) fn assumption(&self, at: usize, ready: Duration, ctx: &Ctx<'_>) -> Readiness {
        let Some((service, assumption)) = self.assumed(at, ctx) else {
            return Readiness::Yes;
        };
        if let (Action::Start | Action::Verify, Some(node)) =
            (&self.step(at).action, &self.step(at).node)
        {
            let alone = *node == assumption.active;
            return self.may_start(service, &assumption, alone, ready, ctx);
        }
        let ready = all_there(service, ready, ctx);
        let stops = self.step(at).action == Action::Stop;
        let seen = ctx.view.snapshot_of(ctx.spec, &service.nodes, ctx.now);
        let active = seen.active(service);
        if matches!(active, Active::On(_))
            && assumption.known == Known::Observed
            && stops
            && let Some(old) = not_looked_at(service, &seen, None, ready, ctx)
        {
            return Readiness::NotYet(old);
        }
        match active {
            Active::On(node) if node != assumption.active => {
                Readiness::Never(moved(service, &node, &assumption))
            }
            Active::On(_) | Active::Nowhere => Readiness::Yes,
            // An assumption that was observed must stay observable until its own active side is taken down; one that
            // a person or the memory supplied never was.
            Active::Unknown(why) if assumption.known == Known::Observed && stops => {
                Readiness::NotYet(untold(service, &why))
            }
            Active::Unknown(_) => Readiness::Yes,
        }
    }

    /// May an instance start? `alone` says that the active side need not be seen: it is the one that starts, or it was
    /// stopped with the others. Then it is enough that no other one is active.
    fn may_start(
        &self,
        service: &Service,
        assumption: &Assumption,
        alone: bool,
        ready: Duration,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        let seen = ctx.view.snapshot_of(ctx.spec, &service.nodes, ctx.now);
        let active = seen.active(service);
        if let Active::On(node) = &active
            && *node != assumption.active
        {
            return Readiness::Never(moved(service, node, assumption));
        }
        if assumption.known != Known::Observed || self.is_overridden(service) {
            return Readiness::Yes;
        }
        let ready = all_there(service, ready, ctx);
        let but = alone.then_some(&assumption.active);
        if let Some(old) = not_looked_at(service, &seen, but, ready, ctx) {
            return Readiness::NotYet(unsaid(service, &old));
        }
        match active {
            Active::On(_) => Readiness::Yes,
            _ if alone => match other_active(service, &seen, assumption) {
                Some(node) => Readiness::Never(moved(service, node, assumption)),
                None => Readiness::Yes,
            },
            Active::Nowhere => Readiness::NotYet(unsaid(service, "every instance is down")),
            Active::Unknown(why) => Readiness::NotYet(unsaid(service, &why)),
        }
    }

    /// Keeps since when a step waits for nothing but a look at the active side. Is that so only now?
    pub(super) fn lets_look(&mut self, at: usize, rest: &Readiness, ctx: &Ctx<'_>) -> bool {
        let cleared = &mut self.live[at].cleared;
        let is_new = cleared.is_none();
        *cleared = match rest {
            Readiness::Yes => Some(cleared.unwrap_or(ctx.now.mono)),
            Readiness::NotYet(_) | Readiness::Never(_) => None,
        };
        is_new && cleared.is_some()
    }

    /// Since when a look at the active side counts.
    pub(super) fn since_last_look(&self, at: usize, ctx: &Ctx<'_>) -> Duration {
        let turn = self.since_its_turn(at, ctx);
        self.live[at].cleared.map_or(turn, |it| it.max(turn))
    }

    /// Has a person taken the place of a check that tells the active side?
    pub(super) fn is_overridden(&self, service: &Service) -> bool {
        let forced = |check: &CheckId| {
            check.service == service.name && service.active_when.contains(&check.check)
        };
        service.active_when.is_empty() || self.plan().forced.iter().any(forced)
    }

    /// Has this operation had an instance stopped, or tried to?
    fn has_stopped(&self, service: &Service, node: &NodeName) -> bool {
        self.steps().any(|(step, state)| {
            step.action == Action::Stop
                && step.service.as_ref() == Some(&service.name)
                && step.node.as_ref() == Some(node)
                && state.acted
        })
    }

    /// May a step be taken back, as far as the active side goes?
    pub(super) fn assumption_of_undo(
        &self,
        at: usize,
        undo: &Action,
        ready: Duration,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        let (Some((service, assumption)), Some(node)) =
            (self.assumed(at, ctx), &self.step(at).node)
        else {
            return Readiness::Yes;
        };
        match undo {
            Action::Stop => self.may_stop_again(service, &assumption, node, ready, ctx),
            Action::Start => {
                let active = &assumption.active;
                let alone = node == active || self.has_stopped(service, active);
                self.may_start(service, &assumption, alone, ready, ctx)
            }
            _ => Readiness::Yes,
        }
    }

    /// May a start be taken back? Since the start the side may have moved, to this very instance for example; then the
    /// order of the plan is the wrong one, and a person plans the way back.
    fn may_stop_again(
        &self,
        service: &Service,
        assumption: &Assumption,
        node: &NodeName,
        ready: Duration,
        ctx: &Ctx<'_>,
    ) -> Readiness {
        // Where a person took the place of the checks, the checks have no say. Who has a lease is told by no check.
        let is_told = service.is_leased() || !self.is_overridden(service);
        if assumption.known == Known::Assumed || !is_told {
            return Readiness::Yes;
        }
        let ready = all_there(service, ready, ctx);
        let seen = ctx.view.snapshot_of(ctx.spec, &service.nodes, ctx.now);
        let is_down = |node| seen.instance(node, &service.name).is_down();
        let alone = service
            .nodes
            .iter()
            .all(|other| other == node || is_down(other));
        if is_down(node) {
            return Readiness::Yes;
        }
        if alone {
            return last_one(service, node, *node == assumption.active, ready, ctx);
        }
        if let Some(old) = not_looked_at(service, &seen, None, ready, ctx) {
            return Readiness::NotYet(old);
        }
        match seen.active(service) {
            Active::On(active) if active != assumption.active => {
                Readiness::Never(moved(service, &active, assumption))
            }
            Active::On(_) | Active::Nowhere => Readiness::Yes,
            Active::Unknown(why) => Readiness::NotYet(untold(service, &why)),
        }
    }

    /// The service of a step, and where its active side is to be by then.
    fn assumed<'a>(&self, at: usize, ctx: &Ctx<'a>) -> Option<(&'a Service, Assumption)> {
        let name = self.step(at).service.as_ref()?;
        let assumption = self.expected_side(at, name)?;
        Some((ctx.spec.services.get(name)?, assumption))
    }

    /// Has everybody who can tell the active side look anew.
    pub(super) fn probe_assumption(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let Some((service, _)) = self.assumed(at, ctx) else {
            return;
        };
        let mut effects = Vec::new();
        let mut gates = Vec::new();
        for node in &service.nodes {
            if !ctx.view.alive(node) {
                // Only its power source can tell that a silent one is not the active side.
                effects.push(Effect::AskPower(node.clone()));
                continue;
            }
            gates.extend(service.active_when.iter().map(|check| Gate {
                check: CheckId {
                    service: service.name.clone(),
                    check: check.clone(),
                },
                on: node.clone(),
            }));
        }
        ctx.effects.append(&mut effects);
        self.probe(&gates, self.since_last_look(at, ctx), ctx);
    }
}

/// The last instance that is up may go, whichever it is: there is no order left to get wrong. But it is looked at,
/// so that what is remembered is what was seen; a start that failed must not be held for what cannot be told, unless
/// it is of an instance that nobody expected to be active.
fn last_one(
    service: &Service,
    node: &NodeName,
    expected: bool,
    ready: Duration,
    ctx: &Ctx<'_>,
) -> Readiness {
    for check in &service.active_when {
        let id = CheckId {
            service: service.name.clone(),
            check: check.clone(),
        };
        let ran = ctx
            .view
            .node(node)
            .and_then(|seen| seen.checks.get(&id))
            .is_some_and(|seen| seen.after >= ready);
        let look = ctx.view.check_since(ctx.spec, node, &id, ctx.now, ready);
        if !ran || look.verdict == Verdict::Unknown && !expected {
            return Readiness::NotYet(format!("{id} on {node}: {}", look.evidence));
        }
    }
    Readiness::Yes
}

/// Since when a look counts: since the step's turn came, and since the last of the agents that have a say came back. While
/// one was away the side may have moved to its instance, and what the others saw meanwhile would not go with what it
/// sees now.
fn all_there(service: &Service, ready: Duration, ctx: &Ctx<'_>) -> Duration {
    let sessions = service
        .nodes
        .iter()
        .filter_map(|node| ctx.view.node(node)?.session);
    sessions.fold(ready, Duration::max)
}

/// The first check that tells the active side and has not been run since `since` on an instance that may be up, `but` one.
fn not_looked_at(
    service: &Service,
    seen: &Observations,
    but: Option<&NodeName>,
    since: Duration,
    ctx: &Ctx<'_>,
) -> Option<String> {
    let up = service
        .nodes
        .iter()
        .filter(|node| Some(*node) != but && !seen.instance(node, &service.name).is_down());
    for node in up {
        // What it saw last may be as old as its silence.
        if ctx
            .view
            .node(node)
            .is_some_and(|seen| seen.liveness == Liveness::Late)
        {
            return Some(format!("the agent of {node} is late"));
        }
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

fn moved(service: &Service, active: &NodeName, assumption: &Assumption) -> String {
    format!(
        "the active side of {} is {active}, but this plan was made for {} ({}): plan again",
        service.name, assumption.active, assumption.known
    )
}

/// An instance other than the assumed one that is up and passes every check that tells the active side.
fn other_active<'a>(
    service: &'a Service,
    seen: &Observations,
    assumption: &Assumption,
) -> Option<&'a NodeName> {
    service.nodes.iter().find(|node| {
        **node != assumption.active
            && !seen.instance(node, &service.name).is_down()
            && service.active_when.iter().all(|check| {
                let id = CheckId {
                    service: service.name.clone(),
                    check: check.clone(),
                };
                seen.check(node, &id).verdict == Verdict::Ok
            })
    })
}

/// Why a start does not begin, and what to do about it.
fn unsaid(service: &Service, why: &str) -> String {
    format!(
        "{} (repair that, or abort and say it in a new plan: --assume-active {}=NODE)",
        untold(service, why),
        service.name
    )
}

fn untold(service: &Service, why: &str) -> String {
    format!("which side of {} is active is unknown: {why}", service.name)
}
