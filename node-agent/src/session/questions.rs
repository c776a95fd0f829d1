//! Questions of coordinators to power sources, to other machines and about files: they change nothing, and the ledger knows nothing of them.
//!
//! Nor does it of the order to switch a machine off whose role is to move: to give it twice does no harm, and whoever gave it
//! and has no answer takes it for unknown. It waits for no turn of a question.

use std::sync::Arc;

use interlock_engine::agent::ledger::Permit;
use interlock_model::action::{Command, FenceAction, FenceCall, Power};
use interlock_model::file::{Text, Untold};
use interlock_model::names::{LocalName, ServiceName};
use interlock_proto::convert::compared_to_wire;
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Executor;
use super::outbox::Outbox;
use crate::reach::{self, Found};

/// Questions that may be under way or wait for their turn.
const MAX_UNDER_WAY: usize = 32;

/// Questions that are asked at a time. Each is an interpreter that starts: a dozen of them at once slow each other down
/// until none has an answer within its limit.
const AT_ONCE: usize = 4;

/// Addresses of one machine that are tried.
const MAX_ADDRESSES: usize = 16;

/// The answer to a question to a power source that was not asked.
pub(super) fn power_unknown(ask: u64, call: &FenceCall, detail: String) -> Message {
    Message::Power(v1::PowerAnswer {
        ask,
        node: call.node.to_string(),
        power: v1::Power::Unknown.into(),
        detail,
        busy: false,
    })
}

/// No answer: the question was not asked, and is to be asked again.
fn busy(ask: u64, node: String) -> Message {
    Message::Power(v1::PowerAnswer {
        ask,
        node,
        power: v1::Power::Unknown.into(),
        detail: format!("{MAX_UNDER_WAY} questions are under way on this node already"),
        busy: true,
    })
}

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
                busy: false,
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
            return outbox.say(busy(ask, call.node.to_string()));
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

    /// Switches a machine off, if the agent's own file permits that; the answer goes to whoever has ordered it.
    pub(super) fn switch_off<E: Executor>(
        &mut self,
        outbox: Arc<Outbox>,
        executor: Arc<E>,
        ask: u64,
        call: FenceCall,
    ) {
        let request = call.clone();
        if call.action != FenceAction::Off {
            let why = "an order to switch off that is another one".to_owned();
            return outbox.say(power_unknown(ask, &call, why));
        }
        if let Permit::Denied(why) = executor.permit(&Command::Fence { request }) {
            return outbox.say(power_unknown(ask, &call, why));
        }
        tracing::warn!(node = %call.node, device = %call.device, plug = call.plug, "a coordinator has its machine switched off");
        self.under_way.spawn(async move {
            let node = call.node.to_string();
            let (said, detail) = executor.switch_off(call).await;
            outbox.say(Message::Power(v1::PowerAnswer {
                ask,
                node,
                power: v1::Power::from(said).into(),
                detail,
                busy: false,
            }));
        });
    }

    /// Tries to reach the machine of another node.
    pub(super) fn reach(
        &mut self,
        outbox: Arc<Outbox>,
        ask: u64,
        node: String,
        mut addresses: Vec<String>,
    ) {
        addresses.truncate(MAX_ADDRESSES);
        if self.under_way.len() >= MAX_UNDER_WAY {
            // What was not tried is no answer, and is asked for again.
            return;
        }
        self.under_way.spawn(async move {
            let Found { reached, detail } = reach::machine(&addresses).await;
            outbox.say(Message::Tried(v1::Tried {
                ask,
                node,
                reached,
                detail,
            }));
        });
    }

    /// Compares a file with a text; the answer goes to whoever wants to know.
    pub(super) fn compare<E: Executor>(
        &mut self,
        outbox: Arc<Outbox>,
        executor: Arc<E>,
        ask: u64,
        (service, file, text): (ServiceName, LocalName, Text),
    ) {
        if self.under_way.len() >= MAX_UNDER_WAY {
            let why = format!("{MAX_UNDER_WAY} questions are under way on this node already");
            let untold = Err(Untold::Unknown(why));
            return outbox.say(Message::File(compared_to_wire(ask, untold)));
        }
        let turns = Arc::clone(&self.turns);
        self.under_way.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let compared = executor.compare_file(service, file, text).await;
            outbox.say(Message::File(compared_to_wire(ask, compared)));
        });
    }

    /// Lets go of the next one that has ended; none if none is under way.
    pub(super) async fn ended(&mut self) -> Option<()> {
        self.under_way.join_next().await.map(drop)
    }
}
