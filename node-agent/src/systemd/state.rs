//! What systemd says about a unit, and what that means here.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use interlock_model::time::Timestamp;
use zbus::OwnedVariant;

use super::{Error, Verb};

/// What a unit is doing, reduced to what decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// Active, or reloading its configuration while active.
    Running,
    /// On its way up. Ask again.
    Starting,
    /// On its way down. Ask again.
    Stopping,
    /// Down, as it should be after a stop.
    Stopped,
    /// Down after a failure.
    Failed,
    /// A state that this program does not know. Never taken for any of the others.
    Unknown,
}

impl Activity {
    /// Maps `ActiveState` the way Pacemaker's systemd executor does, except that a failure keeps its name and that
    /// a state which a later systemd invents is unknown instead of down.
    #[must_use]
    pub fn of(active_state: &str) -> Self {
        match active_state {
            "active" | "reloading" | "refreshing" => Self::Running,
            "activating" => Self::Starting,
            "deactivating" => Self::Stopping,
            "inactive" | "maintenance" => Self::Stopped,
            "failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        })
    }
}

/// When a unit last became active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// `CLOCK_MONOTONIC`, that is, since boot: for comparing and measuring.
    pub monotonic: Duration,
    /// Wall clock, for people.
    pub wall: Timestamp,
}

/// One observation of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// The unit's primary name; differs from the name asked for if that was an alias.
    pub id: String,
    /// What it is doing.
    pub activity: Activity,
    /// `ActiveState` as systemd spells it.
    pub active_state: String,
    /// `SubState`: finer, specific to the unit type (`running`, `exited`, `auto-restart`, `mounted`).
    pub sub_state: String,
    /// `LoadState`: `loaded`, `masked`, `bad-setting`, `error`, `not-found`.
    pub load_state: String,
    /// `UnitFileState`: `enabled`, `disabled`, `static`; none for units without a file.
    pub unit_file_state: Option<String>,
    /// The main process of a service while it has one.
    pub main_pid: Option<u32>,
    /// When it last became active; none if it never was in this boot.
    pub since: Option<Since>,
    /// `Result` of a service's last run: `success`, `exit-code`, `signal`, `watchdog`, `oom-kill`, ...
    pub result: Option<String>,
    /// `ExecMainStatus` of a service: exit code or signal of the last main process.
    pub exec_main_status: Option<i32>,
    /// How often systemd itself has restarted the service.
    pub n_restarts: Option<u32>,
    /// The identity of this run of the unit, in hexadecimal; another value means that it was restarted in between.
    pub invocation_id: Option<String>,
    /// Does systemd start the service again by itself: has the unit a `Restart=` other than `no`?
    pub restarted_by_systemd: bool,
    /// Was the service, in its last run, told to stop before its main process ended? A stop that ended badly, then, and no crash.
    pub told_to_stop: bool,
    /// The control group of a service that has one now, as a path below the root of all control groups.
    pub control_group: Option<String>,
    /// What systemd is going to do to it, or does: a job that waits in the queue has not touched the unit, and will.
    pub queued: Option<Verb>,
}

/// The properties of one interface of one object.
pub(super) type Properties = HashMap<String, OwnedVariant>;

impl UnitState {
    /// Does systemd start it at boot, by itself or with another one that wants it?
    #[must_use]
    pub fn starts_at_boot(&self) -> bool {
        matches!(
            self.unit_file_state.as_deref(),
            Some("enabled" | "enabled-runtime")
        )
    }

    /// Reads the properties of `org.freedesktop.systemd1.Unit`, and for a service those of
    /// `org.freedesktop.systemd1.Service`, as an observation of `unit`.
    ///
    /// A unit without a file is an error, unless it is still active: then its file was removed under it.
    pub(super) fn read(
        unit: &str,
        general: &Properties,
        service: &Properties,
    ) -> Result<Self, Error> {
        let required = |name: &str| {
            text(general, name).ok_or_else(|| Error::Refused {
                what: format!("describe {unit}"),
                message: format!("its property {name} is missing"),
            })
        };
        let active_state = required("ActiveState")?;
        let load_state = required("LoadState")?;
        let activity = Activity::of(&active_state);
        if load_state == "not-found" && matches!(activity, Activity::Stopped | Activity::Failed) {
            return Err(Error::NoSuchUnit {
                unit: unit.to_owned(),
            });
        }
        Ok(Self {
            id: text(general, "Id").unwrap_or_else(|| unit.to_owned()),
            activity,
            active_state,
            sub_state: required("SubState")?,
            load_state,
            unit_file_state: text(general, "UnitFileState").filter(|state| !state.is_empty()),
            main_pid: number(service, "MainPID").filter(|pid| *pid != 0),
            since: since(general),
            result: text(service, "Result"),
            exec_main_status: number(service, "ExecMainStatus"),
            n_restarts: number(service, "NRestarts"),
            invocation_id: invocation(general),
            restarted_by_systemd: text(service, "Restart").is_some_and(|mode| mode != "no"),
            told_to_stop: told_to_stop(general, service),
            control_group: text(service, "ControlGroup").filter(|path| path.starts_with('/')),
            queued: None,
        })
    }
}

/// The results of a run whose main process ended by itself or by a signal of somebody. The others (`watchdog`,
/// `oom-kill`, `start-limit-hit`, ...) are decisions of systemd, which are failures whatever the order of events.
const ENDS_OF_A_STOP: [&str; 4] = ["exit-code", "signal", "core-dump", "timeout"];

/// Tells a stop that ended badly from a crash: `systemctl stop` of a Java program, say, that answers SIGTERM with exit
/// code 143, or of one that has to be killed in the end. In a stop the unit leaves the active state first and the main
/// process ends then; in a crash it is the other way round. Both moments are systemd's own
/// (`ActiveExitTimestampMonotonic`, `ExecMainExitTimestampMonotonic`), so nothing has to be seen in time.
fn told_to_stop(general: &Properties, service: &Properties) -> bool {
    let moment = |properties, name| number::<u64>(properties, name).filter(|micros| *micros != 0);
    let (Some(begun), Some(left), Some(ended)) = (
        moment(general, "InactiveExitTimestampMonotonic"),
        moment(general, "ActiveExitTimestampMonotonic"),
        moment(service, "ExecMainExitTimestampMonotonic"),
    ) else {
        return false;
    };
    let by_itself =
        text(service, "Result").is_some_and(|result| ENDS_OF_A_STOP.contains(&result.as_str()));
    // A unit that has not been active in this run has failed to start.
    by_itself && begun <= left && left < ended
}

fn text(properties: &Properties, name: &str) -> Option<String> {
    properties
        .get(name)?
        .downcast_ref::<&str>()
        .ok()
        .map(str::to_owned)
}

fn number<'a, T: TryFrom<&'a OwnedVariant>>(properties: &'a Properties, name: &str) -> Option<T> {
    T::try_from(properties.get(name)?).ok()
}

/// systemd writes times as microseconds; 0 is "never".
fn since(properties: &Properties) -> Option<Since> {
    let monotonic: u64 = number(properties, "ActiveEnterTimestampMonotonic")?;
    let wall: u64 = number(properties, "ActiveEnterTimestamp")?;
    (monotonic != 0).then(|| Since {
        monotonic: Duration::from_micros(monotonic),
        wall: Timestamp(wall / 1000),
    })
}

/// 16 bytes; all zero or empty before the first run.
fn invocation(properties: &Properties) -> Option<String> {
    let bytes = Vec::<u8>::try_from(properties.get("InvocationID")?.try_clone().ok()?).ok()?;
    let used = bytes.iter().any(|byte| *byte != 0);
    used.then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned<'a>(value: impl Into<zbus::Variant<'a>>) -> OwnedVariant {
        OwnedVariant::try_from(value.into()).unwrap()
    }

    fn general(active: &str, load: &str) -> Properties {
        Properties::from([
            ("Id".to_owned(), owned("redis-server.service")),
            ("ActiveState".to_owned(), owned(active)),
            ("SubState".to_owned(), owned("running")),
            ("LoadState".to_owned(), owned(load)),
            ("UnitFileState".to_owned(), owned("disabled")),
            (
                "ActiveEnterTimestamp".to_owned(),
                owned(1_700_000_000_123_456_u64),
            ),
            (
                "ActiveEnterTimestampMonotonic".to_owned(),
                owned(5_000_001_u64),
            ),
            ("InvocationID".to_owned(), owned(vec![0xab_u8, 0x01])),
        ])
    }

    #[test]
    fn every_active_state_has_one_meaning_and_a_new_one_is_unknown() {
        for (state, meaning) in [
            ("active", Activity::Running),
            ("reloading", Activity::Running),
            ("refreshing", Activity::Running),
            ("activating", Activity::Starting),
            ("deactivating", Activity::Stopping),
            ("inactive", Activity::Stopped),
            ("maintenance", Activity::Stopped),
            ("failed", Activity::Failed),
            ("hibernating-soon", Activity::Unknown),
            ("", Activity::Unknown),
        ] {
            assert_eq!(Activity::of(state), meaning, "{state}");
        }
    }

    #[test]
    fn an_observation_carries_times_process_and_run() {
        let service = Properties::from([
            ("MainPID".to_owned(), owned(4711_u32)),
            ("NRestarts".to_owned(), owned(2_u32)),
            ("Result".to_owned(), owned("success")),
            ("ExecMainStatus".to_owned(), owned(0_i32)),
        ]);
        let state =
            UnitState::read("redis.service", &general("active", "loaded"), &service).unwrap();
        assert_eq!(state.id, "redis-server.service");
        assert_eq!(state.activity, Activity::Running);
        assert_eq!(state.main_pid, Some(4711));
        assert_eq!(state.n_restarts, Some(2));
        assert_eq!(state.exec_main_status, Some(0));
        assert_eq!(state.invocation_id.as_deref(), Some("ab01"));
        let since = state.since.unwrap();
        assert_eq!(since.monotonic, Duration::from_micros(5_000_001));
        assert_eq!(since.wall, Timestamp(1_700_000_000_123));
    }

    #[test]
    fn a_stop_that_ended_badly_is_told_from_a_crash_and_from_a_start_that_failed() {
        let told = |begun: u64, left: u64, ended: u64, result: &str| {
            let mut unit = general("failed", "loaded");
            unit.insert("InactiveExitTimestampMonotonic".to_owned(), owned(begun));
            unit.insert("ActiveExitTimestampMonotonic".to_owned(), owned(left));
            let service = Properties::from([
                ("ExecMainExitTimestampMonotonic".to_owned(), owned(ended)),
                ("Result".to_owned(), owned(result)),
            ]);
            let state = UnitState::read("a.service", &unit, &service).unwrap();
            state.told_to_stop
        };
        assert!(told(10, 20, 21, "exit-code"));
        assert!(told(10, 20, 90, "timeout"));
        assert!(!told(10, 21, 20, "signal"), "it died first");
        assert!(!told(10, 20, 20, "signal"), "one event");
        assert!(!told(30, 20, 31, "exit-code"), "it never came up this time");
        assert!(!told(10, 20, 21, "watchdog"), "systemd's own decision");
        assert!(!told(10, 0, 21, "exit-code"));
    }

    #[test]
    fn only_a_unit_that_says_so_is_restarted_by_systemd() {
        let restarted = |service: Properties| {
            UnitState::read("a.service", &general("active", "loaded"), &service)
                .unwrap()
                .restarted_by_systemd
        };
        let mode = |mode: &str| Properties::from([("Restart".to_owned(), owned(mode))]);
        assert!(restarted(mode("on-failure")) && restarted(mode("always")));
        assert!(!restarted(mode("no")) && !restarted(Properties::new()));
    }

    #[test]
    fn a_unit_that_is_enabled_starts_at_boot() {
        let starts = |state: &str| {
            let mut general = general("active", "loaded");
            general.insert("UnitFileState".to_owned(), owned(state));
            UnitState::read("a.service", &general, &Properties::new())
                .unwrap()
                .starts_at_boot()
        };
        assert!(starts("enabled") && starts("enabled-runtime"));
        assert!(!starts("disabled") && !starts("static") && !starts("indirect"));
    }

    #[test]
    fn a_unit_without_a_file_is_an_error_that_names_it() {
        let error = UnitState::read(
            "redsi.service",
            &general("inactive", "not-found"),
            &Properties::new(),
        )
        .unwrap_err();
        assert!(matches!(error, Error::NoSuchUnit { .. }));
        assert!(error.to_string().contains("redsi.service"), "{error}");
    }

    #[test]
    fn a_unit_that_lost_its_file_while_active_is_still_running() {
        let state = UnitState::read(
            "a.service",
            &general("active", "not-found"),
            &Properties::new(),
        )
        .unwrap();
        assert_eq!(state.activity, Activity::Running);
    }

    #[test]
    fn zero_pid_zero_time_and_zero_run_mean_none() {
        let mut unit = general("inactive", "loaded");
        unit.insert("ActiveEnterTimestampMonotonic".to_owned(), owned(0_u64));
        unit.insert("InvocationID".to_owned(), owned(vec![0_u8; 16]));
        let service = Properties::from([("MainPID".to_owned(), owned(0_u32))]);
        let state = UnitState::read("a.service", &unit, &service).unwrap();
        assert_eq!(
            (state.main_pid, state.since, state.invocation_id),
            (None, None, None)
        );
    }
}
