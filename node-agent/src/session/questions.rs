//! Questions of coordinators to power sources: they change nothing, and the ledger knows nothing of them.

use std::sync::Arc;

use interlock_model::action::{FenceAction, FenceCall, Power};
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Executor;
use super::outbox::Outbox;

/// Questions that may be under way or wait for their turn.
const MAX_UNDER_WAY: usize = 32;

/// Questions that are asked at a time. Each is an interpreter that starts: a dozen of them at once slow each other down
/// until none has an answer within its limit.
const AT_ONCE: usize = 4;

/// The questions that are under way.
#[derive(Debug)]
pub(super) struct Questions {
    under_way: JoinSet<()>,
    turns: Arc<Semaphore>,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            under_way: JoinSet::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Questions {
    /// Asks; the answer goes to whoever wants to know.
    pub(super) fn ask<E: Executor>(
        &mut self,
        outbox: Arc<Outbox>,
        executor: Arc<E>,
        ask: u64,
        call: FenceCall,
    ) {
        let node = call.node.to_string();
        let power = move |power: Power, detail| {
            Message::Power(v1::PowerAnswer {
                ask,
                node,
                power: v1::Power::from(power).into(),
                detail,
            })
        };
        let plugs = move |list| {
            Message::Plugs(v1::PlugList {
                ask,
                list: Some(list),
            })
        };
        let list = call.action == FenceAction::List;
        if self.under_way.len() >= MAX_UNDER_WAY {
            let detail = format!("{MAX_UNDER_WAY} questions are under way on this node already");
            return outbox.say(if list {
                plugs(v1::plug_list::List::Failed(detail))
            } else {
                power(Power::Unknown, detail)
            });
        }
        let turns = Arc::clone(&self.turns);
        self.under_way.spawn(async move {
            // It is never closed.
            let _turn = turns.acquire_owned().await;
            outbox.say(if list {
                plugs(executor.list_plugs(call).await)
            } else {
                let (said, detail) = executor.ask_power(call).await;
                power(said, detail)
            });
        });
    }

    /// Lets go of the next one that has ended; none if none is under way.
    pub(super) async fn ended(&mut self) -> Option<()> {
        self.under_way.join_next().await.map(drop)
    }
}
