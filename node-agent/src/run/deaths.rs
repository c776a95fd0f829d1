//! Which change between two looks at an instance is a death.

use interlock_engine::agent::guard::Death;
use interlock_model::action::Part;
use interlock_model::observation::InstanceState;

use super::seen::{Restarter, Seen};

/// What is failed at the first look: is that a death?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unseen {
    /// It failed while nobody looked.
    Counts,
    /// A unit or a command may be failed since the boot, or never have been started since: only a process has a run that
    /// tells that it was started in this boot. In an exclusive service it may be primary elsewhere by now.
    CountsOfProcesses,
}

/// Has a part gone down since the last look?
pub(super) fn deaths(
    unseen: Unseen,
    last: &[Option<InstanceState>],
    parts: &[(Part, Seen)],
) -> Option<Death> {
    let mut clean = None;
    let mut given_up = None;
    for (last, (part, seen)) in last.iter().zip(parts) {
        let was_up = last.is_some_and(|last| !last.is_down());
        let unseen = unseen == Unseen::Counts || matches!(part, Part::Process { .. });
        let news = was_up || (last.is_none() && unseen);
        match (seen.state, seen.restarter) {
            (InstanceState::Failed, Restarter::Guard) if news => {
                return Some(Death::Failure(format!("{part} failed: {}", seen.reason)));
            }
            (InstanceState::Failed, Restarter::Manager) if news => {
                given_up = Some(Death::GivenUp(format!("{part} failed: {}", seen.reason)));
            }
            (InstanceState::Stopped, _) | (InstanceState::Failed, Restarter::Nobody) if was_up => {
                clean = Some(Death::Clean(format!("{part} stopped: {}", seen.reason)));
            }
            (InstanceState::Unknown, Restarter::Guard) if seen.broken && was_up => {
                return Some(Death::Failure(format!("{part} is broken: {}", seen.reason)));
            }
            _ => {}
        }
    }
    given_up.or(clean)
}

#[cfg(test)]
mod tests {
    use InstanceState::{Failed, Running, Starting, Stopped, Unknown};

    use super::*;

    fn death(
        last: Option<InstanceState>,
        now: InstanceState,
        restarter: Restarter,
    ) -> Option<Death> {
        let part = Part::Systemd {
            unit: "a.service".into(),
        };
        deaths(
            Unseen::Counts,
            &[last],
            &[(
                part,
                Seen {
                    state: now,
                    restarter,
                    ..Seen::unknown("why")
                },
            )],
        )
    }

    #[test]
    fn a_death_is_a_change_to_down_or_a_failure_that_nobody_saw() {
        let death = |last, now| death(last, now, Restarter::Guard);
        assert!(matches!(
            death(Some(Running), Failed),
            Some(Death::Failure(_))
        ));
        assert!(matches!(death(None, Failed), Some(Death::Failure(_))));
        assert!(matches!(
            death(Some(Running), Stopped),
            Some(Death::Clean(_))
        ));
        for (last, now) in [
            (Some(Failed), Failed),
            (None, Stopped),
            (Some(Running), Unknown),
            (Some(Stopped), Stopped),
        ] {
            assert_eq!(death(last, now), None, "{last:?} -> {now:?}");
        }
    }

    #[test]
    fn what_its_manager_restarts_has_died_only_when_the_manager_gives_up() {
        let death = |last, now| death(last, now, Restarter::Manager);
        assert_eq!(death(Some(Running), Starting), None, "being restarted");
        for last in [Some(Running), Some(Starting), None] {
            assert!(matches!(death(last, Failed), Some(Death::GivenUp(_))));
        }
    }

    #[test]
    fn where_a_boot_may_have_failed_it_only_what_was_started_since_has_died_unseen() {
        let failed = Seen {
            state: Failed,
            restarter: Restarter::Guard,
            ..Seen::unknown("why")
        };
        let unit = Part::Systemd {
            unit: "a.service".into(),
        };
        let process = Part::Process {
            name: "a".parse().unwrap(),
        };
        let death = |last, part: &Part| {
            deaths(
                Unseen::CountsOfProcesses,
                &[last],
                &[(part.clone(), failed.clone())],
            )
        };
        assert_eq!(death(None, &unit), None);
        assert!(death(Some(Running), &unit).is_some());
        assert!(death(None, &process).is_some());
    }

    #[test]
    fn what_was_up_and_is_broken_has_failed_although_it_is_not_down() {
        let broken = Seen {
            state: Unknown,
            restarter: Restarter::Guard,
            broken: true,
            ..Seen::unknown("why")
        };
        let death = |last, seen: &Seen| {
            let part = Part::Systemd {
                unit: "a.service".into(),
            };
            deaths(Unseen::Counts, &[last], &[(part, seen.clone())])
        };
        assert!(matches!(
            death(Some(Running), &broken),
            Some(Death::Failure(_))
        ));
        assert_eq!(death(None, &broken), None, "nobody knows what it was");
        assert_eq!(death(Some(Failed), &broken), None, "that is known");
        let silent = Seen {
            broken: false,
            ..broken
        };
        assert_eq!(death(Some(Running), &silent), None, "no answer is no death");
    }

    #[test]
    fn a_stop_that_ended_badly_is_a_stop() {
        let death = |last, now| death(last, now, Restarter::Nobody);
        assert!(matches!(
            death(Some(Running), Failed),
            Some(Death::Clean(_))
        ));
        assert_eq!(death(None, Failed), None);
    }
}
