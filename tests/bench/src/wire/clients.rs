//! The clients' side, in this process.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_mesh::channel::{self, Target};
use interlock_mesh::credentials::Credentials;
use interlock_model::names::NodeName;
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message;
use interlock_proto::v1::agent_service_client::AgentServiceClient;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;

use crate::body::Work;
use crate::runner::COMMAND;

/// How long a client waits before it tries again.
const AGAIN: Duration = Duration::from_millis(200);

/// Streams that stand until this value is dropped.
#[derive(Debug)]
pub(crate) struct Clients {
    _tasks: JoinSet<()>,
}

impl Clients {
    /// Opens a stream for each; with a period each says a heartbeat that often. Asked for something, each does this work.
    pub(crate) fn start(
        members: Vec<(NodeName, Credentials)>,
        target: &Target,
        heartbeat: Option<Duration>,
        work: Work,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for (_, credentials) in members {
            let target = target.clone();
            tasks.spawn(async move {
                // A thousand at once are more than a busy machine accepts at the first try.
                while client(&target, &credentials, heartbeat, work)
                    .await
                    .is_err()
                {
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Self { _tasks: tasks }
    }
}

async fn client(
    target: &Target,
    credentials: &Credentials,
    heartbeat: Option<Duration>,
    work: Work,
) -> Result<()> {
    let channel = channel::connect(target, credentials, &channel::Options::default()).await?;
    let (outgoing, stream) = mpsc::channel(4);
    let mut client = AgentServiceClient::new(channel);
    let mut incoming = client
        .connect(ReceiverStream::new(stream))
        .await?
        .into_inner();
    let mut beat = heartbeat.map(tokio::time::interval);
    if let Some(beat) = &mut beat {
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut sequence = 0;
    loop {
        let tick = async {
            match &mut beat {
                Some(beat) => drop(beat.tick().await),
                None => std::future::pending().await,
            }
        };
        let say = tokio::select! {
            received = incoming.message() => match received?.and_then(|received| received.message) {
                Some(v1::coordinator_message::Message::Dispatch(dispatch)) => {
                    if work == Work::Process {
                        let status = Command::new(COMMAND).status().await?;
                        ensure!(status.success(), "{COMMAND}: {status}");
                    }
                    answer(dispatch)
                }
                _ => return Ok(()),
            },
            () = tick => {
                sequence += 1;
                Message::Heartbeat(v1::Heartbeat { sequence })
            }
        };
        outgoing
            .send(v1::AgentMessage { message: Some(say) })
            .await?;
    }
}

fn answer(dispatch: v1::Dispatch) -> Message {
    Message::Attempt(v1::AttemptReport {
        id: dispatch.id,
        state: v1::AttemptState::Done.into(),
        evidence: "nothing to do".to_owned(),
        repeatable: false,
        at_ms: 0,
    })
}
