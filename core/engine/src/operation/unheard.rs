//! What is to be taken back on machines whose agents are not there.
//!
//! Ten machines that were switched on and never came up leave twenty undos that only their agents could do, and each of these
//! would wait for its turn, and then out its limit. So they are looked at from the moment when the way back begins:
//!
//! | of a machine whose agent is not there | it means for what is to be taken back on it |
//! |---|---|
//! | its power source says that it is off | its stops are taken back, whatever stands behind them: nothing runs there |
//! | its agent comes back | each undo has its turn as ever, and its whole limit |
//! | an undo whose turn it is has waited for the agent for its limit | it fails, and with it the others on that machine, and |
//! | | those of every other machine whose agent has not been there for as long: a person is told of all of them at once |
//!
//! Silence proves nothing (invariant I5): a machine that is not known to be off is a person's to look at, and nothing that comes
//! before it is taken back until they have. Nobody is called before something waits in vain for its turn: an agent that is away
//! while others are at work may be back by then.

use std::time::Duration;

use interlock_model::action::{Action, ShutdownBy};

use super::gates::ASK_AGAIN;
use super::off::{ask_for_proof, proven_off};
use super::{Ctx, Operation, What};

impl Operation {
    /// Can a step be taken back by the agent of its machine only?
    fn needs_its_agent(&self, at: usize) -> bool {
        match self.step(at).undo.as_ref().map(|undo| &*undo.0) {
            Some(Action::Stop) => true,
            Some(Action::PowerOff { power }) => power.shutdown != ShutdownBy::Manual,
            _ => false,
        }
    }

    /// Keeps since when the agent has not been there that a step needs to be taken back.
    pub(super) fn hears_machine(&mut self, at: usize, ctx: &Ctx<'_>) {
        let node = self.step(at).node.as_ref();
        let is_away = node.is_some_and(|node| !ctx.view.connected(node));
        let is_silent = is_away && self.needs_its_agent(at);
        let live = &mut self.live[at];
        live.silent = is_silent.then(|| live.silent.unwrap_or(ctx.now.mono));
    }

    /// Before the turn of a stop on the way back: if its machine is off, there is nothing to wait for.
    pub(super) fn is_off_before_its_turn(&mut self, at: usize, ctx: &mut Ctx<'_>) {
        let step = self.step(at);
        let stops = step.undo.as_ref().is_some_and(|it| *it.0 == Action::Stop);
        let (true, Some(since), Some(node)) = (stops, self.live[at].silent, step.node.clone())
        else {
            return;
        };
        if let Some(off) = proven_off(&node, since, ctx) {
            self.prove_by_off(at, &off, true, ctx);
            return;
        }
        let asked = self.live[at].asked;
        if asked.is_none_or(|asked| ctx.now.since(asked) >= ASK_AGAIN) {
            self.live[at].asked = Some(ctx.now.mono);
            ask_for_proof(&node, ctx);
        }
    }

    /// For how long an undo has waited: since its turn came or, once nothing more is to be heard of its machine, for its agent.
    pub(super) fn waited_to_go_back(&self, at: usize, ready: Duration, ctx: &Ctx<'_>) -> Duration {
        let waited = self.live[at].waited(ready, ctx.now);
        let node = self.step(at).node.as_ref();
        let (Some(since), Some(node)) = (self.live[at].silent, node) else {
            return waited;
        };
        // Its power source may still say that there is nothing to wait for.
        let is_heard = ctx.view.power_since(node, ready).is_some();
        match is_heard || !ctx.verified.contains_key(node) {
            true => waited.max(ctx.now.since(since)),
            false => waited,
        }
    }

    /// An undo has waited in vain for its agent: so have the others of that machine, and those of the machines that have been
    /// silent for as long.
    pub(super) fn give_up_unheard(&mut self, at: usize, ctx: &Ctx<'_>) {
        if self.live[at].silent.is_none() {
            return;
        }
        for other in 0..self.steps.len() {
            let (Some(since), Some(node)) = (self.live[other].silent, &self.step(other).node)
            else {
                continue;
            };
            let is_there = self.step(at).node.as_ref() == Some(node);
            let is_over = ctx.now.since(since) > self.limit_of_undo(other, ctx);
            if !self.needs_undo(other) || !(is_there || is_over) {
                continue;
            }
            let evidence = format!(
                "cannot be taken back: the agent of {node} is not there, and {node} is not known to be off: switch it off at \
                 its power source and `retry`, or `skip` it"
            );
            let step = self.step(other).id.clone();
            self.record(What::UndoFailed { step, evidence }, ctx.now);
        }
    }
}
