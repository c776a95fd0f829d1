//! The attempts that are being carried out, each in a task of its own.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use interlock_engine::agent::Peer;
use interlock_engine::agent::ledger::{Greeting, Outcome};
use interlock_model::action::Command;
use interlock_model::attempt::AttemptReport;
use interlock_model::ids::AttemptId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::desk::NotTaken;
use super::evidence::line;
use super::{Attempt, Clock};

/// Something happened to an open attempt.
#[derive(Debug)]
pub(super) enum Happened {
    GoingDown { id: AttemptId, evidence: String },
    Finished { id: AttemptId, outcome: Outcome },
}

/// The attempts that are being carried out, and who waits for them.
pub(super) struct Open {
    pub(super) happened: mpsc::UnboundedReceiver<Box<Happened>>,
    tell: mpsc::UnboundedSender<Box<Happened>>,
    tasks: JoinSet<()>,
    pub(super) cancels: BTreeMap<AttemptId, watch::Sender<bool>>,
    pub(super) by_hand: BTreeMap<AttemptId, oneshot::Sender<Result<AttemptReport, NotTaken>>>,
    pub(super) greetings: BTreeMap<Peer, oneshot::Sender<Greeting>>,
}

impl Open {
    pub(super) fn new() -> Self {
        // Bounded by what feeds it: every open attempt tells at most two things.
        let (tell, happened) = mpsc::unbounded_channel();
        Self {
            happened,
            tell,
            tasks: JoinSet::new(),
            cancels: BTreeMap::new(),
            by_hand: BTreeMap::new(),
            greetings: BTreeMap::new(),
        }
    }

    /// An attempt that begins, or that an earlier process began.
    pub(super) fn attempt(
        &mut self,
        id: AttemptId,
        command: Command,
        accepted: Duration,
        limit: Duration,
        earlier_boot: bool,
    ) -> Attempt {
        let (cancel, cancelled) = watch::channel(false);
        self.cancels.insert(id.clone(), cancel);
        // The clock of an earlier boot says nothing in this one: there is no time left.
        let due = if earlier_boot {
            Duration::ZERO
        } else {
            accepted.saturating_add(limit)
        };
        Attempt {
            id,
            command,
            accepted,
            earlier_boot,
            deadline: Clock.instant(due),
            cancelled,
            happened: self.tell.clone(),
        }
    }

    /// An attempt has told its outcome. Its task ends with that, or is found to have ended at a later one.
    pub(super) fn ended(&mut self, id: &AttemptId) {
        self.cancels.remove(id);
        while self.tasks.try_join_next().is_some() {}
    }

    /// Carries an attempt out in a task of its own and tells its outcome, come what may.
    pub(super) fn watch<F>(
        &mut self,
        attempt: Attempt,
        carry_out: impl FnOnce(Attempt) -> F + Send + 'static,
    ) where
        F: Future<Output = Outcome> + Send,
    {
        let id = attempt.id.clone();
        let tell = self.tell.clone();
        self.tasks.spawn(async move {
            let outcome = AssertUnwindSafe(carry_out(attempt))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    let evidence =
                        "the agent failed while it worked on this; see its log".to_owned();
                    Outcome::Unknown {
                        evidence,
                        repeatable: false,
                    }
                });
            // Without a desk the next start finds out.
            let _ = tell.send(Box::new(Happened::Finished { id, outcome }));
        });
    }
}

/// The outcome with evidence of one line.
pub(super) fn short(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Done { evidence } => Outcome::Done {
            evidence: line(&evidence),
        },
        Outcome::Failed { evidence } => Outcome::Failed {
            evidence: line(&evidence),
        },
        Outcome::Unknown {
            evidence,
            repeatable,
        } => Outcome::Unknown {
            evidence: line(&evidence),
            repeatable,
        },
    }
}
