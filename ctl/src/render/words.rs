//! The wire's enumerations as words and tones. What is unspecified is unknown, and unknown is never good.

use interlock_model::action::Power;
use interlock_model::check::Verdict;
use interlock_model::observation::{InstanceState, Liveness, Side};
use interlock_proto::v1;

use super::Tone;

/// A liveness.
pub(crate) fn liveness(wire: i32) -> (String, Tone) {
    let liveness = Liveness::from(v1::Liveness::try_from(wire).unwrap_or_default());
    let tone = match liveness {
        Liveness::Alive => Tone::Good,
        Liveness::Late | Liveness::Unheard => Tone::Doubt,
        Liveness::Lost => Tone::Bad,
        Liveness::Left => Tone::Faint,
    };
    (liveness.to_string(), tone)
}

/// What a power source says.
pub(crate) fn power(wire: i32) -> (String, Tone) {
    let power = Power::from(v1::Power::try_from(wire).unwrap_or_default());
    let tone = match power {
        Power::On => Tone::Good,
        Power::Off => Tone::Faint,
        Power::Unknown => Tone::Doubt,
    };
    (power.to_string(), tone)
}

/// The state of an instance.
pub(crate) fn instance_state(wire: i32) -> (String, Tone) {
    let state = InstanceState::from(v1::InstanceState::try_from(wire).unwrap_or_default());
    let tone = match state {
        InstanceState::Running => Tone::Good,
        InstanceState::Stopped => Tone::Faint,
        InstanceState::Failed => Tone::Bad,
        InstanceState::Starting
        | InstanceState::Stopping
        | InstanceState::Paused
        | InstanceState::Unknown => Tone::Doubt,
    };
    (state.to_string(), tone)
}

/// The side of an instance of a leased service.
pub(crate) fn side(wire: i32) -> String {
    Side::from(v1::Side::try_from(wire).unwrap_or_default()).to_string()
}

/// What a check found.
pub(crate) fn verdict(wire: i32) -> (String, Tone) {
    let verdict = Verdict::from(v1::Verdict::try_from(wire).unwrap_or_default());
    let tone = match verdict {
        Verdict::Ok => Tone::Good,
        Verdict::Bad => Tone::Bad,
        Verdict::Unknown => Tone::Doubt,
    };
    (verdict.to_string(), tone)
}

/// So many of something, by its word for one: `1 step`, `2 steps`.
pub(crate) fn counted(count: impl TryInto<u64>, one: &str) -> String {
    // What does not fit into 64 bits is many.
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    }
}

/// What an instance should be; empty if no operation has ever said so.
pub(crate) fn wanted(wire: i32) -> String {
    match v1::Wanted::try_from(wire).unwrap_or_default() {
        v1::Wanted::Unspecified => String::new(),
        v1::Wanted::Running => "running".to_owned(),
        v1::Wanted::Stopped => "stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_something_is_not_many() {
        assert_eq!(counted(0_usize, "step"), "0 steps");
        assert_eq!(counted(1_u32, "step"), "1 step");
        assert_eq!(counted(2_u64, "step"), "2 steps");
    }
}
