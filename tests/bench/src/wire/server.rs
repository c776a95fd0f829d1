//! The server's side, in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use interlock_mesh::authz::Table;
use interlock_mesh::credentials::{self, Files, system_clock};
use interlock_mesh::identity::Kind;
use interlock_mesh::server::{Options, Server};
use interlock_proto::v1;
use interlock_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::NAME;

type Outgoing = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

/// Serves until standard input ends; every line there is a question, every line on standard output its answer.
pub(crate) async fn serve(directory: &Path) -> Result<()> {
    let files = Files::named(directory, NAME);
    let (_watcher, credentials) = credentials::open(files, Kind::Coordinator, system_clock())?;
    let table = Arc::new(Table::interlock_v1());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(address, credentials, table, Options::default()).await?;
    println!("listening on {}", server.address());
    let (answer, mut answers) = mpsc::unbounded_channel();
    let door = Door {
        streams: Arc::default(),
        answer,
    };
    let routes = Routes::new(AgentServiceServer::new(door.clone()));
    let serving = tokio::spawn(server.serve(routes, std::future::pending()));
    let mut questions = questions();
    while let Some(question) = questions.recv().await {
        match question.as_str() {
            "count" => println!("{}", door.streams().len()),
            "fan" => println!("{}", fan_out(&door, usize::MAX, &mut answers).await?),
            "one" => println!("{}", fan_out(&door, 1, &mut answers).await?),
            other => bail!("{other} is no question"),
        }
    }
    serving.abort();
    Ok(())
}

/// The lines of standard input, read by a thread of its own, since reading blocks.
fn questions() -> mpsc::Receiver<String> {
    let (sender, questions) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    questions
}

/// One dispatch to at most `most` streams; how many nanoseconds until all have answered.
async fn fan_out(
    door: &Door,
    most: usize,
    answers: &mut mpsc::UnboundedReceiver<()>,
) -> Result<u128> {
    let streams: Vec<Outgoing> = door.streams().iter().take(most).cloned().collect();
    let begin = Instant::now();
    for stream in &streams {
        stream
            .try_send(Ok(dispatch()))
            .ok()
            .context("a stream takes nothing")?;
    }
    for _ in &streams {
        answers.recv().await.context("nobody answers any more")?;
    }
    Ok(begin.elapsed().as_nanos())
}

/// A dispatch as long as a real one.
fn dispatch() -> v1::CoordinatorMessage {
    let part = v1::Part {
        part: Some(v1::part::Part::Process("stage".to_owned())),
    };
    let command = v1::InstanceCommand {
        service: "stage".to_owned(),
        parts: vec![part],
    };
    let dispatch = v1::Dispatch {
        term: 1,
        id: Some(v1::AttemptId {
            operation: 1,
            step: "start:stage@n0001".to_owned(),
            attempt: 1,
        }),
        limit_ms: 120_000,
        command: Some(v1::dispatch::Command::Start(command)),
    };
    v1::CoordinatorMessage {
        message: Some(v1::coordinator_message::Message::Dispatch(dispatch)),
    }
}

#[derive(Debug, Clone)]
struct Door {
    streams: Arc<Mutex<Vec<Outgoing>>>,
    answer: mpsc::UnboundedSender<()>,
}

impl Door {
    /// Those that stand: a client that was cut off on a busy machine has come back with another one.
    fn streams(&self) -> MutexGuard<'_, Vec<Outgoing>> {
        // Every change is complete before anything can panic.
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| !stream.is_closed());
        streams
    }
}

#[tonic::async_trait]
impl AgentService for Door {
    type ConnectStream = Pin<Box<ReceiverStream<Result<v1::CoordinatorMessage, Status>>>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut messages = request.into_inner();
        let (sender, receiver) = mpsc::channel(8);
        self.streams().push(sender);
        let answer = self.answer.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if matches!(
                    message.message,
                    Some(v1::agent_message::Message::Attempt(_))
                ) {
                    // The one who asked may be gone.
                    let _ = answer.send(());
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
