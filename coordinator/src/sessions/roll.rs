//! Who is connected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_engine::coordinator::ToAgent;
use interlock_model::ids::Term;
use interlock_model::names::NodeName;
use interlock_proto::v1;
use interlock_proto::v1::coordinator_message::Message;
use tokio::sync::mpsc::error::TrySendError;
use tonic::Status;

use super::{Outbox, outbound};

/// The sessions that are open now, one a node. Clones are the same sessions.
///
/// The driver alone opens and closes them. Others look at them and speak to agents, where that must not wait for what the
/// driver has to commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<BTreeMap<NodeName, (u64, Outbox)>>>);

impl Sessions {
    /// Takes up a session; an older one of the same node ends. Whether it is another agent's was asked before.
    pub(crate) fn open(&self, node: &NodeName, opened: u64, outbox: Outbox) {
        if let Some((_, older)) = self.lock().insert(node.clone(), (opened, outbox)) {
            older.refuse(Status::aborted("a newer session of this agent was opened"));
        }
    }

    /// Ends the session of a node, if there is one.
    pub(crate) fn end(&self, node: &NodeName, status: Status) {
        if let Some((_, outbox)) = self.lock().remove(node) {
            outbox.refuse(status);
        }
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        self.lock().clear();
    }

    pub(crate) fn is_current(&self, node: &NodeName, opened: u64) -> bool {
        self.lock()
            .get(node)
            .is_some_and(|(current, _)| *current == opened)
    }

    /// Forgets a session if it is the current one.
    pub(crate) fn close(&self, node: &NodeName, opened: u64) -> bool {
        let current = self.is_current(node, opened);
        if current {
            self.lock().remove(node);
        }
        current
    }

    /// Tells an agent that somebody wants to read its logs. False if it is not connected, or does not take its messages.
    pub(crate) fn serve_logs(&self, node: &NodeName, call: u64) -> bool {
        self.say(node, Message::ServeLogs(v1::ServeLogs { call }))
    }

    /// Tells an agent something that is repeated where it matters. False if it is not connected, or does not take its
    /// messages.
    pub(crate) fn say(&self, node: &NodeName, message: Message) -> bool {
        let message = Some(message);
        self.lock()
            .get(node)
            .is_some_and(|(_, outbox)| outbox.send(v1::CoordinatorMessage { message }).is_ok())
    }

    /// Sends a message if there is a session. Returns why the session was ended, if it had to be.
    pub(crate) fn send(&self, to: &NodeName, message: ToAgent, term: Term) -> Option<&'static str> {
        let mut open = self.lock();
        let (_, outbox) = open.get(to)?;
        let reason = match outbox.send(outbound::message(message, term)) {
            Ok(()) => return None,
            Err(TrySendError::Full(_)) => "the agent does not take its messages",
            Err(TrySendError::Closed(_)) => "the connection is gone",
        };
        open.remove(to);
        Some(reason)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, (u64, Outbox)>> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
