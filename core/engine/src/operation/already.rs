//! What is to be taken back, is so already, and would be refused.
//!
//! An agent that is asked for what is so already looks, and says so: that is what makes steps ensure-shaped, forwards and back.
//! One whose own file does not permit the service any more refuses before it looks, and the undo would fail over what nobody has
//! to do. What it observes it tells all the same. So where an agent has said that it would refuse, its word on the instance is
//! the proof, as it is wherever something must be down or up: once no later look can be on its way that says otherwise.
//!
//! Where it would not refuse it is asked: it looks at every part, and keeps what was wanted.

use std::time::Duration;

use interlock_model::action::Action;
use interlock_model::names::NodeName;
use interlock_model::observation::{InstanceObservation, InstanceState, Wanted};
use interlock_model::permission::Permission;
use interlock_model::plan::Wait;

use super::instances::LATE_LOOK;
use super::{Ctx, Operation, What};

impl Operation {
    /// If what takes a step back is so already, by the word of an agent that would refuse to be asked for it: that is its proof,
    /// now or in a moment.
    pub(super) fn is_so_already(
        &mut self,
        at: usize,
        undo: &Action,
        node: &NodeName,
        ready: Duration,
        ctx: &mut Ctx<'_>,
    ) -> bool {
        let Some(service) = self
            .step(at)
            .service
            .clone()
            .filter(|_| ctx.view.alive(node))
        else {
            return false;
        };
        let permission = Permission::Operate(service.clone());
        let refuses = ctx.view.node(node).and_then(|it| {
            let mut refuses = it.refuses.iter();
            refuses.find(|it| it.permission == permission)
        });
        let (Some(refusal), Some((seen, told))) = (refuses, ctx.view.instance(node, &service))
        else {
            return false;
        };
        if !is_so(undo, seen) {
            return false;
        }
        let what = format!(
            "{service} on {node} is {} already, says its agent",
            seen.state
        );
        if ctx.now.since(told.first.max(ready)) < LATE_LOOK {
            self.live[at].seen = format!("{what}; a look that says otherwise may be on its way");
            return true;
        }
        let evidence = format!(
            "{what}; it was not asked, since it would refuse: {}",
            refusal.why
        );
        self.intend(at, "prove", true, ctx);
        if undo.takes_down() {
            let step = self.step(at).id.clone();
            self.record(What::Proven { step, evidence }, ctx.now);
        } else {
            self.reached(at, Wait::Up, evidence, ctx);
        }
        true
    }
}

/// Is an instance as taking back would make it? One that its guard starts again is not down.
fn is_so(undo: &Action, seen: &InstanceObservation) -> bool {
    match (undo, seen.state) {
        (Action::Start, InstanceState::Running | InstanceState::Paused)
        | (Action::Stop, InstanceState::Stopped) => true,
        (Action::Stop, InstanceState::Failed) => {
            seen.given_up || seen.wanted != Some(Wanted::Running)
        }
        _ => false,
    }
}
