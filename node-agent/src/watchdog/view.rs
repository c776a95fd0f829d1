//! The watchdog of this node, for people.

use interlock_proto::v1;
use tokio::sync::watch;

use super::{Device, Report};
use crate::config::WatchdogMode;
use crate::roles::read_clocks;

/// What is told of the watchdog of this node.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) mode: WatchdogMode,
    pub(crate) device: Result<Device, String>,
    pub(crate) report: watch::Receiver<Report>,
}

impl View {
    /// What was found when this agent started, for its coordinators.
    pub(crate) fn tell(&self, facts: &mut v1::Facts) {
        match (&self.device, self.mode) {
            (_, WatchdogMode::Off) => {}
            (Ok(device), _) => facts.watchdog = device.to_string(),
            (Err(why), _) => facts.watchdog_trouble.clone_from(why),
        }
    }

    /// What device it is, its time, for whom it is armed, and when it was last petted; nothing if none is used.
    pub(crate) fn line(&self) -> String {
        let mode = match self.mode {
            WatchdogMode::Off => return String::new(),
            WatchdogMode::Automatic => "automatic",
            WatchdogMode::Required => "required",
        };
        let device = match &self.device {
            Ok(device) => device,
            Err(why) => return format!("{mode}, and cannot be used: {why}"),
        };
        let report = self.report.borrow();
        let state = match (report.armed.is_empty(), report.petted) {
            (false, Some(petted)) => {
                let services: Vec<&str> = report.armed.iter().map(|it| it.as_str()).collect();
                let age = read_clocks().longest_since(petted);
                format!(
                    "armed for {}, petted {:.1}s ago",
                    services.join(", "),
                    age.as_secs_f64()
                )
            }
            _ => "not armed".to_owned(),
        };
        let trouble = report.trouble.as_ref();
        let trouble = trouble.map_or_else(String::new, |why| format!("; last time: {why}"));
        format!("{device}, {mode}: {state}{trouble}")
    }
}
