//! A node that brings its logs to a share by itself, every day.
//!
//! ```text
//!   logs of this node ──take──► STATE_DIR/log-spool/DAY/LOG/FILE.gz ──deliver──► DIR/DAY/NODE/LOG/FILE.gz
//!      once a day, what is new          bounded                        while the share is mounted
//! ```
//! When which of the two is due is decided without I/O (`collecting::daily` of the engine), and what is new of a file by the
//! same rule as on a workstation (`collecting`). Everything goes through the spool, so there is one way and not two: a share
//! that is away is a delivery that comes later.
//!
//! * **A directory is no share.** It is written to only while its file system is mounted, and the marker is there if one is
//!   named; else a day's logs would fill the disk below the mount point, and be hidden when the share comes back.
//! * **The spool is bounded.** What does not fit is not taken, and so it is taken the next day if its file is still there.
//! * **Each line once**, but for a crash in the very moment between the end of a file in the spool and the memory of it: then
//!   that file comes twice. A delivery that is broken off leaves a name that ends in `.part`, and is made again.
//! * **A share that hangs holds up nothing.** A helper process writes ([`helper`]), one at a time; what is new is taken into the
//!   spool meanwhile, and this program ends without waiting for it.
//! * **What is wrong is told**: coordinators have an event of it, and whoever collects logs sees it in the result.

mod courier;
mod delivery;
mod helper;
mod memory;
mod spool;
mod taker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use interlock_engine::collecting::daily::{AGAIN, Daily, Due};
use interlock_model::check::{MountCheck, Verdict};
use interlock_model::names::NodeName;
use interlock_model::time::Timestamp;

use tokio::sync::watch;

pub use helper::{WORD, helper};

use super::Logs;
use crate::config::LogShare;
use crate::probe::{FileProbes, is_mounted};
use crate::session::Clock;
use courier::{Courier, News};
use memory::Memory;
use spool::Spool;

/// How long the share may take to show its marker.
const MARKER: Duration = Duration::from_secs(10);

/// After how long without anything that reaches it a share does not answer: one piece of a file has to, and a busy server takes
/// its time for that.
const ANSWERS: Duration = Duration::from_secs(30);

/// What is told of it then.
const SILENT: &str = "it does not answer";

/// The helper is this very program. Not `current_exe`: after an upgrade its path leads to another version, and this link to
/// the one that runs.
const PROGRAM: &str = "/proc/self/exe";

/// The longest sleep: a clock may be set meanwhile.
const SLEEP: Duration = Duration::from_secs(60);

/// What is wrong with the share now, for coordinators and whoever collects: empty if it has everything, none as long as that is
/// not known. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(watch::Sender<Option<String>>);

impl Trouble {
    /// What is to be told.
    pub(super) fn told(&self) -> Option<String> {
        self.0.borrow().clone().filter(|said| !said.is_empty())
    }

    /// The same, and whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }

    fn is_known(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn is(&self, trouble: Option<String>) {
        self.0.send_if_modified(|now| {
            let said = trouble.unwrap_or_default();
            let is_news = now.as_deref() != Some(&*said);
            if is_news {
                match &*said {
                    "" => tracing::info!("the log share has everything"),
                    why => tracing::warn!("{why}"),
                }
                *now = Some(said);
            }
            is_news
        });
    }
}

/// Brings this node's logs to its share for ever.
pub(super) async fn run(
    logs: Logs,
    options: LogShare,
    node: NodeName,
    state: PathBuf,
    files: FileProbes,
) {
    let mut share = Share {
        trouble: logs.0.share.clone(),
        memory: Memory::load(state.join("log-share.json")),
        spool: Spool::new(state.join("log-spool"), options.spool),
        courier: None,
        missed: None,
        full: false,
        logs,
        options,
        node,
        files,
    };
    loop {
        let now = Clock.wall();
        let daily = Daily {
            taken: share.memory.taken,
            // What is being delivered need not be delivered.
            spooled: share.courier.is_none() && share.spool.holds_something(),
            missed: share.missed,
        };
        match daily.due(share.options.at, now) {
            Due::Take => share.take(now).await,
            Due::Deliver => share.deliver(now).await,
            Due::Nothing { until } => share.wait(until.since(now).min(SLEEP)).await,
        }
    }
}

struct Share {
    logs: Logs,
    options: LogShare,
    node: NodeName,
    files: FileProbes,
    trouble: Trouble,
    memory: Memory,
    spool: Spool,
    /// The delivery that is under way.
    courier: Option<Courier>,
    /// When the last delivery did not succeed.
    missed: Option<Timestamp>,
    /// Was the spool full when logs were taken last?
    full: bool,
}

impl Share {
    /// Takes what is new into the spool.
    async fn take(&mut self, now: Timestamp) {
        match taker::take(&self.logs, &mut self.memory, &self.spool, &day(now)).await {
            Ok(full) => {
                self.full = full;
                self.memory.taken = Some(now);
                if self.courier.as_ref().is_some_and(Courier::hangs) {
                    self.trouble.is(Some(self.waits(SILENT)));
                }
                if let Err(error) = self.memory.save() {
                    self.trouble.is(Some(format!(
                        "what was taken of the logs cannot be remembered: {error}"
                    )));
                    tokio::time::sleep(AGAIN).await;
                }
            }
            Err(why) => {
                self.trouble.is(Some(format!(
                    "the logs cannot be taken for the share: {why}"
                )));
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Begins to deliver what lies in the spool, if the share is there.
    async fn deliver(&mut self, now: Timestamp) {
        let (spool, dir, node) = (self.spool.dir(), &self.options.dir, self.node.as_str());
        let begun = match self.is_there().await {
            Ok(()) => Courier::start(Path::new(PROGRAM), spool, dir, node, ANSWERS)
                .map_err(|error| format!("its helper cannot be started: {error}")),
            Err(why) => Err(why),
        };
        match begun {
            Ok(courier) => self.courier = Some(courier),
            Err(why) => self.ended(now, Err(why)),
        }
    }

    /// Waits for so long, or until there is something to be done about the delivery.
    async fn wait(&mut self, most: Duration) {
        let Some(courier) = &mut self.courier else {
            // An earlier agent has brought all that it had taken.
            if !self.trouble.is_known() && !self.spool.holds_something() {
                self.trouble.is(None);
            }
            return tokio::time::sleep(most).await;
        };
        let news = tokio::select! {
            news = courier.news() => news,
            () = tokio::time::sleep(most) => return,
        };
        match news {
            News::Moves => {}
            News::Hangs => self.trouble.is(Some(self.waits(SILENT))),
            News::Over(delivered) => {
                self.courier = None;
                self.ended(Clock.wall(), delivered);
            }
        }
    }

    /// A delivery is over, or was not begun.
    fn ended(&mut self, now: Timestamp, delivered: Result<(), String>) {
        match delivered {
            Ok(()) => {
                self.missed = None;
                let full = self.full.then(|| {
                    format!(
                        "the log spool of {} bytes was full: not everything of the last day is in the share at {}",
                        self.options.spool,
                        self.options.dir.display()
                    )
                });
                self.trouble.is(full);
            }
            Err(why) => {
                self.missed = Some(now);
                self.trouble.is(Some(self.waits(&why)));
            }
        }
    }

    fn waits(&self, why: &str) -> String {
        let (files, bytes) = self.spool.holds();
        let full = if self.full {
            ", which is full: not everything is in it"
        } else {
            ""
        };
        format!(
            "the log share at {} is away ({why}): {files} files of {bytes} bytes wait in {}{full}",
            self.options.dir.display(),
            self.spool.dir().display()
        )
    }

    async fn is_there(&self) -> Result<(), String> {
        let check = MountCheck {
            path: self.options.mount.display().to_string(),
            source: None,
            fstype: None,
            writable: true,
            marker: self.options.marker.clone(),
            content: None,
        };
        let seen = is_mounted(&self.files, &check, MARKER).await;
        if seen.verdict == Verdict::Ok {
            Ok(())
        } else {
            Err(seen.evidence)
        }
    }
}

/// The day of UTC, as `20261122`.
fn day(at: Timestamp) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(at.0);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.chars().take(10).filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_called_by_its_digits() {
        assert_eq!(day(Timestamp(0)), "19700101");
        assert_eq!(day(Timestamp(1_795_305_599_000)), "20261121");
    }
}
