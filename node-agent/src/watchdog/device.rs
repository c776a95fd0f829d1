//! What a watchdog device says of itself, and its time.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interlock_model::lease::Terms;

use crate::config::Watchdog;
use crate::group::End;
use crate::tool;

/// How long the program may take that sets its time.
const LIMIT: Duration = Duration::from_secs(5);

/// A device that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) path: PathBuf,
    /// What its driver calls it.
    pub(crate) identity: String,
    /// So long after it was last petted it resets the machine.
    pub(crate) time: Duration,
    sysfs: PathBuf,
}

impl Device {
    /// Looks at the device of the agent's file, and sets its time if that says so. Nothing is armed by it.
    ///
    /// # Errors
    /// Why it cannot be used, and what to do.
    pub(crate) async fn prepare(config: &Watchdog) -> Result<Self, String> {
        let path = &config.device;
        if let Err(error) = fs::metadata(path) {
            return Err(format!(
                "{}: {error}: load the driver of this machine's watchdog, or `softdog`",
                path.display()
            ));
        }
        if said(&config.sysfs, "nowayout")? == "1" {
            return Err(format!(
                "{} cannot be disarmed once it is open, so a machine that gives its role back would be reset: load its driver \
                 with nowayout=0",
                path.display()
            ));
        }
        let before = time(&config.sysfs)?;
        if let Some(wanted) = config.timeout.filter(|wanted| *wanted != before) {
            set(config, wanted).await?;
        }
        let device = Self {
            path: path.clone(),
            identity: said(&config.sysfs, "identity").unwrap_or_default(),
            time: time(&config.sysfs)?,
            sysfs: config.sysfs.clone(),
        };
        if config.timeout.is_some_and(|wanted| wanted != device.time) {
            tracing::warn!(%device, wanted = ?config.timeout, "the watchdog has taken another time than it was to");
        }
        Ok(device)
    }

    /// Does its clock run? Then somebody has armed it.
    pub(crate) fn runs(&self) -> bool {
        said(&self.sysfs, "state").is_ok_and(|state| state == "active")
    }

    /// Does its time keep the inequalities of these terms? Those of a lease that never ends ask nothing.
    ///
    /// # Errors
    /// Why not, with the arithmetic.
    pub(crate) fn suits(&self, terms: &Terms) -> Result<(), String> {
        if !terms.on_control_loss.expires() {
            return Ok(());
        }
        let suits = terms.timings.suit(self.time);
        suits.map_err(|bad| format!("W of {self} does not suit the lease: {bad}"))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, identity) = (self.path.display(), &self.identity);
        let time = humantime::format_duration(self.time);
        write!(f, "{path} ({identity}, {time})")
    }
}

/// Sets its time. The program opens the device for that and disarms it again, so nobody else may have it open, and it must not
/// run: what another program has armed is not ours to disarm.
async fn set(config: &Watchdog, wanted: Duration) -> Result<(), String> {
    let path = config.device.display();
    if said(&config.sysfs, "state")? == "active" {
        return Err(format!(
            "{path} runs already, and its time is not that of this agent's file: something else uses it, as systemd does with \
             RuntimeWatchdogSec="
        ));
    }
    let seconds = wanted.as_secs();
    let command = [
        config.wdctl.display().to_string(),
        "--settimeout".to_owned(),
        seconds.to_string(),
        path.to_string(),
    ];
    let failed = |why: &str| format!("the time of {path} cannot be set to {seconds} s: {why}");
    match tool::run(&command, LIMIT).await {
        Ok(printed) if matches!(printed.end, End::Exited(0)) => Ok(()),
        Ok(printed) => Err(failed(printed.text.trim())),
        Err(error) => Err(failed(&format!("{}: {error}", config.wdctl.display()))),
    }
}

fn time(sysfs: &Path) -> Result<Duration, String> {
    let text = said(sysfs, "timeout")?;
    let seconds = text.parse();
    seconds
        .map(Duration::from_secs)
        .map_err(|_| format!("{}: '{text}' is no time", sysfs.join("timeout").display()))
}

/// What the kernel says of it (ABI/testing/sysfs-class-watchdog).
fn said(sysfs: &Path, what: &str) -> Result<String, String> {
    let file = sysfs.join(what);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(format!(
            "{}: {error}: a device is used only if the kernel tells of it there",
            file.display()
        )),
    }
}
