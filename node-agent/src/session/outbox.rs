//! What waits to be told to one coordinator.

use std::collections::{BTreeMap, VecDeque};
use std::future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_model::ids::AttemptId;
use interlock_proto::v1;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long it is kept back that an attempt was accepted. Where there is nothing to do, which is common, the end comes
/// within this time also on a machine that is busy with a thousand of them, and says it too: one message less, and one entry
/// less in the journal of the operation. Nobody notices that a longer one is told of so much later.
const LINGER: Duration = Duration::from_millis(100);

/// What waits to be told to one coordinator: per attempt the newest report, answers of power sources and devices, and acts by
/// hand.
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
    reports: BTreeMap<AttemptId, Report>,
    /// Whatever else, oldest first.
    others: VecDeque<v1::agent_message::Message>,
}

#[derive(Debug)]
struct Report {
    report: AttemptReport,
    /// Not to be told before this, unless the session ends.
    due: Instant,
}

impl Waiting {
    /// The first of what is due at `now`.
    fn take(&mut self, now: Instant) -> Option<v1::agent_message::Message> {
        let due = |(id, waiting): (&AttemptId, &Report)| (waiting.due <= now).then(|| id.clone());
        match self.reports.iter().find_map(due) {
            Some(id) => self.reports.remove(&id).map(Report::message),
            None => self.others.pop_front(),
        }
    }
}

impl Report {
    fn message(self) -> v1::agent_message::Message {
        v1::agent_message::Message::Attempt((&self.report).into())
    }
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
        let now = Instant::now();
        let due = match report.state {
            AttemptState::Accepted => now + LINGER,
            _ => now,
        };
        self.fill(|waiting| {
            drop(
                waiting
                    .reports
                    .insert(report.id.clone(), Report { report, due }),
            );
        });
    }

    /// Something that is told as it is, in its turn: an answer, or what people did by hand.
    pub(super) fn say(&self, message: v1::agent_message::Message) {
        self.fill(|waiting| waiting.others.push_back(message));
    }

    /// Waits for something to tell.
    pub(super) async fn next(&self) -> v1::agent_message::Message {
        loop {
            let filled = self.filled.notified();
            let next = {
                let mut waiting = self.lock();
                if let Some(message) = waiting.take(Instant::now()) {
                    return message;
                }
                waiting.reports.values().map(|waiting| waiting.due).min()
            };
            let due = async {
                match next {
                    Some(due) => sleep_until(due).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = filled => {}
                () = due => {}
            }
        }
    }

    /// Something to tell, due or not, if there is anything.
    pub(super) fn pop(&self) -> Option<v1::agent_message::Message> {
        let mut waiting = self.lock();
        match waiting.reports.pop_first() {
            Some((_, report)) => Some(report.message()),
            None => waiting.others.pop_front(),
        }
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

#[cfg(test)]
mod tests {
    use interlock_model::ids::{AttemptNo, OperationId};
    use interlock_model::plan::StepId;
    use interlock_proto::v1::agent_message::Message;

    use super::*;

    fn report(state: AttemptState) -> AttemptReport {
        AttemptReport {
            id: AttemptId {
                operation: OperationId(1),
                step: StepId::new("start:web@web1"),
                attempt: AttemptNo(1),
            },
            state,
            evidence: String::new(),
            repeatable: false,
        }
    }

    fn state(message: &Message) -> AttemptState {
        match message {
            Message::Attempt(told) => AttemptReport::try_from(told).expect("it is whole").state,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_end_that_comes_at_once_says_that_it_was_accepted_too() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.report(report(AttemptState::Accepted));
        outbox.report(report(AttemptState::Done));
        assert_eq!(state(&outbox.next().await), AttemptState::Done);
        assert!(outbox.pop().is_none());
    }

    #[tokio::test]
    async fn what_takes_longer_is_told_to_be_accepted_and_nothing_else_waits_for_it() {
        let outbox = Outbox::default();
        outbox.open();
        let before = Instant::now();
        outbox.report(report(AttemptState::Accepted));
        outbox.say(Message::Power(v1::PowerAnswer::default()));
        assert!(matches!(
            outbox.lock().take(before),
            Some(Message::Power(_))
        ));
        assert!(outbox.lock().take(before).is_none());
        assert_eq!(state(&outbox.next().await), AttemptState::Accepted);
        assert!(Instant::now() >= before + LINGER);

        outbox.report(report(AttemptState::GoingDown));
        let going = outbox.lock().take(Instant::now()).expect("it is told");
        assert_eq!(state(&going), AttemptState::GoingDown);
    }

    #[tokio::test]
    async fn a_session_that_ends_takes_everything_with_it() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.report(report(AttemptState::Accepted));
        let told = outbox.pop().expect("it is told");
        assert_eq!(state(&told), AttemptState::Accepted);
        outbox.close();
        outbox.report(report(AttemptState::Done));
        assert!(outbox.pop().is_none());
    }
}
