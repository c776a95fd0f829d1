//! What waits to be told to one coordinator.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use interlock_model::attempt::AttemptReport;
use interlock_model::ids::AttemptId;
use interlock_proto::v1;
use tokio::sync::Notify;

/// What waits to be told to one coordinator: per attempt the newest report, and answers of power sources and devices.
///
/// Only the newest report counts, because each one says everything. While there is no session nothing is kept: the
/// next hello tells it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    open: bool,
    reports: BTreeMap<AttemptId, AttemptReport>,
    power: Vec<v1::agent_message::Message>,
}

impl Outbox {
    /// A session begins: what happens from now on is kept.
    pub(super) fn open(&self) {
        *self.lock() = Waiting {
            open: true,
            ..Waiting::default()
        };
    }

    /// The session is over.
    pub(super) fn close(&self) {
        *self.lock() = Waiting::default();
    }

    pub(super) fn report(&self, report: AttemptReport) {
        self.fill(|waiting| drop(waiting.reports.insert(report.id.clone(), report)));
    }

    pub(super) fn power(&self, answer: v1::agent_message::Message) {
        self.fill(|waiting| waiting.power.push(answer));
    }

    /// Waits for something to tell.
    pub(super) async fn next(&self) -> v1::agent_message::Message {
        loop {
            let filled = self.filled.notified();
            if let Some(message) = self.pop() {
                return message;
            }
            filled.await;
        }
    }

    /// Something to tell, if there is anything now.
    pub(super) fn pop(&self) -> Option<v1::agent_message::Message> {
        use v1::agent_message::Message;
        let mut waiting = self.lock();
        if let Some((_, report)) = waiting.reports.pop_first() {
            return Some(Message::Attempt((&report).into()));
        }
        waiting.power.pop()
    }

    fn fill(&self, fill: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        if waiting.open {
            fill(&mut waiting);
            drop(waiting);
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is complete before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
