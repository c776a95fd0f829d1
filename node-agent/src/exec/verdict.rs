//! What the exit status of a check command means.

use interlock_model::observation::InstanceState;

use crate::shim::{Ended, Outcome, Status};

/// What a check command says about the service.
///
/// The mapping serves both traditions of such scripts:
///
/// | status | init script (LSB 5.0, section 22.2, `status`) | OCF resource agent (`monitor`) | here |
/// |---|---|---|---|
/// | 0 | running | running | running |
/// | 1 | dead, pid file left | generic error | failed |
/// | 2 | dead, lock file left | bad arguments | failed |
/// | 3 | not running | not implemented | stopped |
/// | 7 | reserved | cleanly stopped | stopped |
/// | 8 | reserved | running, promoted | running |
/// | 9 | reserved | failed, promoted | failed |
/// | else | unknown | configuration, permission, not installed | unknown |
///
/// A signal, the time limit, or no start at all are no answer, and no answer is *unknown* (invariant I5).
#[must_use]
pub(super) fn state_of(ended: &Ended) -> InstanceState {
    match &ended.outcome {
        Outcome::Exited(exit) if exit.timed_out || exit.stopped => InstanceState::Unknown,
        Outcome::Exited(exit) => match exit.status {
            Status::Code(0 | 8) => InstanceState::Running,
            Status::Code(3 | 7) => InstanceState::Stopped,
            Status::Code(1 | 2 | 9) => InstanceState::Failed,
            Status::Code(_) | Status::Signal(_) | Status::NotStarted(_) => InstanceState::Unknown,
        },
        Outcome::Unknown(_) => InstanceState::Unknown,
    }
}
