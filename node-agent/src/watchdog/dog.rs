//! The open device.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use interlock_engine::lease::Clock;
use interlock_engine::lease::holder::{Tenure, Watchdog};
use interlock_model::lease::Terms;
use interlock_model::names::ServiceName;
use rustix::fs::OFlags;
use tokio::sync::watch;

use super::Device;
use crate::config::WatchdogMode;

/// How the watchdog of this node looks from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// For whose primaries it is armed.
    pub(crate) armed: BTreeSet<ServiceName>,
    /// When it was last petted.
    pub(crate) petted: Option<Clock>,
    /// Why it could not be armed last.
    pub(crate) trouble: Option<String>,
}

/// The watchdog of this node. One device for all primaries: petted only while the right of each of them is young enough.
#[derive(Debug)]
pub(crate) struct Dog {
    mode: WatchdogMode,
    device: Result<Device, String>,
    /// Open exactly while it is armed.
    file: Option<File>,
    report: watch::Sender<Report>,
}

impl Dog {
    /// The watchdog of a node whose device was looked at; not armed.
    pub(crate) fn new(
        mode: WatchdogMode,
        device: Result<Device, String>,
        report: watch::Sender<Report>,
    ) -> Self {
        Self {
            mode,
            device,
            file: None,
            report,
        }
    }

    /// What machines of holders are to expect of it.
    pub(crate) fn use_of_it(&self) -> Watchdog {
        match (self.mode, &self.device) {
            (WatchdogMode::Off, _) | (WatchdogMode::Automatic, Err(_)) => Watchdog::Off,
            (WatchdogMode::Automatic, Ok(_)) => Watchdog::Automatic,
            (WatchdogMode::Required, _) => Watchdog::Required,
        }
    }

    /// Why this node takes no role at all: it is not to be without a watchdog, and is.
    pub(crate) fn forbids(&self) -> Option<String> {
        match (&self.device, self.mode) {
            (Err(why), WatchdogMode::Required) => Some(format!(
                "its watchdog is required and cannot be used: {why}"
            )),
            _ => None,
        }
    }

    /// Why this node takes no role with these terms.
    pub(crate) fn forbids_under(&self, terms: &Terms) -> Option<String> {
        match &self.device {
            Ok(device) if self.mode == WatchdogMode::Required => device.suits(terms).err(),
            _ => None,
        }
    }

    /// Why a primary of this node does not accept these terms: it would lose the watchdog that its record tells of, and by which
    /// others would take its lease for over (safety rule E4), before that record says otherwise.
    ///
    /// # Errors
    /// Why, with the arithmetic; kept for whoever looks at the node.
    pub(crate) fn accepts(&self, service: &ServiceName, terms: &Terms) -> Result<(), String> {
        let relied_on =
            self.mode == WatchdogMode::Required || self.report.borrow().armed.contains(service);
        let Some(device) = self.device.as_ref().ok().filter(|_| relied_on) else {
            return Ok(());
        };
        device.suits(terms).inspect_err(|why| {
            let trouble = format!("other terms of {service} are not accepted: {why}");
            self.report
                .send_modify(|report| report.trouble = Some(trouble));
        })
    }

    /// For whom it is armed.
    pub(crate) fn armed(&self) -> BTreeSet<ServiceName> {
        self.report.borrow().armed.clone()
    }

    /// Arms it for a service, whose right is young: opening it pets it. Who calls has just looked at the clocks.
    ///
    /// # Errors
    /// Why it is not armed for it.
    pub(crate) fn arm(
        &mut self,
        service: &ServiceName,
        tenure: &Tenure,
        now: Clock,
    ) -> Result<(), String> {
        let armed = self.try_to_arm(tenure, now);
        let others = self.armed().iter().any(|it| it != service);
        if armed.is_err() && !others && self.file.is_some() {
            // It was armed with earlier terms, and nobody would pet it any more, or be asked whether it may be petted.
            if let Err(error) = self.disarm(service) {
                tracing::error!(%error, "the watchdog runs on, and resets this machine");
            }
        }
        self.report.send_modify(|report| {
            report.trouble = armed.as_ref().err().cloned();
            if armed.is_ok() {
                report.armed.insert(service.clone());
            } else {
                report.armed.remove(service);
            }
        });
        armed
    }

    fn try_to_arm(&mut self, tenure: &Tenure, now: Clock) -> Result<(), String> {
        let device = self.device.as_ref().map_err(Clone::clone)?;
        for terms in tenure.binding() {
            device.suits(terms)?;
        }
        if self.file.is_none() {
            if !tenure.may_pet(now) {
                return Err("this agent did not run for a while".to_owned());
            }
            // What stands in for a device must not make this thread wait either.
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
            let opened = OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(&device.path);
            let file = opened.map_err(|error| {
                format!("{device} cannot be opened: {error}; does another program use it, as systemd does with RuntimeWatchdogSec=?")
            })?;
            self.file = Some(file);
            self.report.send_modify(|report| report.petted = Some(now));
        }
        Ok(())
    }

    /// Pets it. Who calls has just looked at the clocks, and seen that all for whom it is armed are young.
    ///
    /// # Errors
    /// If it takes nothing any more. It is left as it is then, and resets the machine: nobody pets it.
    pub(crate) fn pet(&mut self, now: Clock) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if let Err(error) = file.write_all(b"\0") {
            self.file = None;
            self.report.send_modify(|report| {
                report.armed.clear();
                report.trouble = Some(format!("it cannot be petted: {error}"));
            });
            return Err(error);
        }
        self.report.send_modify(|report| report.petted = Some(now));
        Ok(())
    }

    /// Nothing of this service is left that it would have to end. The last one disarms it, also if an earlier agent of this boot
    /// has armed it and went without a word.
    ///
    /// # Errors
    /// If it runs on, and resets the machine.
    pub(crate) fn disarm(&mut self, service: &ServiceName) -> io::Result<()> {
        let mut last = true;
        self.report.send_modify(|report| {
            report.armed.remove(service);
            last = report.armed.is_empty();
        });
        let Ok(device) = &self.device else {
            return Ok(());
        };
        if !last {
            return Ok(());
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None if !device.runs() => return Ok(()),
            None => OpenOptions::new()
                .write(true)
                .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0))
                .open(&device.path)?,
        };
        file.write_all(b"V")
    }
}
