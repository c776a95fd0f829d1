//! What may be lost.

use std::time::Duration;

use interlock_model::ids::BootId;
use interlock_model::time::Now;

/// What is known of a step in this process only.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    /// The edge that it was last seen to wait for, by its place: if it still does, the others need not be looked at.
    pub(super) edge: Option<usize>,
    /// When its edges were met.
    pub(super) ready: Option<Duration>,
    /// Since when it waits for nothing but a look at the active side.
    pub(super) cleared: Option<Duration>,
    /// On the way back: since when the agent that it needs has not been there.
    pub(super) silent: Option<Duration>,
    /// When its attempt, or its checks, must be through.
    pub(super) deadline: Option<Duration>,
    /// For how long the coordinator did not run since its edges were met.
    pub(super) paused: Duration,
    /// When the first of the attempts that nobody was asked about was dispatched: all of them have one limit together.
    pub(super) first: Option<Duration>,
    /// When its attempt was dispatched or, after a restart, taken over.
    pub(super) began: Option<Duration>,
    /// When its action was proven.
    pub(super) proven: Option<Duration>,
    /// When its checks began to be awaited.
    pub(super) checking: Option<Duration>,
    /// When its checks or its power source were last asked.
    pub(super) asked: Option<Duration>,
    /// The session that last got its attempt or a query for it.
    pub(super) session: Option<Duration>,
    /// It is a person's to do, and must not be done now: `seen` says why.
    pub(super) closed: bool,
    /// It waits for nothing but a person's `next`.
    pub(super) offered: bool,
    /// It is being prepared for being taken back.
    pub(super) undoing: bool,
    /// What it waits for, or the last thing seen.
    pub(super) seen: String,
    /// A reboot: the boot of its machine when its turn came.
    pub(super) boot: Option<BootId>,
    /// Since when nobody knows any more whether a machine is being switched on: its agent said so, or is lost.
    pub(super) unsure: Option<Duration>,
    /// What the agent of a switching said when it could not tell whether it had happened; empty if it could.
    pub(super) said: String,
}

impl Live {
    /// For how long it has been waiting to begin, as far as the coordinator was there to begin it.
    pub(super) fn waited(&self, ready: Duration, now: Now) -> Duration {
        now.since(ready).saturating_sub(self.paused)
    }

    /// The coordinator did not run for so long.
    pub(super) fn forgive(&mut self, pause: Duration) {
        for moment in [&mut self.deadline, &mut self.first, &mut self.silent]
            .into_iter()
            .flatten()
        {
            *moment += pause;
        }
        if self.ready.is_some() {
            self.paused += pause;
        }
    }
}

/// How long an operation, all of whose steps are settled, has been waiting for a word about what they proved.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Since when.
    pub(super) since: Duration,
    /// When the checks were last asked.
    pub(super) asked: Option<Duration>,
    /// For which word.
    pub(super) seen: String,
}
