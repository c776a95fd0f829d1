//! What waits to be told to one coordinator.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::attempt::{AttemptReport, AttemptState};
use interlock_proto::v1::agent_message::Message;
use tokio::time::Instant;

use super::bell::Bell;

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
    /// Rung when there is something new, due or not.
    bell: Arc<Bell>,
}

#[derive(Debug, Default)]
struct Waiting {
    open: bool,
    /// One of each attempt. There are few at a time.
    reports: Vec<Report>,
    /// Whatever else, oldest first.
    others: VecDeque<Message>,
}

#[derive(Debug)]
struct Report {
    report: AttemptReport,
    /// Not to be told before this, unless the session ends.
    due: Instant,
}

impl Report {
    fn message(self) -> Message {
        Message::Attempt((&self.report).into())
    }
}

impl Outbox {
    /// What wakes whoever tells.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

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
        self.fill(|Waiting { reports, .. }| {
            let report = Report { report, due };
            let same = |it: &&mut Report| it.report.id == report.report.id;
            match reports.iter_mut().find(same) {
                Some(known) => *known = report,
                None => reports.push(report),
            }
        });
    }

    /// Something that is told as it is, in its turn: an answer, or what people did by hand.
    pub(super) fn say(&self, message: Message) {
        self.fill(|waiting| waiting.others.push_back(message));
    }

    /// Takes the first that is due at `now`; returns when more will be. One at a time: what was not sent when the session ends
    /// is still here, to be told at the goodbye.
    pub(super) fn take(&self, now: Instant) -> (Option<Message>, Option<Instant>) {
        let waiting = &mut *self.lock();
        let mut places = waiting.reports.iter();
        let told = match places.position(|report| report.due <= now) {
            Some(at) => Some(waiting.reports.remove(at).message()),
            None => waiting.others.pop_front(),
        };
        let others = (!waiting.others.is_empty()).then_some(now);
        let reports = waiting.reports.iter().map(|waiting| waiting.due);
        (told, reports.chain(others).min())
    }

    /// Takes everything, due or not.
    pub(super) fn drain(&self) -> Vec<Message> {
        let waiting = &mut *self.lock();
        let reports = waiting.reports.drain(..).map(Report::message);
        reports.chain(waiting.others.drain(..)).collect()
    }

    fn fill(&self, fill: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        if waiting.open {
            fill(&mut waiting);
            drop(waiting);
            self.bell.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is complete before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use interlock_model::ids::{AttemptId, AttemptNo, OperationId};
    use interlock_model::plan::StepId;
    use interlock_proto::v1;

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

    /// All that is due, and when more will be.
    fn taken(outbox: &Outbox, at: Instant) -> (Vec<Message>, Option<Instant>) {
        let mut told = Vec::new();
        loop {
            match outbox.take(at) {
                (Some(message), _) => told.push(message),
                (None, later) => return (told, later),
            }
        }
    }

    #[test]
    fn an_end_that_comes_at_once_says_that_it_was_accepted_too() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.report(report(AttemptState::Accepted));
        outbox.report(report(AttemptState::Done));
        assert!(outbox.bell().rung().now_or_never().is_some());
        let (told, later) = taken(&outbox, Instant::now());
        assert_eq!(
            told.iter().map(state).collect::<Vec<_>>(),
            [AttemptState::Done]
        );
        assert_eq!(later, None);
        assert!(outbox.drain().is_empty());
    }

    #[test]
    fn what_takes_longer_is_told_to_be_accepted_and_nothing_else_waits_for_it() {
        let outbox = Outbox::default();
        outbox.open();
        let before = Instant::now();
        outbox.report(report(AttemptState::Accepted));
        outbox.say(Message::Power(v1::PowerAnswer::default()));
        let (told, later) = taken(&outbox, before);
        assert!(matches!(told[..], [Message::Power(_)]), "{told:?}");
        let later = later.expect("the report waits");
        assert!(later >= before + LINGER);
        assert!(taken(&outbox, before).0.is_empty());
        let (told, later) = taken(&outbox, later);
        assert_eq!(
            told.iter().map(state).collect::<Vec<_>>(),
            [AttemptState::Accepted]
        );
        assert_eq!(later, None);

        outbox.report(report(AttemptState::GoingDown));
        let (told, _) = taken(&outbox, Instant::now());
        assert_eq!(
            told.iter().map(state).collect::<Vec<_>>(),
            [AttemptState::GoingDown]
        );
    }

    #[test]
    fn a_session_that_ends_takes_everything_with_it() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.report(report(AttemptState::Accepted));
        let told = outbox.drain();
        assert_eq!(
            told.iter().map(state).collect::<Vec<_>>(),
            [AttemptState::Accepted]
        );
        outbox.report(report(AttemptState::Accepted));
        outbox.close();
        outbox.report(report(AttemptState::Done));
        assert!(outbox.drain().is_empty());
    }
}
