//! The few D-Bus methods that the agent calls, by hand instead of a generated binding of everything.
//!
//! Source: org.freedesktop.systemd1(5) and org.freedesktop.login1(5). Properties are read through
//! `org.freedesktop.DBus.Properties` without zbus's cache: a cached state is not an observation.

use zbus::OwnedObjectPath;

/// The object `/org/freedesktop/systemd1` of the service manager.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    /// Makes the manager send signals to this connection. Without it most signals are not emitted at all.
    fn subscribe(&self) -> zbus::Result<()>;

    /// Loads a unit and returns its object. Succeeds for a unit that has no file, too (`LoadState` tells).
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Queues a start job.
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Queues a stop job.
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Queues a restart job.
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Takes a job out of the queue. One that has left the queue already is forgotten, and what it began goes on.
    fn cancel_job(&self, id: u32) -> zbus::Result<()>;

    /// Forgets the `failed` state and the start-limit counter of a unit.
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
}

/// The object `/org/freedesktop/login1` of systemd-logind.
#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
pub(super) trait Login {
    /// Powers the machine off in order: inhibitors, then `poweroff.target`.
    fn power_off(&self, interactive: bool) -> zbus::Result<()>;

    /// Reboots the machine in order.
    fn reboot(&self, interactive: bool) -> zbus::Result<()>;
}
