//! systemd units of this machine, over the D-Bus system bus.
//!
//! # Terms
//! A **job** is systemd's own record of one queued start or stop; it has an object on the bus while it exists and a
//! result when it is removed. A **link** is one connection to the bus and the subscription on it.
//!
//! # Rules
//! * The match for `JobRemoved` and the subscription are in place *before* a job is queued; a job may be over before
//!   the call that queued it returns.
//! * A job that is done says that systemd did what it was told, not that the service works: a start whose
//!   `Condition...=` does not hold is *done*, too. Observe afterwards.
//! * **A job is withdrawn only while it waits.** At its end in time a job that waits for other jobs is taken out of the
//!   queue: nothing has happened to the unit. One that runs goes on, and the outcome is unknown
//!   ([`Error::outcome_is_unknown`]), as it is when the bus goes away: to cancel a stop halfway would leave a unit
//!   deactivating with nobody who waits for it, to cancel a start would leave it activating. See the `run` module.
//! * **What waits in the queue is not done yet.** A unit that is down while a start of it waits will come up, whoever has
//!   queued it, an agent that was killed for example: an observation tells of it ([`UnitState::queued`]).
//! * Death is noticed by signal ([`Systemd::watch`]), not by the next poll.
//! * No bus is a state of the machine, not a failure of the agent: each request tries again to connect.
//!
//! Sources: org.freedesktop.systemd1(5), org.freedesktop.login1(5), the D-Bus specification.

mod error;
mod job;
mod link;
mod machine;
mod proxy;
mod run;
mod state;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use zbus::OwnedObjectPath;

pub use error::Error;
pub use job::{JobResult, Progress, Verb};
pub use state::{Activity, Since, UnitState};
pub use watch::{UnitEvent, UnitWatch};

use link::Link;
use state::Properties;

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// Where the bus is and how long it may take to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A D-Bus address such as `unix:path=/run/dbus/system_bus_socket`; none for the system bus of the machine
    /// (`DBUS_SYSTEM_BUS_ADDRESS`, else the standard socket).
    pub address: Option<String>,
    /// The limit of each single call. Jobs have limits of their own.
    pub call_limit: Duration,
}

impl Default for Options {
    /// The machine's system bus. A healthy manager answers within milliseconds, but it may be busy reloading
    /// thousands of units; D-Bus's own default of 25 s would hide a hung manager for too long.
    fn default() -> Self {
        Self {
            address: None,
            call_limit: Duration::from_secs(10),
        }
    }
}

/// A handle on the service manager. Clones share one connection, which is made again when it is lost.
#[derive(Debug, Clone)]
pub struct Systemd {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    link: Mutex<Option<Arc<Link>>>,
}

impl Systemd {
    /// A handle that connects when it is first used.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                link: Mutex::new(None),
            }),
        }
    }

    /// A handle that is connected.
    ///
    /// # Errors
    /// [`Error::NoBus`] or [`Error::NoManager`] where there is no systemd to talk to.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let systemd = Self::new(options);
        systemd.link().await?;
        Ok(systemd)
    }

    /// Starts a unit and waits for the job. See [`Systemd::run`].
    ///
    /// # Errors
    /// Those of [`Systemd::run`].
    pub async fn start(&self, unit: &str, limit: Duration) -> Result<(), Error> {
        self.run(Verb::Start, unit, limit, &mut |_| ()).await
    }

    /// Stops a unit and waits for the job. See [`Systemd::run`].
    ///
    /// # Errors
    /// Those of [`Systemd::run`].
    pub async fn stop(&self, unit: &str, limit: Duration) -> Result<(), Error> {
        self.run(Verb::Stop, unit, limit, &mut |_| ()).await
    }

    /// Restarts a unit and waits for the job. See [`Systemd::run`].
    ///
    /// # Errors
    /// Those of [`Systemd::run`].
    pub async fn restart(&self, unit: &str, limit: Duration) -> Result<(), Error> {
        self.run(Verb::Restart, unit, limit, &mut |_| ()).await
    }

    /// Observes a unit now.
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`] if no file defines it and it is not active; otherwise those of the connection.
    pub async fn observe(&self, unit: &str) -> Result<UnitState, Error> {
        check_name(unit)?;
        let link = self.link().await?;
        let path = load(&link, unit).await?;
        observe_at(&link, unit, &path).await
    }

    /// Only whether a unit runs: two small messages instead of all its properties, for frequent checks.
    ///
    /// # Errors
    /// Those of [`Systemd::observe`].
    pub async fn activity(&self, unit: &str) -> Result<Activity, Error> {
        check_name(unit)?;
        let link = self.link().await?;
        let path = load(&link, unit).await?;
        let read = async |property| {
            let value = link
                .call("observe", Some(unit), link.property(&path, UNIT, property))
                .await?;
            Ok::<_, Error>(value.downcast_ref::<&str>().unwrap_or_default().to_owned())
        };
        let activity = Activity::of(&read("ActiveState").await?);
        if matches!(activity, Activity::Stopped | Activity::Failed)
            && read("LoadState").await? == "not-found"
        {
            return Err(Error::NoSuchUnit {
                unit: unit.to_owned(),
            });
        }
        Ok(activity)
    }

    /// Forgets that a unit failed, so that its start limit counts from zero.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn reset_failed(&self, unit: &str) -> Result<(), Error> {
        check_name(unit)?;
        let link = self.link().await?;
        link.call("reset", Some(unit), async {
            link.manager().await?.reset_failed_unit(unit).await
        })
        .await
    }

    /// The live link, made if there is none.
    async fn link(&self) -> Result<Arc<Link>, Error> {
        let mut slot = self.shared.link.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_live()) {
            return Ok(Arc::clone(link));
        }
        let options = &self.shared.options;
        let link = Arc::new(Link::open(options.address.as_deref(), options.call_limit).await?);
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }
}

async fn load(link: &Link, unit: &str) -> Result<String, Error> {
    let path = link
        .call("load", Some(unit), async {
            link.manager().await?.load_unit(unit).await
        })
        .await?;
    Ok(path.to_string())
}

/// How often a unit is read again whose job is gone before it can be read.
const READINGS: u32 = 5;

async fn observe_at(link: &Link, unit: &str, path: &str) -> Result<UnitState, Error> {
    for _ in 0..READINGS {
        let general = link
            .call("observe", Some(unit), link.properties(path, UNIT))
            .await?;
        let queued = match job_in(&general) {
            None => None,
            Some(job) => match run::type_of(link, &job).await {
                Some(job_type) => Verb::of(&job_type),
                // It is over, and what was read of the unit is of before its end.
                None => continue,
            },
        };
        let state = state_of(link, unit, path, &general).await?;
        return Ok(UnitState { queued, ..state });
    }
    Err(Error::Refused {
        what: format!("describe {unit}"),
        message: "its jobs change faster than they can be read".to_owned(),
    })
}

/// The job that a unit has, by its properties: a number, 0 for none, and the job's object.
fn job_in(general: &Properties) -> Option<String> {
    let job = general.get("Job")?.try_clone().ok()?;
    let (id, path): (u32, OwnedObjectPath) = job.try_into().ok()?;
    (id != 0).then(|| path.to_string())
}

async fn state_of(
    link: &Link,
    unit: &str,
    path: &str,
    general: &Properties,
) -> Result<UnitState, Error> {
    let service = if unit.ends_with(".service") {
        link.call("observe", Some(unit), link.properties(path, SERVICE))
            .await?
    } else {
        Properties::new()
    };
    UnitState::read(unit, general, &service)
}

/// The suffixes of systemd.unit(5). `systemctl` adds a missing `.service`; the bus does not.
const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

fn check_name(unit: &str) -> Result<(), Error> {
    let known = unit
        .rsplit_once('.')
        .is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix));
    let plain = unit
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | '-' | '\\' | '@'));
    if known && plain && unit.len() <= 255 {
        Ok(())
    } else {
        Err(Error::NotAUnitName {
            unit: unit.to_owned(),
        })
    }
}

impl fmt::Display for Systemd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "systemd at {}",
            self.shared
                .options
                .address
                .as_deref()
                .unwrap_or("the system bus")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_name_has_a_suffix_and_no_shell_in_it() {
        for good in [
            "redis.service",
            "getty@tty1.service",
            "srv-jtel\\x2dshared.mount",
            "multi-user.target",
        ] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "redis",
            ".service",
            "redis.sevice",
            "a b.service",
            "/etc/x.service",
            "a;b.service",
            "",
        ] {
            assert!(
                matches!(check_name(bad), Err(Error::NotAUnitName { .. })),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn a_machine_without_a_bus_gives_an_error_that_names_the_address() {
        let address = "unix:path=/nonexistent/bus".to_owned();
        let options = Options {
            address: Some(address.clone()),
            ..Options::default()
        };
        let error = Systemd::connect(options.clone()).await.unwrap_err();
        assert!(matches!(&error, Error::NoBus { .. }), "{error:?}");
        assert!(error.to_string().contains(&address), "{error}");
        let told = format!("{:#}", anyhow::Error::new(error));
        assert_eq!(told.matches("No such file").count(), 1, "{told}");
        let error = Systemd::new(options)
            .start("a.service", Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NoBus { .. }) && !error.outcome_is_unknown());
    }
}
