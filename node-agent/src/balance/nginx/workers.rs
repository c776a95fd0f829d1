//! nginx's processes: the master, and the generations of its workers.
//!
//! Told to reload, the master starts workers that have read the new configuration, and tells the others to end: these
//! take nothing new, and stay until the last of their connections is over (nginx, *Controlling nginx*). A process says
//! in its title which of them it is. A master whose new configuration cannot be used keeps the workers that it has, which
//! is how a reload that was not taken is told from one that was.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use rustix::process::Signal;

use crate::shim::{ProcessRef, children};

/// What the master calls itself.
const MASTER: &str = "nginx: master process";
/// What a worker calls itself.
const WORKER: &str = "nginx: worker process";
/// What one calls itself that ends.
const ENDING: &str = "nginx: worker process is shutting down";

/// The master process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Master(ProcessRef);

/// The workers of a master.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// Those that take what is new.
    pub(super) serving: BTreeSet<ProcessRef>,
    /// Those that only end what they have.
    pub(super) ending: BTreeSet<ProcessRef>,
}

impl Master {
    /// The one that this file names.
    ///
    /// # Errors
    /// Why there is none, in one line.
    pub(super) fn find(pid_file: &Path) -> Result<Self, String> {
        let shown = pid_file.display();
        let text = match fs::read_to_string(pid_file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("there is no {shown}"));
            }
            Err(error) => return Err(format!("{shown} cannot be read: {error}")),
        };
        let pid: Option<u32> = text.trim().parse().ok();
        let process = pid.and_then(ProcessRef::of);
        match process {
            Some(process) if title(process.pid).starts_with(MASTER) => Ok(Self(process)),
            _ => Err(format!("{shown} names no master process of nginx")),
        }
    }

    /// Its workers now.
    pub(super) fn workers(self) -> io::Result<Workers> {
        let mut workers = Workers::default();
        for child in children(self.0.pid)? {
            let title = title(child.pid);
            if title.starts_with(ENDING) {
                workers.ending.insert(child);
            } else if title.starts_with(WORKER) {
                workers.serving.insert(child);
            }
        }
        Ok(workers)
    }

    /// Tells it to reload.
    pub(super) fn hang_up(self) -> io::Result<bool> {
        self.0.signal(Signal::HUP)
    }
}

/// What a process calls itself; empty if it is gone.
fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
