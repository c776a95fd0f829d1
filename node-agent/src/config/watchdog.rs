//! What the owner of the machine says of its watchdog device.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::check::Check;
use super::raw;

/// The watchdog device of this machine, and what it is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchdog {
    /// Whether one is used.
    pub mode: WatchdogMode,
    /// The device.
    pub device: PathBuf,
    /// After what time it is to reset the machine, in whole seconds; none leaves it as it is.
    pub timeout: Option<Duration>,
    /// Where the kernel tells of it.
    pub sysfs: PathBuf,
    /// What sets its time (`wdctl` of util-linux).
    pub wdctl: PathBuf,
}

/// Whether a watchdog device is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchdogMode {
    /// None is opened.
    #[default]
    Off,
    /// A primary whose lease ends by itself has it armed, if that can be done.
    Automatic,
    /// This node takes no role without it.
    Required,
}

impl Watchdog {
    /// The device that the kernel made first (Documentation/watchdog/watchdog-api.rst).
    pub const DEVICE: &str = "/dev/watchdog";

    /// What sets its time.
    pub const WDCTL: &str = "/usr/bin/wdctl";

    /// Where the kernel tells of a device (ABI/testing/sysfs-class-watchdog); none if the name is not that of one.
    #[must_use]
    pub fn sysfs_of(device: &Path) -> Option<PathBuf> {
        let number = device.to_str()?.strip_prefix(Self::DEVICE)?;
        let number = match number {
            // The same as the first one.
            "" => "0",
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits,
            _ => return None,
        };
        Some(format!("/sys/class/watchdog/watchdog{number}").into())
    }
}

impl Check<'_> {
    /// What is said of it, or what holds without a word.
    pub(super) fn watchdog(&mut self, given: Option<raw::Watchdog>) -> Watchdog {
        let Some(given) = given else {
            return Watchdog {
                mode: WatchdogMode::Off,
                device: Watchdog::DEVICE.into(),
                timeout: None,
                sysfs: Watchdog::sysfs_of(Watchdog::DEVICE.as_ref()).unwrap_or_default(),
                wdctl: Watchdog::WDCTL.into(),
            };
        };
        let span = given.device.as_ref().map(Spanned::span);
        let device = self.absolute_or(given.device, Watchdog::DEVICE);
        let sysfs = match given.sysfs {
            Some(sysfs) => self.absolute(sysfs),
            None => Watchdog::sysfs_of(&device).unwrap_or_else(|| {
                let what = format!(
                    "where the kernel tells of '{}' is not known",
                    device.display()
                );
                let remedy =
                    "name it /dev/watchdogN, or give sysfs = \"/sys/class/watchdog/watchdogN\"";
                self.report(&span.unwrap_or_default(), what, remedy);
                device.clone()
            }),
        };
        let timeout = given.timeout.map(|timeout| {
            let time = timeout.get_ref().0;
            if time.is_zero() || time.subsec_nanos() > 0 {
                let what = format!("{time:?} is no time of a watchdog");
                self.report(&timeout.span(), what, "write whole seconds, such as \"5s\"");
            }
            time
        });
        Watchdog {
            mode: given.mode,
            device,
            timeout,
            sysfs,
            wdctl: self.absolute_or(given.wdctl, Watchdog::WDCTL),
        }
    }
}
