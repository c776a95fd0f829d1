//! What a pause of this process itself does not prove.
//!
//! A process that was stopped, or whose machine was paused, finds on waking that much time has passed: deadlines are over,
//! and nobody has been heard. But what agents said meanwhile waits in its sockets, and nothing of it was late. So the time
//! of the pause counts for no deadline, as it would not after a restart, and nobody is called silent before those who spoke
//! had their turn.
//!
//! While the store takes no writes nothing is begun, and nothing that happens can be told: that time counts for no deadline
//! either. Else a step whose intent could not even be kept would be late when the disk has room again.

use std::time::Duration;

use interlock_model::time::Now;

use super::Coordinator;

/// The longest time between two looks at the clock that is no pause. They come several times a second.
const FROZEN: Duration = Duration::from_secs(2);

/// How long agents are heard after a pause before the silent ones are told from the others.
const HEARING: Duration = Duration::from_secs(2);

/// When this process looked at the clock, and what it found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// The last time.
    at: Option<Duration>,
    /// Until then agents are heard after a pause.
    hearing: Option<Duration>,
    /// The store takes no writes.
    held_up: bool,
}

impl Looked {
    /// Is what agents said during a pause still being heard?
    pub(super) fn is_hearing(&self, now: Now) -> bool {
        self.hearing.is_some_and(|until| now.mono < until)
    }
}

impl Coordinator {
    /// From now on the store takes no writes, or takes them again.
    pub fn held_up(&mut self, held_up: bool, now: Now) {
        self.look(now);
        self.looked.held_up = held_up;
    }

    /// Looks at the clock, before anything is concluded from it.
    pub(super) fn look(&mut self, now: Now) {
        let Some(last) = self.looked.at.replace(now.mono) else {
            return;
        };
        let pause = now.since(last);
        let frozen = pause >= FROZEN;
        if frozen || self.looked.held_up {
            for operation in self.operations.values_mut() {
                operation.forgive(pause);
            }
        }
        if !frozen {
            return;
        }
        self.looked.hearing = Some(now.mono + HEARING);
        self.event("coordinator-paused", now, |event| {
            event.text = format!(
                "this coordinator did not run for {:.1} s: its process or its machine was paused; no step is taken for late \
                 because of that",
                pause.as_secs_f64()
            );
        });
    }
}
