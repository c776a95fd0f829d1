//! The last word on an instance that must be down, before something is taken from under it.
//!
//! A coordinator that has just begun knows nothing of the nodes: their agents connect again, and say how everything is. Until
//! then an instance of which nothing was said may as well run: a person may have started it while nobody led. So nothing
//! known is not nothing there (invariant I5), and is waited for. An agent that is lost, or has left, or whose machine is off,
//! is another matter: it says nothing against what was proven before, and will say nothing for as long as that lasts.
//!
//! | of an instance | it means |
//! |---|---|
//! | its agent said that it is up, and is not lost | up, also while the agent connects again |
//! | its agent said that it is on its way down | going down: it still runs |
//! | its agent said that it is down | down |
//! | its agent said that it cannot tell, or is here and has not said it in this session | awaited |
//! | this process has never heard its agent | awaited, for as long as an agent takes to come back and to be called lost |
//! | its agent is lost or has left, or its machine is off | silent |
//!
//! How old a word is, an agent sees to: what an operation holds it looks at every two seconds, also where no event tells of a
//! start, and a look that hangs makes it unknown (`LOOK_AGAIN_HELD` and `look` of the agent).

use std::time::Duration;

use interlock_model::action::Power;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{InstanceState, Liveness};

use super::{Ctx, Operation};
use crate::view::Told;

/// How long an agent takes at most to connect to a coordinator that is there: twice the longest rest between two attempts.
const TO_CONNECT: Duration = Duration::from_secs(10);

/// What is known of an instance that must be down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// It is up, and when that was said.
    Up(InstanceState, Told),
    /// It is on its way down and still runs, and when that was said.
    GoingDown(Told),
    /// It is down.
    Down,
    /// It is not known yet, and will be: why.
    Awaited(String),
    /// Nobody will say.
    Silent,
}

impl Operation {
    /// The last word on an instance that must be down.
    pub(super) fn word(&self, node: &NodeName, service: &ServiceName, ctx: &Ctx<'_>) -> Word {
        let declared = ctx.spec.nodes.get(node);
        if declared.is_none_or(|node| node.agentless.is_some()) || ctx.view.is_off(node) {
            return Word::Silent;
        }
        let known = ctx.view.node(node);
        match known.map(|seen| seen.liveness).unwrap_or_default() {
            Liveness::Lost | Liveness::Left => return Word::Silent,
            Liveness::Unheard if self.has_waited_for_agents(ctx) => return Word::Silent,
            Liveness::Unheard => {
                return Word::Awaited(format!(
                    "{service} on {node} is unknown: its agent has not been heard yet by this coordinator"
                ));
            }
            Liveness::Alive | Liveness::Late => {}
        }
        let Some((seen, told)) = ctx.view.instance(node, service) else {
            return Word::Awaited(format!(
                "{service} on {node} is unknown: its agent has not said yet how it is"
            ));
        };
        match seen.state {
            InstanceState::Running | InstanceState::Paused | InstanceState::Starting => {
                Word::Up(seen.state, told)
            }
            InstanceState::Stopping => Word::GoingDown(told),
            InstanceState::Stopped | InstanceState::Failed => Word::Down,
            InstanceState::Unknown => {
                let why = match seen.reason.as_str() {
                    "" => "its agent cannot tell",
                    reason => reason,
                };
                Word::Awaited(format!("{service} on {node} is unknown: {why}"))
            }
        }
    }

    /// Why it is not known yet whether a machine that was switched off still is; none if it is known, or nobody will say.
    pub(super) fn awaits_power(&self, node: &NodeName, ctx: &Ctx<'_>) -> Option<String> {
        let device = ctx.spec.nodes.get(node)?.power.as_ref()?.by.clone();
        let said = ctx.view.node(node).and_then(|seen| seen.power.as_ref());
        let tells = said.is_some_and(|(power, _, _)| *power != Power::Unknown);
        let is_awaited = !tells && !self.has_waited_for_agents(ctx);
        is_awaited.then(|| {
            format!(
                "whether {node} is still off is unknown: {device} has not told this coordinator yet"
            )
        })
    }

    /// Has this process had the operation for so long that an agent which is there would have been heard?
    pub(super) fn has_waited_for_agents(&self, ctx: &Ctx<'_>) -> bool {
        let patience = ctx.spec.control.lost + TO_CONNECT;
        self.taken
            .is_some_and(|taken| ctx.now.since(taken) >= patience)
    }
}
