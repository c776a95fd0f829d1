//! What was seen of a part, and what that makes of an instance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use interlock_model::action::Part;
use interlock_model::observation::InstanceState;
use interlock_model::time::Timestamp;

/// One look at one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its state.
    pub(super) state: InstanceState,
    /// Since when, for people.
    pub(super) since: Option<Timestamp>,
    /// Since when, on the clock that counts from boot; none if its manager cannot tell.
    pub(super) since_boot: Option<Duration>,
    /// Why, in one line; empty if there is nothing to say.
    pub(super) reason: String,
    /// Who starts it again if it is failed.
    pub(super) restarter: Restarter,
    /// It is unknown what is there, and its manager says that it does not work: to start it again may help.
    pub(super) broken: bool,
    /// It runs, and what looked after it was killed.
    pub(super) orphaned: bool,
}

/// Who starts a part again after a failure. There is one restarter or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarter {
    /// The guard of this agent.
    Guard,
    /// Its own manager: failed, to such a part, means that the manager has given up.
    Manager,
    /// Nobody: it was told to stop, however it ended then, or nothing is known of it.
    Nobody,
}

impl Seen {
    /// Nothing is known, and why.
    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        Self {
            state: InstanceState::Unknown,
            since: None,
            since_boot: None,
            reason: reason.into(),
            restarter: Restarter::Nobody,
            broken: false,
            orphaned: false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == InstanceState::Running
    }

    /// `running since 12:00:00 (pid 4711)`, as evidence.
    pub(super) fn text(&self) -> String {
        let mut text = self.state.to_string();
        if let Some(since) = self.since {
            text.push_str(&format!(" since {}", time(since)));
        }
        if !self.reason.is_empty() {
            text.push_str(&format!(" ({})", self.reason));
        }
        text
    }
}

/// A time for people, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    let moment: SystemTime = UNIX_EPOCH + Duration::from_millis(at.0);
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// What the parts make of the instance: since when and why, too.
///
/// An instance is *running* if every part is, and down if every part is. What is half up is *unknown*, and the reason
/// names the parts: called failed, it would count as down, and what it still uses could be taken from it.
pub(super) fn merge(parts: &[(Part, Seen)]) -> Seen {
    use InstanceState::{Failed, Paused, Running, Starting, Stopped, Stopping, Unknown};
    if let [(_, only)] = parts {
        return only.clone();
    }
    let any = |state| parts.iter().any(|(_, seen)| seen.state == state);
    let all_down = parts.iter().all(|(_, seen)| seen.state.is_down());
    let state = if parts.is_empty() || any(Unknown) {
        Unknown
    } else if any(Stopping) {
        Stopping
    } else if any(Starting) {
        Starting
    } else if all_down {
        if any(Failed) { Failed } else { Stopped }
    } else if any(Failed) || any(Stopped) {
        Unknown
    } else if any(Paused) {
        Paused
    } else {
        Running
    };
    let worth_telling = |(_, seen): &&(Part, Seen)| {
        seen.orphaned || state != Running && (seen.state != Running || state == Unknown)
    };
    let reason: Vec<String> = parts
        .iter()
        .filter(worth_telling)
        .map(|(part, seen)| format!("{part}: {}", seen.text()))
        .collect();
    Seen {
        state,
        since: parts.iter().filter_map(|(_, seen)| seen.since).max(),
        since_boot: parts
            .iter()
            .map(|(_, seen)| seen.since_boot)
            .min()
            .flatten(),
        reason: if parts.is_empty() {
            "it has no parts on this node".to_owned()
        } else {
            reason.join("; ")
        },
        // Parts are restarted one by one; the whole has no restarter of its own.
        restarter: Restarter::Nobody,
        broken: parts.iter().any(|(_, seen)| seen.broken),
        orphaned: parts.iter().any(|(_, seen)| seen.orphaned),
    }
}

#[cfg(test)]
mod tests {
    use InstanceState::{Failed, Running, Starting, Stopped, Stopping, Unknown};

    use super::*;

    fn merged(states: &[InstanceState]) -> InstanceState {
        let part = |(number, state): (usize, &InstanceState)| {
            let part = Part::Systemd {
                unit: format!("{number}.service"),
            };
            (
                part,
                Seen {
                    state: *state,
                    ..Seen::unknown("")
                },
            )
        };
        merge(&states.iter().enumerate().map(part).collect::<Vec<_>>()).state
    }

    #[test]
    fn an_instance_is_up_or_down_only_if_all_of_it_is() {
        for (parts, expected) in [
            (&[Running, Running][..], Running),
            (&[Stopped, Stopped], Stopped),
            (&[Failed, Stopped], Failed),
            (&[Running, Failed], Unknown),
            (&[Running, Stopped], Unknown),
            (&[Running, Starting], Starting),
            (&[Running, Stopping], Stopping),
            (&[Running, Unknown], Unknown),
            (&[Stopped, Unknown], Unknown),
            (&[], Unknown),
        ] {
            assert_eq!(merged(parts), expected, "{parts:?}");
        }
    }
}
