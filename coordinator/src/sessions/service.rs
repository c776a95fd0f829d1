//! `AgentService`: the agents' door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::Map;
use interlock_mesh::identity::Subject;
use interlock_mesh::server::PeerIdentity;
use interlock_model::names::NodeName;
use interlock_model::time::Timestamp;
use interlock_proto::v1::agent_message::Message;
use interlock_proto::v1::agent_service_server::AgentService;
use interlock_proto::{PROTOCOL, v1};
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::{Opening, Outbox, Outgoing, Said, inbound};
use crate::driver::Handle;
use crate::leases::Leases;

/// How long an agent has for its hello.
const HELLO: Duration = Duration::from_secs(10);

/// Takes sessions of agents to the driver.
#[derive(Debug, Clone)]
pub struct AgentSessions {
    driver: Handle,
    leases: Leases,
    counter: Arc<AtomicU64>,
}

impl AgentSessions {
    /// Sessions for this driver; what agents say of leases goes straight to these.
    #[must_use]
    pub fn new(driver: Handle, leases: Leases) -> Self {
        Self {
            driver,
            leases,
            counter: Arc::new(AtomicU64::new(0)),
        }
    }

    async fn hello(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Begun, Status> {
        let peer = PeerIdentity::of(request.extensions())?.clone();
        let Subject::Agent(node) = peer.identity().subject().clone() else {
            return Err(Status::permission_denied("only agents have sessions"));
        };
        let mut messages = request.into_inner();
        let first = tokio::time::timeout(HELLO, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello within 10 s"))??;
        let Some(Message::Hello(hello)) = first.and_then(|message| message.message) else {
            return Err(Status::failed_precondition(
                "the first message of a session must be a hello",
            ));
        };
        if hello.node != node.as_str() {
            return Err(Status::permission_denied(format!(
                "the certificate is that of {node}, the hello is that of {}: give each agent its own certificate",
                hello.node
            )));
        }
        if hello.protocol != PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "the agent of {node} speaks protocol {}, this coordinator {PROTOCOL}: update the older one",
                hello.protocol
            )));
        }
        Ok(Begun {
            node,
            address: peer.address(),
            messages,
            hello: Box::new(inbound::hello(&hello)?),
            facts: hello.facts.unwrap_or_default(),
            certificate_ends: ends(peer.not_after()),
        })
    }
}

struct Begun {
    node: NodeName,
    address: SocketAddr,
    messages: Streaming<v1::AgentMessage>,
    hello: Box<interlock_engine::coordinator::Hello>,
    facts: v1::Facts,
    certificate_ends: Timestamp,
}

/// In milliseconds since 1970.
fn ends(at: SystemTime) -> Timestamp {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[tonic::async_trait]
impl AgentService for AgentSessions {
    type ConnectStream = Map<Outgoing, fn(Said) -> Result<v1::CoordinatorMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let Begun {
            node,
            address,
            messages,
            hello,
            facts,
            certificate_ends,
        } = self
            .hello(request)
            .await
            .inspect_err(|status| warn!(reason = status.message(), "session refused"))?;
        let (outbox, outgoing) = Outbox::new();
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.driver
            .opened(Opening {
                node: node.clone(),
                number,
                address,
                outbox,
                hello,
                facts,
                certificate_ends,
            })
            .await?;
        let (driver, leases) = (self.driver.clone(), self.leases.clone());
        tokio::spawn(receive(driver, leases, node, number, messages));
        Ok(Response::new(outgoing.map(|said| *said)))
    }
}

/// Hands on what the agent says until the stream ends, for whatever reason.
async fn receive(
    driver: Handle,
    leases: Leases,
    node: NodeName,
    opened: u64,
    mut messages: Streaming<v1::AgentMessage>,
) {
    let reason = loop {
        let message = match messages.next().await {
            Some(Ok(message)) => message,
            Some(Err(status)) => break status.message().to_owned(),
            None => break "closed by the agent".to_owned(),
        };
        if let Some(Message::LogShare(share)) = &message.message {
            let trouble = inbound::line(&share.trouble);
            if driver
                .log_share(node.clone(), opened, trouble)
                .await
                .is_err()
            {
                return;
            }
            continue;
        }
        if let Some(Message::Lease(report)) = &message.message {
            leases.heard(&node, opened, report);
            continue;
        }
        match inbound::message(message) {
            Ok(Some(message)) => {
                if driver.agent(node.clone(), opened, message).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(invalid) => warn!(%node, %invalid, "a message of an agent was dropped"),
        }
    };
    info!(%node, reason, "session ended");
    // The driver is gone only when this process is about to end.
    driver.closed(node, opened).await.ok();
}
