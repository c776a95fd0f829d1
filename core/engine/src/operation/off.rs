//! What a machine that is off proves of what was to be stopped on it.
//!
//! A stop asks an agent; an agent of a machine that has died never answers. But nothing runs on a machine that is off: what
//! was to be stopped there is down, and the step is done with that as its evidence, forwards and where a start is taken
//! back. Silence proves nothing (invariant I5): only a power source whose plug is verified, by an answer that is younger
//! than the moment when the step's turn came, or its attempt began.

use std::time::Duration;

use interlock_model::action::{Action, Power};
use interlock_model::names::NodeName;

use super::gates::{ASK_AGAIN, Readiness, agent_ready};
use super::{Ctx, Effect, Operation, Phase, What};

/// Why it is proven that a machine is off, by what its power source has said since `since`; none if that proves it not.
pub(super) fn proven_off(node: &NodeName, since: Duration, ctx: &Ctx<'_>) -> Option<String> {
    let power = ctx.spec.nodes.get(node)?.power.as_ref()?;
    let said = ctx.view.power_since(node, since)?.0;
    let is_proof = said == Power::Off && ctx.verified.contains_key(node);
    // A machine that speaks is not off.
    (is_proof && !ctx.view.connected(node)).then(|| format!("{} says that {node} is off", power.by))
}

/// Can an agent do this on a node? What is to be stopped on a machine that is proven off needs none, and what is to be
/// started there finds none.
pub(super) fn ready(action: &Action, node: &NodeName, since: Duration, ctx: &Ctx<'_>) -> Readiness {
    match (action, proven_off(node, since, ctx)) {
        (Action::Stop, Some(_)) => Readiness::Yes,
        (_, Some(off)) => Readiness::NotYet(format!(
            "{off}: switch it on, `retry` if this has stopped waiting, or abort and plan again"
        )),
        (_, None) => agent_ready(node, ctx),
    }
}

/// Asks the power source of a silent machine, once in a pass, if its answer could prove anything: the word of a plug that is
/// not proven to be the node's does not.
pub(super) fn ask_for_proof(node: &NodeName, ctx: &mut Ctx<'_>) {
    let declared = ctx.spec.nodes.get(node);
    let has_power = declared.is_some_and(|it| it.power.is_some() && it.agentless.is_none());
    if !has_power || !ctx.verified.contains_key(node) {
        return;
    }
    let ask = Effect::AskPower(node.clone());
    if !ctx.effects.contains(&ask) {
        ctx.effects.push(ask);
    }
}

impl Operation {
    /// If this stop, or the stop that takes a step back, has nothing left to stop, its machine being off: that is its proof.
    pub(super) fn is_stopped_by_off(
        &mut self,
        at: usize,
        action: &Action,
        undo: bool,
        ctx: &mut Ctx<'_>,
    ) -> bool {
        let since = self.live[at].ready.unwrap_or(ctx.now.mono);
        let node = self.step(at).node.as_ref();
        let Some(off) = node
            .filter(|_| *action == Action::Stop)
            .and_then(|node| proven_off(node, since, ctx))
        else {
            return false;
        };
        self.prove_by_off(at, &off, undo, ctx);
        true
    }

    /// Nothing runs on a machine that is off. No agent's attempt is the proof.
    pub(super) fn prove_by_off(&mut self, at: usize, off: &str, undo: bool, ctx: &mut Ctx<'_>) {
        self.intend(at, "prove", undo, ctx);
        let step = self.step(at).id.clone();
        let evidence = format!("{off}: nothing runs there");
        self.record(What::Proven { step, evidence }, ctx.now);
    }

    /// Has the machine gone off under a stop that its agent was asked for?
    pub(super) fn watch_off(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let Some(node) = self.step(at).node.clone() else {
            return;
        };
        if *self.doing(at) != Action::Stop || ctx.view.alive(&node) {
            return;
        }
        let began = self.live[at].began.unwrap_or(ctx.now.mono);
        if let Some(off) = proven_off(&node, began, ctx) {
            let undo = self.steps[at].phase == Phase::Undoing;
            self.prove_by_off(at, &off, undo, ctx);
            return;
        }
        let asked = self.live[at].asked;
        if asked.is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN) {
            self.live[at].asked = Some(ctx.now.mono);
            ask_for_proof(&node, ctx);
        }
    }

    /// Asks the power source of a step's node, where its agent is not there to be asked.
    pub(super) fn ask_power_of_silent(&self, at: usize, ctx: &mut Ctx<'_>) {
        let node = self.step(at).node.as_ref();
        let by_agent = !self.doing(at).is_power();
        let silent = node.filter(|node| by_agent && !ctx.view.alive(node));
        if let Some(node) = silent {
            ask_for_proof(node, ctx);
        }
    }
}
