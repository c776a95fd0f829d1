//! Sessions with agents: one stream each, turned into the core's words.

mod inbound;
mod outbound;
mod service;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use interlock_engine::coordinator::{Hello, ToAgent};
use interlock_model::ids::Term;
use interlock_model::names::NodeName;
use interlock_proto::v1;
use tokio::sync::mpsc;
use tonic::Status;

pub use service::AgentSessions;

/// How many messages may wait for one agent. An agent that does not take them is as good as gone; what matters is
/// asked for again when it is back.
const OUTBOX: usize = 512;

/// The sending half of a session.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Result<v1::CoordinatorMessage, Status>>);

impl Outbox {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Result<v1::CoordinatorMessage, Status>>) {
        let (sender, receiver) = mpsc::channel(OUTBOX);
        (Self(sender), receiver)
    }

    /// Ends the session, or lets it not begin.
    pub(crate) fn refuse(&self, status: Status) {
        // A session that has ended by now needs no refusal.
        drop(self.0.try_send(Err(status)));
    }

    pub(crate) fn welcome(
        &self,
        coordinator: &str,
        term: Term,
        incarnation: &str,
        heartbeat: Duration,
    ) {
        let welcome = v1::Welcome {
            coordinator: coordinator.to_owned(),
            term: term.0,
            incarnation: incarnation.to_owned(),
            heartbeat_ms: interlock_proto::convert::millis(heartbeat),
        };
        let message = v1::coordinator_message::Message::Welcome(welcome);
        // A session that has ended by now is noticed by its own task.
        drop(self.0.try_send(Ok(v1::CoordinatorMessage {
            message: Some(message),
        })));
    }
}

/// A session that begins.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Whose.
    pub(crate) node: NodeName,
    /// Which one: sessions of this process are counted.
    pub(crate) number: u64,
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// The sending half.
    pub(crate) outbox: Outbox,
    /// What the agent said first.
    pub(crate) hello: Box<Hello>,
    /// What it said of its machine.
    pub(crate) facts: v1::Facts,
}

/// The sessions that are open now, one a node.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: BTreeMap<NodeName, (u64, Outbox)>,
}

impl Sessions {
    /// Takes up a session; an older one of the same node ends. Whether it is another agent's was asked before.
    pub(crate) fn open(&mut self, node: &NodeName, opened: u64, outbox: Outbox) {
        if let Some((_, older)) = self.open.insert(node.clone(), (opened, outbox)) {
            drop(older.0.try_send(Err(Status::aborted(
                "a newer session of this agent was opened",
            ))));
        }
    }

    /// Ends the session of a node, if there is one.
    pub(crate) fn end(&mut self, node: &NodeName, status: Status) {
        if let Some((_, outbox)) = self.open.remove(node) {
            outbox.refuse(status);
        }
    }

    pub(crate) fn is_current(&self, node: &NodeName, opened: u64) -> bool {
        self.open
            .get(node)
            .is_some_and(|(current, _)| *current == opened)
    }

    /// Forgets a session if it is the current one.
    pub(crate) fn close(&mut self, node: &NodeName, opened: u64) -> bool {
        let current = self.is_current(node, opened);
        if current {
            self.open.remove(node);
        }
        current
    }

    /// Tells an agent that somebody wants to read its logs. False if it is not connected, or does not take its messages.
    pub(crate) fn serve_logs(&self, node: &NodeName, call: u64) -> bool {
        let message = v1::coordinator_message::Message::ServeLogs(v1::ServeLogs { call });
        self.open.get(node).is_some_and(|(_, outbox)| {
            let message = Some(message);
            outbox
                .0
                .try_send(Ok(v1::CoordinatorMessage { message }))
                .is_ok()
        })
    }

    /// Sends a message if there is a session. Returns why the session was ended, if it had to be.
    pub(crate) fn send(
        &mut self,
        to: &NodeName,
        message: ToAgent,
        term: Term,
    ) -> Option<&'static str> {
        let (_, outbox) = self.open.get(to)?;
        let reason = match outbox.0.try_send(Ok(outbound::message(message, term))) {
            Ok(()) => return None,
            Err(mpsc::error::TrySendError::Full(_)) => "the agent does not take its messages",
            Err(mpsc::error::TrySendError::Closed(_)) => "the connection is gone",
        };
        self.open.remove(to);
        Some(reason)
    }
}
