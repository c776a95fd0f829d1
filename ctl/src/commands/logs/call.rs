//! One call for the logs of one node.

use std::time::Duration;

use anyhow::anyhow;
use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_request::Ask;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::client::Client;
use crate::failure::Failure;

/// How long an answer may take to begin or to go on: a disk that is slow, a directory that is large.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the way to the agent may take: the coordinator waits 10 s for it.
const THERE: Duration = Duration::from_secs(30);

/// A call. Dropping it ends what the agent is doing for it.
#[derive(Debug)]
pub(super) struct Call {
    client: Client,
    doing: String,
    asks: mpsc::Sender<v1::LogRequest>,
    answers: Streaming<v1::LogAnswer>,
    /// An answer was not of the kind that was asked for: whose the next ones are, nobody can tell.
    astray: bool,
}

/// What there is on a node.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Files, journals, and what cannot be read.
    pub(super) entries: Vec<v1::LogFile>,
    /// There is more.
    pub(super) cut: bool,
}

impl Call {
    /// Begins a call by this question.
    pub(super) async fn open(client: &Client, node: &str, ask: Ask) -> Result<Self, Failure> {
        let doing = format!("read the logs of {node}");
        let (asks, requests) = mpsc::channel(1);
        let first = v1::LogRequest {
            node: node.to_owned(),
            ask: Some(ask),
        };
        // There is room for the first.
        drop(asks.try_send(first));
        let mut logs = client.logs();
        let answers = client
            .call(&doing, THERE, logs.read_logs(ReceiverStream::new(requests)))
            .await?;
        Ok(Self {
            client: client.clone(),
            doing,
            asks,
            answers,
            astray: false,
        })
    }

    /// Asks for more, when the last answer has ended.
    pub(super) async fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        let request = v1::LogRequest {
            node: String::new(),
            ask: Some(ask),
        };
        // A call that has ended says why where its answers are read.
        drop(self.asks.send(request).await);
        Ok(())
    }

    /// The next part of an answer, however long it takes; none at the end of the call.
    pub(super) async fn part(&mut self) -> Result<Option<Answer>, Failure> {
        let part = self.answers.message().await;
        let part = part.map_err(|status| self.client.failed(&self.doing, status))?;
        Ok(part.and_then(|part| part.answer))
    }

    /// The next part of an answer that has an end.
    pub(super) async fn next(&mut self) -> Result<Answer, Failure> {
        match tokio::time::timeout(PATIENCE, self.part()).await {
            Ok(part) => part?.ok_or_else(|| {
                Failure::Other(anyhow!(
                    "the call ended before its answer: is the agent of another version?"
                ))
            }),
            Err(_) => {
                let why = format!("nothing more came within {} s", PATIENCE.as_secs());
                Err(self
                    .client
                    .failed(&self.doing, Status::new(Code::DeadlineExceeded, why))
                    .into())
            }
        }
    }

    /// An answer came that is none to the question.
    pub(super) fn out_of_order(&mut self) -> Failure {
        self.astray = true;
        Failure::Refused(
            "the agent answers something else than it was asked: is it of another version?"
                .to_owned(),
        )
    }

    /// Can no further answer be told from another?
    pub(super) fn is_astray(&self) -> bool {
        self.astray
    }

    /// Lets the rest of an answer pass that nobody wants: the next question would get it as its own.
    pub(super) async fn drain(&mut self) -> Result<(), Failure> {
        loop {
            if let Answer::Done(_) | Answer::Refused(_) = self.next().await? {
                return Ok(());
            }
        }
    }

    /// The answer to [`Ask::List`].
    pub(super) async fn listed(&mut self) -> Result<Listed, Failure> {
        let mut listed = Listed::default();
        loop {
            match self.next().await? {
                Answer::File(entry) => listed.entries.push(entry),
                Answer::Done(done) => {
                    return Ok(Listed {
                        cut: done.cut,
                        ..listed
                    });
                }
                Answer::Refused(why) => return Err(Failure::Refused(why)),
                // Of a later version.
                Answer::Begin(_) | Answer::Chunk(_) | Answer::Serves(_) => {}
            }
        }
    }
}
