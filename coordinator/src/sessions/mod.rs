//! Sessions with agents: one stream each, turned into the core's words.

mod inbound;
mod outbound;
mod roll;
mod service;

use std::net::SocketAddr;
use std::time::Duration;

use interlock_engine::coordinator::Hello;
use interlock_model::ids::Term;
use interlock_model::names::NodeName;
use interlock_model::time::Timestamp;
use interlock_proto::v1;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tonic::Status;

pub(crate) use roll::Sessions;
pub use service::AgentSessions;

/// How many messages may wait for one agent. An agent that does not take them is as good as gone; what matters is
/// asked for again when it is back.
const OUTBOX: usize = 512;

/// What is sent in a session. Boxed, because queues of them are long rows of places of the largest size, and cold: one for
/// each agent.
type Said = Box<Result<v1::CoordinatorMessage, Status>>;

/// The sending half of a session.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Said>);

impl Outbox {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Said>) {
        let (sender, receiver) = mpsc::channel(OUTBOX);
        (Self(sender), receiver)
    }

    /// Sends a message, if there is room for it.
    pub(crate) fn send(&self, message: v1::CoordinatorMessage) -> Result<(), TrySendError<()>> {
        let sent = self.0.try_send(Box::new(Ok(message)));
        sent.map_err(|error| match error {
            TrySendError::Full(_) => TrySendError::Full(()),
            TrySendError::Closed(_) => TrySendError::Closed(()),
        })
    }

    /// Ends the session, or lets it not begin.
    pub(crate) fn refuse(&self, status: Status) {
        // A session that has ended by now needs no refusal.
        drop(self.0.try_send(Box::new(Err(status))));
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
        let _ = self.send(v1::CoordinatorMessage {
            message: Some(message),
        });
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
    /// When the certificate ends that it showed.
    pub(crate) certificate_ends: Timestamp,
}
