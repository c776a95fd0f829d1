//! What an agent process remembers of one of its instances between two looks, around the shipped guard.
//!
//! The program's part of this is `node-agent/src/run/keeper.rs`; which change between two looks is a death, it tells in
//! `deaths.rs` beside that.

use std::time::Duration;

use interlock_engine::agent::guard::{Death, Guard, Memory, Situation, Verdict};
use interlock_model::observation::InstanceState;
use interlock_model::spec::GuardPolicy;

/// The guard of one instance, and what it was told.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) guard: Guard,
    /// The state at the last look; none before the first.
    last: Option<InstanceState>,
    /// What the ledger was told to remember of the guard.
    kept: Memory,
}

impl Keeper {
    /// A guard that goes on where the one of an earlier process was.
    pub(crate) fn new(policy: GuardPolicy, kept: Memory) -> Self {
        Self {
            guard: Guard::restore(policy, kept.clone()),
            last: None,
            kept,
        }
    }

    /// A look at the instance. What is down and was not at the last look has died, unless an attempt has it in hand;
    /// what has failed before the first look may have (`unseen`).
    pub(crate) fn look(
        &mut self,
        state: InstanceState,
        unseen: bool,
        situation: Situation,
        now: Duration,
    ) -> Option<Verdict> {
        let before = self.last.replace(state);
        if situation.attempt_open {
            return None;
        }
        let was_up = before.is_some_and(|before| !before.is_down());
        let death = match state {
            InstanceState::Failed if was_up || before.is_none() && unseen => {
                Death::Failure("killed".into())
            }
            InstanceState::Stopped if was_up => Death::Clean("ended".into()),
            _ => return None,
        };
        Some(self.guard.died(death, situation, now))
    }

    /// What the guard began has failed.
    pub(crate) fn failed(&mut self, situation: Situation, now: Duration) -> Verdict {
        self.last = Some(InstanceState::Failed);
        let death = Death::Failure("the restart failed".into());
        self.guard.died(death, situation, now)
    }

    /// The instance was in this state when somebody had seen to it: what is down from here on has died, or was down.
    pub(crate) fn saw(&mut self, state: InstanceState) {
        self.last = Some(state);
    }

    /// What the ledger is to remember, if that is news.
    pub(crate) fn news(&mut self) -> Option<Memory> {
        let memory = self.guard.memory();
        (memory != self.kept).then(|| {
            self.kept.clone_from(&memory);
            memory
        })
    }
}
