//! Sessions with agents: one stream each, turned into the core's words.

mod inbound;
mod outbound;
mod roll;
mod service;

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use interlock_engine::coordinator::Hello;
use interlock_model::ids::Term;
use interlock_model::names::NodeName;
use interlock_model::time::Timestamp;
use interlock_proto::v1;
use interlock_proto::v1::coordinator_message::Message;
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
pub(crate) struct Outbox {
    /// What overtakes the rest: words of leases, of which none that comes late counts, and the welcome before them.
    first: mpsc::Sender<Said>,
    rest: mpsc::Sender<Said>,
}

/// What is to be sent in a session, in this order.
#[derive(Debug)]
pub struct Outgoing {
    first: mpsc::Receiver<Said>,
    rest: mpsc::Receiver<Said>,
}

impl Stream for Outgoing {
    type Item = Said;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Said>> {
        let this = self.get_mut();
        match this.first.poll_recv(context) {
            Poll::Ready(Some(said)) => Poll::Ready(Some(said)),
            // Both end together.
            Poll::Ready(None) | Poll::Pending => this.rest.poll_recv(context),
        }
    }
}

impl Outbox {
    pub(crate) fn new() -> (Self, Outgoing) {
        let (to_first, first) = mpsc::channel(OUTBOX);
        let (to_rest, rest) = mpsc::channel(OUTBOX);
        let outbox = Self {
            first: to_first,
            rest: to_rest,
        };
        (outbox, Outgoing { first, rest })
    }

    /// Sends a message, if there is room for it.
    pub(crate) fn send(&self, message: v1::CoordinatorMessage) -> Result<(), TrySendError<()>> {
        let queue = match message.message {
            Some(Message::Lease(_) | Message::Welcome(_)) => &self.first,
            _ => &self.rest,
        };
        let sent = queue.try_send(Box::new(Ok(message)));
        sent.map_err(|error| match error {
            TrySendError::Full(_) => TrySendError::Full(()),
            TrySendError::Closed(_) => TrySendError::Closed(()),
        })
    }

    /// Ends the session, or lets it not begin.
    pub(crate) fn refuse(&self, status: Status) {
        // A session that has ended by now needs no refusal.
        drop(self.rest.try_send(Box::new(Err(status))));
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
        let message = Message::Welcome(welcome);
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

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_said_of_a_lease_overtakes_steps_and_nothing_overtakes_the_welcome() {
        let (outbox, mut outgoing) = Outbox::new();
        let says = |message| v1::CoordinatorMessage {
            message: Some(message),
        };
        outbox.welcome("mgmt1", Term(1), "store", Duration::from_secs(1));
        for _ in 0..2 {
            let step = Message::Dispatch(v1::Dispatch::default());
            outbox.send(says(step)).unwrap();
        }
        let renewed = Message::Lease(v1::LeaseWord::default());
        outbox.send(says(renewed)).unwrap();
        drop(outbox);
        let mut order = Vec::new();
        while let Some(said) = outgoing.next().await {
            order.push(match said.unwrap().message {
                Some(Message::Welcome(_)) => "welcome",
                Some(Message::Lease(_)) => "lease",
                _ => "step",
            });
        }
        assert_eq!(order, ["welcome", "lease", "step", "step"]);
    }
}
