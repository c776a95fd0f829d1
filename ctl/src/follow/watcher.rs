//! A watch of one operation that survives its connection.

use std::time::Duration;

use interlock_mesh::backoff::{Attempts, Backoff, SystemRandom};
use interlock_proto::v1;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::client::{Client, Coordinators};
use crate::failure::Failure;

/// A coordinator answers the first message at once; with none by then it is stuck.
const FIRST: Duration = Duration::from_secs(10);

/// What a watcher hears.
pub(super) enum News {
    /// The operation, as it is now.
    Operation(Box<v1::Operation>),
    /// The connection is gone, and why. Said once, however many tries follow.
    Lost(String),
    /// There is a connection again.
    Back(Box<Client>),
    /// It is of no use to try again.
    Failed(Failure),
}

/// Watches, and connects again when the connection ends.
pub(super) struct Watcher {
    coordinators: Coordinators,
    client: Option<Client>,
    operation: String,
    news: mpsc::Sender<News>,
}

/// Why one watch ended.
enum Ended {
    /// The operation is over, or nobody listens any more.
    Over,
    /// The connection broke; another one may do.
    Broken(String),
    /// Another connection would not help.
    Failed(Failure),
}

impl Watcher {
    /// A watcher that begins with a connection which is there.
    pub(super) fn new(
        coordinators: Coordinators,
        client: Client,
        operation: String,
        news: mpsc::Sender<News>,
    ) -> Self {
        Self {
            coordinators,
            client: Some(client),
            operation,
            news,
        }
    }

    /// Watches until the operation is over.
    pub(super) async fn run(mut self) {
        let mut random = SystemRandom::new();
        let mut attempts = Attempts::new(Backoff::CONNECT);
        let mut lost = false;
        loop {
            let ended = match self.client.take() {
                Some(client) => self.watch(client, &mut lost, &mut attempts).await,
                None => match self.coordinators.connect().await {
                    Ok(client) => {
                        self.client = Some(client);
                        continue;
                    }
                    Err(failure) if failure.is_transient() => Ended::Broken(failure.to_string()),
                    Err(failure) => Ended::Failed(failure.into()),
                },
            };
            match ended {
                Ended::Over => return,
                Ended::Failed(failure) => {
                    drop(self.news.send(News::Failed(failure)).await);
                    return;
                }
                Ended::Broken(why) => {
                    if !lost {
                        lost = true;
                        if self.news.send(News::Lost(why)).await.is_err() {
                            return;
                        }
                    }
                    tokio::time::sleep(attempts.next_wait(&mut random)).await;
                }
            }
        }
    }

    async fn watch(&self, client: Client, lost: &mut bool, attempts: &mut Attempts) -> Ended {
        let request = v1::GetOperationRequest {
            operation: self.operation.clone(),
            brief: false,
        };
        let mut operations = client.operations();
        let opening = timeout(FIRST, operations.watch_operation(request)).await;
        let mut stream = match opening {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return self.ended(&client, status),
            Err(_) => return Ended::Broken(format!("{} does not answer", client.address())),
        };
        loop {
            match next(&mut stream).await {
                Ok(Some(operation)) => {
                    attempts.reset();
                    if std::mem::take(lost)
                        && self
                            .news
                            .send(News::Back(Box::new(client.clone())))
                            .await
                            .is_err()
                    {
                        return Ended::Over;
                    }
                    let over = is_over(&operation);
                    let sent = self.news.send(News::Operation(Box::new(operation))).await;
                    if over || sent.is_err() {
                        return Ended::Over;
                    }
                }
                Ok(None) => return Ended::Broken(format!("{} stopped", client.address())),
                Err(status) => return self.ended(&client, status),
            }
        }
    }

    fn ended(&self, client: &Client, status: Status) -> Ended {
        let failure = client.failed(&format!("watch {}", self.operation), status);
        if failure.is_transient() {
            Ended::Broken(format!("{} went away", client.address()))
        } else {
            Ended::Failed(failure.into())
        }
    }
}

async fn next(stream: &mut Streaming<v1::Operation>) -> Result<Option<v1::Operation>, Status> {
    stream.message().await
}

fn is_over(operation: &v1::Operation) -> bool {
    let state = operation
        .summary
        .as_ref()
        .map_or("", |it| it.state.as_str());
    matches!(state, "done" | "aborted" | "unwound")
}
