//! The call to the coordinator through which somebody waits.

use interlock_mesh::channel::{self, ConnectError, Target};
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_relay_service_client::LogRelayServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::answer::{self, message};
use super::{Logs, QUEUE};

/// The longest message (`LogRelayService.AnswerLogs`: 64 KiB).
const MAX_MESSAGE: usize = 64 << 10;

/// Why a call is not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The coordinator cannot be reached a second time.
    #[error(transparent)]
    Connect(#[from] Box<ConnectError>),
    /// It does not want the answer.
    #[error("the coordinator does not take the answer: {}", .0.message())]
    Refused(#[from] Status),
}

/// Answers what is asked in a call until whoever asks has gone.
pub(super) async fn serve(logs: &Logs, coordinator: &Target, call: u64) -> Result<(), Error> {
    let channel = channel::connect(coordinator, &logs.0.credentials, &logs.0.channel)
        .await
        .map_err(Box::new)?;
    let mut client = LogRelayServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let (to, answers) = mpsc::channel(QUEUE);
    // There is room for the first.
    drop(to.try_send(message(Answer::Serves(call))));
    let requests = client.answer_logs(ReceiverStream::new(answers)).await?;
    answer::all(logs, requests.into_inner(), to).await;
    Ok(())
}
