//! The agents' end.

use std::time::Duration;

use futures_util::StreamExt as _;
use interlock_mesh::identity::Subject;
use interlock_mesh::server::PeerIdentity;
use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_relay_service_server::LogRelayService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::exchange::{Answers, Requests};
use super::{Exchange, QUEUE, passes};

/// How long an agent has to say which call it answers.
const FIRST: Duration = Duration::from_secs(10);

/// Serves `LogRelayService`.
#[derive(Debug, Clone)]
pub struct Relay {
    exchange: Exchange,
}

impl Relay {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self { exchange }
    }
}

#[tonic::async_trait]
impl LogRelayService for Relay {
    type AnswerLogsStream = ReceiverStream<Result<v1::LogRequest, Status>>;

    async fn answer_logs(
        &self,
        request: Request<Streaming<v1::LogAnswer>>,
    ) -> Result<Response<Self::AnswerLogsStream>, Status> {
        let peer = PeerIdentity::of(request.extensions())?.clone();
        let Subject::Agent(node) = peer.identity().subject() else {
            return Err(Status::permission_denied("only agents answer for logs"));
        };
        let mut said = request.into_inner();
        let first = tokio::time::timeout(FIRST, said.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no number of a call within 10 s"))??;
        let Some(Answer::Serves(number)) = first.and_then(|first| first.answer) else {
            return Err(Status::failed_precondition(
                "the first message must be the number of the call",
            ));
        };
        let (requests, answers) = self.exchange.take(node, number).ok_or_else(|| {
            Status::not_found("nobody waits for this node under that number any more")
        })?;
        let (to_agent, asked) = mpsc::channel(QUEUE);
        tokio::spawn(put_through(requests, to_agent, said, answers));
        Ok(Response::new(ReceiverStream::new(asked)))
    }
}

/// Hands on in both directions until either end has gone.
async fn put_through(
    mut requests: Requests,
    to_agent: mpsc::Sender<Result<v1::LogRequest, Status>>,
    mut said: Streaming<v1::LogAnswer>,
    answers: Answers,
) {
    let asking = async {
        while let Some(request) = requests.recv().await {
            if to_agent.send(Ok(request)).await.is_err() {
                return;
            }
        }
        // No more requests: the agent sees the end, answers what it was asked, and ends.
        drop(to_agent);
        std::future::pending::<()>().await;
    };
    let answering = async {
        loop {
            let answer = match said.next().await {
                Some(Ok(answer)) if passes(&answer) => Ok(answer),
                Some(Ok(_)) => continue,
                Some(Err(status)) => Err(Status::unavailable(format!(
                    "the agent went away in the middle: {}",
                    status.message()
                ))),
                None => return,
            };
            let last = answer.is_err();
            if answers.send(answer).await.is_err() || last {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
        // The caller has gone: the agent is told by the end of both streams.
        () = answers.closed() => {}
    }
}
