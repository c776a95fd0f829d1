//! Steps whose proof is a power source or a boot.
//!
//! The word of an agent is not enough here: a machine that shuts down stops answering long before it is off, and an
//! agent that is silent may run on a machine that is well (invariant I5). *Off* is what the power source says. *On*
//! is an agent that speaks from a boot that it did not have before; for an agentless node, what the power source says.
//!
//! A plan is made for plugs that are proven to be their nodes'. A proof may be contradicted while the operation is under
//! way, and what such a plug does or says would be another machine's: it is neither switched nor believed.

use std::time::Duration;

use interlock_model::action::{
    Action, Command, FenceAction, FenceCall, Power, PowerRef, ShutdownBy,
};
use interlock_model::names::NodeName;
use interlock_model::observation::Liveness;
use interlock_model::spec::Spec;

use super::gates::{Readiness, agent_ready};
use super::{Ctx, Effect, Operation, Phase, What};

/// How often a power source is asked while a machine goes down or comes up.
const POLL: Duration = Duration::from_secs(1);

/// The call of the fence agent that does `action` for a node.
pub(crate) fn fence_call(
    spec: &Spec,
    node: &NodeName,
    power: &PowerRef,
    action: FenceAction,
) -> Option<FenceCall> {
    let device = spec.power.get(&power.device)?;
    Some(FenceCall {
        device: power.device.clone(),
        agent: device.fence.clone(),
        action,
        node: node.clone(),
        plug: power.plug.clone(),
        options: device.options.clone(),
        limit: device.timeout,
    })
}

/// May a power step begin? Only with an answer of the power source that is younger than the moment when the step's
/// turn came; a source that does not answer now could not prove the result either.
pub(super) fn ready(action: &Action, node: &NodeName, since: Duration, ctx: &Ctx<'_>) -> Readiness {
    let power = match action {
        Action::Reboot => return agent_ready(node, ctx),
        Action::PowerOn { power } | Action::PowerOff { power } => power,
        _ => return Readiness::Yes,
    };
    if !ctx.verified.contains_key(node) {
        return Readiness::Never(unproven(node, power));
    }
    let said = match ctx.view.power_since(node, since) {
        Some((Power::Unknown, detail)) => {
            return Readiness::NotYet(untold(power, detail));
        }
        None => return Readiness::NotYet(format!("an answer of {} about {node}", power.device)),
        Some((said, _)) => said,
    };
    match (action, said) {
        (Action::PowerOff { .. }, Power::On) if power.shutdown != ShutdownBy::Manual => {
            agent_ready(node, ctx)
        }
        (Action::PowerOn { .. }, Power::Off) if via(power, ctx).is_none() => {
            let names: Vec<&str> = power.via.iter().map(NodeName::as_str).collect();
            Readiness::NotYet(format!(
                "an agent that reaches {}: {}",
                power.device,
                names.join(" or ")
            ))
        }
        _ => Readiness::Yes,
    }
}

fn untold(power: &PowerRef, why: &str) -> String {
    format!("{} does not tell: {why}", power.device)
}

/// The plug is not known to be the node's, any more.
fn unproven(node: &NodeName, power: &PowerRef) -> String {
    format!(
        "nothing proves any more that plug {} of {} is {node} (`interlockctl power verify {node}`)",
        power.plug, power.device
    )
}

fn via(power: &PowerRef, ctx: &Ctx<'_>) -> Option<NodeName> {
    let device = ctx.spec.power.get(&power.device)?;
    ctx.view.fencer(&power.via, &device.fence).cloned()
}

impl Operation {
    pub(super) fn ask_power(&self, at: usize, ctx: &mut Ctx<'_>) {
        if let (Action::PowerOn { .. } | Action::PowerOff { .. }, Some(node)) =
            (self.doing(at), &self.step(at).node)
        {
            ctx.effects.push(Effect::AskPower(node.clone()));
        }
    }

    /// Begins a power step, or the taking back of one, that [`ready`] let through.
    pub(super) fn begin_power(&mut self, at: usize, undo: bool, ctx: &mut Ctx<'_>) {
        let action = match (&self.step(at).undo, undo) {
            (Some(undo), true) => (*undo.0).clone(),
            _ => self.step(at).action.clone(),
        };
        let Some(node) = self.step(at).node.clone() else {
            return;
        };
        let said = ctx
            .view
            .power_since(&node, self.live[at].ready.unwrap_or_default())
            .map(|(power, _)| power);
        match (&action, said) {
            (Action::PowerOff { power }, Some(Power::Off)) => {
                let evidence = format!("{} said off already", power.device);
                self.intend(at, "prove", undo, ctx);
                self.record(
                    What::Proven {
                        step: self.step(at).id.clone(),
                        evidence,
                    },
                    ctx.now,
                );
            }
            (Action::PowerOff { power }, _) if power.shutdown == ShutdownBy::Manual => {
                self.intend(at, "wait", undo, ctx);
            }
            (Action::PowerOff { power }, _) => {
                self.dispatch(
                    at,
                    &node,
                    Command::Shutdown { by: power.shutdown },
                    undo,
                    ctx,
                );
            }
            (Action::PowerOn { .. }, Some(Power::On)) if ctx.view.alive(&node) => {
                self.intend(at, "prove", undo, ctx);
                let evidence = format!("on already, and the agent of {node} is alive");
                self.record(
                    What::Proven {
                        step: self.step(at).id.clone(),
                        evidence,
                    },
                    ctx.now,
                );
            }
            (Action::PowerOn { .. }, Some(Power::On)) => self.intend(at, "wait", undo, ctx),
            (Action::PowerOn { power }, _) => {
                let call = fence_call(ctx.spec, &node, power, FenceAction::On);
                match (call, via(power, ctx)) {
                    (Some(request), Some(to)) => {
                        self.dispatch(at, &to, Command::Fence { request }, undo, ctx)
                    }
                    _ => {
                        let evidence =
                            format!("the spec no longer has the power device {}", power.device);
                        self.record(
                            What::Blocked {
                                step: self.step(at).id.clone(),
                                evidence,
                            },
                            ctx.now,
                        );
                    }
                }
            }
            (Action::Reboot, _) if self.has_rebooted(at, &node, ctx) => {
                self.intend(at, "prove", undo, ctx);
                let evidence = format!("{node} has a new boot since the attempt before");
                self.record(
                    What::Proven {
                        step: self.step(at).id.clone(),
                        evidence,
                    },
                    ctx.now,
                );
            }
            (Action::Reboot, _) => self.dispatch(at, &node, Command::Reboot, undo, ctx),
            _ => {}
        }
    }

    /// Records the intent of an attempt that dispatches nothing and only awaits its proof.
    pub(super) fn intend(&mut self, at: usize, command: &str, undo: bool, ctx: &mut Ctx<'_>) {
        let step = self.step(at);
        let (id, node) = (step.id.clone(), step.node.clone());
        // Without a command of ours any boot will do.
        self.record(
            What::Intent {
                step: id,
                attempt: self.steps[at].attempt.next(),
                on: None,
                command: command.to_owned(),
                term: ctx.term,
                boot: None,
                undo,
            },
            ctx.now,
        );
        let limit = self.limit(at, ctx);
        let live = &mut self.live[at];
        live.began = Some(ctx.now.mono);
        live.deadline = Some(ctx.now.mono + limit);
        live.asked = None;
        live.said.clear();
        live.seen = node
            .map(|node| format!("{node} to be switched by hand or by itself"))
            .unwrap_or_default();
    }

    /// Looks for the proof of a power step under way.
    pub(super) fn watch_power(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let Some(node) = self.step(at).node.clone() else {
            return;
        };
        let began = self.live[at].began.unwrap_or_default();
        let verified = ctx.verified.contains_key(&node);
        let said = ctx.view.power_since(&node, began).filter(|_| verified);
        let agentless = ctx
            .spec
            .nodes
            .get(&node)
            .is_some_and(|node| node.agentless.is_some());
        let (proof, seen) = match (self.doing(at), said) {
            (Action::PowerOff { power }, _) if !verified => (None, Some(unproven(&node, power))),
            (Action::PowerOff { power }, Some((Power::Off, _))) => {
                (Some(format!("{} says off", power.device)), None)
            }
            (Action::PowerOff { power }, Some((Power::On, _))) => (
                None,
                Some(format!("{} to say off, it says on", power.device)),
            ),
            (Action::PowerOff { power }, Some((Power::Unknown, why))) => {
                (None, Some(untold(power, why)))
            }
            (Action::PowerOn { power }, Some((Power::On, _))) if agentless => {
                (Some(format!("{} says on", power.device)), None)
            }
            (Action::PowerOn { .. } | Action::Reboot, _) if !agentless => {
                match self.new_boot(at, &node, ctx) {
                    Some(boot) => (
                        Some(format!("the agent of {node} is alive with boot {boot}")),
                        None,
                    ),
                    None => (None, Some(format!("the agent of {node} with a new boot"))),
                }
            }
            _ => (None, None),
        };
        if let Some(evidence) = proof {
            self.record(
                What::Proven {
                    step: self.step(at).id.clone(),
                    evidence,
                },
                ctx.now,
            );
            return;
        }
        if self.is_off_after_all(at, &node, began, ctx) {
            let undo = self.steps[at].phase == Phase::Undoing;
            self.begin_power(at, undo, ctx);
            return;
        }
        if self.is_left_off(at, &node, ctx) {
            let on = self.steps[at].on.as_ref().map(NodeName::as_str);
            let why = format!(
                "{node} is still off, and what became of the switching by {} is not known",
                on.unwrap_or("its agent")
            );
            self.again(at, &why, ctx);
            return;
        }
        if let Some(seen) = seen {
            self.live[at].seen = seen;
        }
        if self.live[at]
            .asked
            .is_none_or(|asked| ctx.now.since(asked) >= POLL)
        {
            self.live[at].asked = Some(ctx.now.mono);
            self.ask_power(at, ctx);
        }
    }

    /// Is a machine off, and can be switched on, that was on when its step began, so that only its agent was waited for? It
    /// was about to go down.
    fn is_off_after_all(&self, at: usize, node: &NodeName, began: Duration, ctx: &Ctx<'_>) -> bool {
        let action = self.doing(at);
        matches!(action, Action::PowerOn { .. })
            && self.steps[at].on.is_none()
            && !self.is_ending()
            && matches!(ctx.view.power_since(node, began), Some((Power::Off, _)))
            && matches!(ready(action, node, began, ctx), Readiness::Yes)
    }

    /// Is a machine off that was to be switched on by an agent which cannot say what came of it, or is lost? Switching on once
    /// more does no harm, and the machine would be waited for in vain.
    fn is_left_off(&mut self, at: usize, node: &NodeName, ctx: &Ctx<'_>) -> bool {
        let Some(on) = self.steps[at].on.clone() else {
            return false;
        };
        let liveness = ctx.view.node(&on).map(|seen| seen.liveness);
        if matches!(liveness, Some(Liveness::Lost | Liveness::Left)) {
            self.live[at].unsure.get_or_insert(ctx.now.mono);
        }
        let Some(since) = self.live[at].unsure else {
            return false;
        };
        let action = self.doing(at);
        matches!(action, Action::PowerOn { .. })
            && matches!(ctx.view.power_since(node, since), Some((Power::Off, _)))
            && matches!(ready(action, node, since, ctx), Readiness::Yes)
            && self.may_repeat(at, ctx)
    }

    /// Has an attempt of a reboot, that came to no proof in its time, happened by now?
    fn has_rebooted(&self, at: usize, node: &NodeName, ctx: &Ctx<'_>) -> bool {
        let state = &self.steps[at];
        state.acted && state.boot.is_some() && self.new_boot(at, node, ctx).is_some()
    }

    fn new_boot(&self, at: usize, node: &NodeName, ctx: &Ctx<'_>) -> Option<String> {
        if !ctx.view.alive(node) {
            return None;
        }
        let boot = ctx.view.node(node)?.boot.clone()?;
        (self.steps[at].boot.as_ref() != Some(&boot)).then(|| boot.0.chars().take(8).collect())
    }

    /// Past the deadline of a power step: does the source say the opposite, or nothing?
    pub(super) fn power_is_unknown(&self, at: usize, ctx: &Ctx<'_>) -> bool {
        let Some(node) = &self.step(at).node else {
            return true;
        };
        let began = self.live[at].began.unwrap_or_default();
        !matches!(
            ctx.view.power_since(node, began),
            Some((Power::On | Power::Off, _)) if ctx.verified.contains_key(node)
        )
    }
}
