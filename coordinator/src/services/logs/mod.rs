//! `LogService` and `LogRelayService`: somebody who wants to read logs of a node, and its agent, put through to each other.
//!
//! ```text
//!   caller ──ReadLogs(node)──► waits under a number ──► ServeLogs(number) in the agent's session
//!   agent ──AnswerLogs──► serves(number) ──► the two are joined: requests one way, answers the other
//! ```
//! Nothing of it is kept here. Both ways hold a few messages: who reads slowly slows the other end down, by the flow control
//! of the streams. Whichever end goes away ends the other. Neither the engine nor the store is asked: logs are wanted most
//! when something of these is not well.

mod exchange;
mod relay;

pub(crate) use exchange::Exchange;
pub use relay::Relay;

use std::time::Duration;

use futures_util::StreamExt as _;
use interlock_mesh::reason::{Because as _, Reason};
use interlock_model::names::NodeName;
use interlock_proto::convert::name;
use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_service_server::LogService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::Caller;
use crate::driver::Handle;

/// Messages that wait on their way in each direction of a call.
const QUEUE: usize = 4;

/// How long the agent may take to come: to connect once more.
const COMES: Duration = Duration::from_secs(10);

/// How long the caller may take to say what it wants.
const FIRST: Duration = Duration::from_secs(10);

/// Serves `LogService`.
#[derive(Debug, Clone)]
pub struct Logs {
    driver: Handle,
    exchange: Exchange,
}

impl Logs {
    /// The service over this driver, and the other end of it.
    #[must_use]
    pub fn new(driver: Handle) -> (Self, Relay) {
        let exchange = Exchange::default();
        let relay = Relay::new(exchange.clone());
        (Self { driver, exchange }, relay)
    }

    /// Tells the agent of a node that somebody waits.
    async fn call(&self, node: &NodeName, call: u64) -> Result<(), Status> {
        if self.driver.serve_logs(node.clone(), call).await? {
            return Ok(());
        }
        let about = node.clone();
        let known = self.driver.call(move |desk| {
            let spec = desk.coordinator.applied().map(|applied| &applied.spec);
            let node = spec.and_then(|spec| spec.nodes.get(&about));
            node.map(|node| node.agentless.is_some())
        });
        Err(match known.await? {
            None => Status::not_found(format!(
                "the cluster has no node {node}; see interlockctl status"
            )),
            Some(true) => Status::failed_precondition(format!(
                "no agent runs on {node}, by the spec: its logs can be read on the node alone"
            )),
            Some(false) => Status::unavailable(format!(
                "the agent of {node} is not connected: its logs can be read on the node alone"
            ))
            .because(Reason::AgentAway),
        })
    }
}

#[tonic::async_trait]
impl LogService for Logs {
    type ReadLogsStream = ReceiverStream<Result<v1::LogAnswer, Status>>;

    async fn read_logs(
        &self,
        request: Request<Streaming<v1::LogRequest>>,
    ) -> Result<Response<Self::ReadLogsStream>, Status> {
        let caller = Caller::of(&request)?;
        let mut asked = request.into_inner();
        let first = tokio::time::timeout(FIRST, asked.message())
            .await
            .map_err(|_| Status::deadline_exceeded("nothing was asked within 10 s"))??
            .ok_or_else(|| {
                Status::invalid_argument("nothing is asked: name a node and what to read")
            })?;
        let node: NodeName = name("node", &first.node)?;
        let (to_agent, requests) = mpsc::channel(QUEUE);
        let (answers, from_agent) = mpsc::channel(QUEUE);
        let waiting = self.exchange.wait(node.clone(), requests, answers.clone());
        self.call(&node, waiting.number()).await?;
        info!(by = caller.name, %node, "logs are read");
        tokio::spawn(async move {
            let put_through = tokio::time::timeout(COMES, waiting.taken()).await;
            if !put_through.is_ok_and(|taken| taken) {
                let status = Status::unavailable(format!(
                    "the agent of {node} does not come: it is busy with other readers, or older than this coordinator"
                ));
                // The caller may have gone.
                drop(answers.send(Err(status)).await);
                return;
            }
            // The agent's end holds the other sender: the answers end with it.
            drop(answers);
            if to_agent.send(first).await.is_err() {
                return;
            }
            loop {
                tokio::select! {
                    asked = asked.next() => match asked {
                        Some(Ok(request)) => if to_agent.send(request).await.is_err() {
                            return;
                        },
                        // No more requests; what was asked is answered to the end.
                        Some(Err(_)) | None => return,
                    },
                    // The agent's end has ended.
                    () = to_agent.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(from_agent)))
    }
}

/// An answer on its way to a caller: the number that it began with is between the agent and this coordinator.
fn passes(answer: &v1::LogAnswer) -> bool {
    !matches!(answer.answer, Some(Answer::Serves(_)))
}
