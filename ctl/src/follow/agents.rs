//! How the agents are: the operation does not tell, and a step whose agent is lost hangs.
//!
//! Each answer also says that the coordinator is still there. The watch of an operation does not: it is silent while nothing
//! changes, for hours where a person is waited for.

use std::time::Duration;

use interlock_proto::v1;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, SHORT};

/// How often a coordinator is asked. The answer tells of every node, so it is asked for no more than a person needs.
const PERIOD: Duration = Duration::from_secs(2);

/// Asks a coordinator from time to time, one question at a time.
#[derive(Debug)]
pub(super) struct Agents {
    asked: JoinSet<Option<v1::Status>>,
    due: Instant,
}

impl Agents {
    pub(super) fn new() -> Self {
        Self {
            asked: JoinSet::new(),
            due: Instant::now(),
        }
    }

    /// Asks, if it is time and the last question is answered.
    pub(super) fn ask(&mut self, client: &Client) {
        if !self.asked.is_empty() || Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + PERIOD;
        let client = client.clone();
        self.asked.spawn(async move {
            let mut cluster = client.cluster();
            let request = v1::GetStatusRequest {};
            let status = client.call("read the status", SHORT, cluster.get_status(request));
            status.await.ok()
        });
    }

    /// The next answer; none if there was none. For ever if nothing was asked.
    pub(super) async fn answer(&mut self) -> Option<v1::Status> {
        match self.asked.join_next().await {
            Some(answer) => answer.ok().flatten(),
            None => std::future::pending().await,
        }
    }
}
