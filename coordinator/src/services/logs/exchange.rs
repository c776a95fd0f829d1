//! Callers that wait for an agent, by number.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use interlock_model::names::NodeName;
use interlock_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// What a caller asks.
pub(super) type Requests = mpsc::Receiver<v1::LogRequest>;

/// The way back to it.
pub(super) type Answers = mpsc::Sender<Result<v1::LogAnswer, Status>>;

/// Where callers wait. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchange(Arc<Mutex<Desk>>);

#[derive(Debug, Default)]
struct Desk {
    last: u64,
    waiting: BTreeMap<u64, Line>,
}

#[derive(Debug)]
struct Line {
    node: NodeName,
    requests: Requests,
    answers: Answers,
    taken: oneshot::Sender<()>,
}

/// A caller that waits; one that is dropped waits no longer.
#[derive(Debug)]
pub(super) struct Waiting {
    exchange: Exchange,
    number: u64,
    taken: Option<oneshot::Receiver<()>>,
}

impl Exchange {
    /// Waits for the agent of a node.
    pub(super) fn wait(&self, node: NodeName, requests: Requests, answers: Answers) -> Waiting {
        let (tell, taken) = oneshot::channel();
        let mut desk = self.lock();
        desk.last += 1;
        let number = desk.last;
        desk.waiting.insert(
            number,
            Line {
                node,
                requests,
                answers,
                taken: tell,
            },
        );
        drop(desk);
        Waiting {
            exchange: self.clone(),
            number,
            taken: Some(taken),
        }
    }

    /// The agent of a node takes the call of this number: none if nobody waits for that node under it.
    pub(super) fn take(&self, node: &NodeName, number: u64) -> Option<(Requests, Answers)> {
        let mut desk = self.lock();
        if desk
            .waiting
            .get(&number)
            .is_none_or(|line| line.node != *node)
        {
            return None;
        }
        let line = desk.waiting.remove(&number)?;
        // Who has just given up drops its ends, which the agent notices.
        let _ = line.taken.send(());
        Some((line.requests, line.answers))
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        // Every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The number that the agent is told.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the agent has come.
    pub(super) async fn taken(mut self) -> bool {
        match self.taken.take() {
            Some(taken) => taken.await.is_ok(),
            None => false,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.exchange.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (Requests, Answers) {
        (mpsc::channel(1).1, mpsc::channel(1).0)
    }

    #[tokio::test]
    async fn a_call_is_taken_once_and_by_the_agent_of_its_node_alone() {
        let exchange = Exchange::default();
        let (web, db): (NodeName, NodeName) = ("web1".parse().unwrap(), "db1".parse().unwrap());
        let (requests, answers) = ends();
        let waiting = exchange.wait(web.clone(), requests, answers);
        let number = waiting.number();
        assert!(exchange.take(&db, number).is_none(), "another node's agent");
        assert!(exchange.take(&web, number + 1).is_none(), "another number");
        assert!(exchange.take(&web, number).is_some());
        assert!(exchange.take(&web, number).is_none(), "a second time");
        assert!(waiting.taken().await);
    }

    #[test]
    fn who_gives_up_is_not_waited_for_any_more() {
        let exchange = Exchange::default();
        let web: NodeName = "web1".parse().unwrap();
        let (requests, answers) = ends();
        let waiting = exchange.wait(web.clone(), requests, answers);
        let number = waiting.number();
        drop(waiting);
        assert!(exchange.take(&web, number).is_none());
    }
}
