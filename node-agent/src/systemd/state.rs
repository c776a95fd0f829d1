//! What systemd says about a unit, and what that means here.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use interlock_model::time::Timestamp;
use zbus::OwnedVariant;

use super::Error;

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
}

/// The properties of one interface of one object.
pub(super) type Properties = HashMap<String, OwnedVariant>;

impl UnitState {
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
        })
    }
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
