//! The handle through which the rest of the agent makes things durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use interlock_engine::agent::ledger::{Record, Write};
use tokio::sync::mpsc as async_mpsc;

use super::OpenError;
use super::disk::{Disk, Job, Kind};
use crate::run::chain;

/// The pauses before a disk that has refused is tried again; the last one repeats. It is emptied by a person, who shall
/// not have to wait for this program then.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// What becomes of batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Every batch up to this number is durable.
    Durable(u64),
    /// No later batch is, and none will be: the disk refuses, for this reason, and this is to be done. Waits for [`Recorder::commit_again`].
    Refused(String),
}

/// What a ledger held when it was opened.
#[derive(Debug, Default)]
pub struct Kept {
    /// The records, in any order.
    pub records: Vec<Record>,
    /// The last assignment, as it was saved.
    pub assignment: Option<Vec<u8>>,
    /// The last claims, as they were saved.
    pub claims: Option<Vec<u8>>,
}

/// Makes batches durable and says when they are.
///
/// Its queue has no bound of its own: whoever feeds the ledger stops while too many batches are not durable.
#[derive(Debug)]
pub struct Recorder {
    to: Destination,
    reports: async_mpsc::UnboundedReceiver<Report>,
}

#[derive(Debug)]
enum Destination {
    Disk {
        jobs: mpsc::Sender<Job>,
        writer: JoinHandle<()>,
    },
    Memory(async_mpsc::UnboundedSender<Report>),
}

impl Recorder {
    /// Opens the file of this owner, or makes it, and starts the thread that writes it.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be used.
    pub fn open(path: &Path, owner: &str) -> Result<(Self, Kept), OpenError> {
        let (disk, kept) = Disk::open(path, owner)?;
        let (jobs, todo) = mpsc::channel();
        let (report, reports) = async_mpsc::unbounded_channel();
        let path = path.to_owned();
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || Writer::new(disk, path, todo, report).run())
            .map_err(OpenError::Thread)?;
        Ok((
            Self {
                to: Destination::Disk { jobs, writer },
                reports,
            },
            kept,
        ))
    }

    /// A ledger that forgets everything at its end: for agents that only measure.
    #[must_use]
    pub fn in_memory() -> Self {
        let (report, reports) = async_mpsc::unbounded_channel();
        Self {
            to: Destination::Memory(report),
            reports,
        }
    }

    /// Takes a batch; [`Recorder::report`] tells when it is durable.
    pub fn commit(&self, number: u64, writes: Vec<Write>) {
        self.take(Job::Batch { number, writes }, number);
    }

    /// Takes the batch that stands for every one that was refused. It is tried after a pause.
    pub fn commit_again(&self, number: u64, writes: Vec<Write>) {
        self.take(Job::Again { number, writes }, number);
    }

    fn take(&self, job: Job, number: u64) {
        match &self.to {
            Destination::Disk { jobs, .. } => self.send(jobs, job),
            Destination::Memory(report) => {
                // The receiver lives as long as this handle.
                let _ = report.send(Report::Durable(number));
            }
        }
    }

    /// Keeps what a coordinator said, after all batches before.
    pub fn save(&self, kind: Kind, bytes: Vec<u8>) {
        match &self.to {
            Destination::Disk { jobs, .. } => self.send(jobs, Job::Said(kind, bytes)),
            Destination::Memory(_) => {}
        }
    }

    /// Waits for the next report. Never ends by itself.
    pub async fn report(&mut self) -> Report {
        match self.reports.recv().await {
            Some(report) => report,
            // The thread is gone, so nothing will be durable any more, and nothing is released any more.
            None => std::future::pending().await,
        }
    }

    /// Writes what is still waiting and closes the file.
    pub async fn close(self) {
        if let Destination::Disk { jobs, writer } = self.to {
            drop(jobs);
            let joined = tokio::task::spawn_blocking(move || writer.join());
            if !matches!(joined.await, Ok(Ok(()))) {
                tracing::error!("the thread that writes the ledger ended badly");
            }
        }
    }

    fn send(&self, jobs: &mpsc::Sender<Job>, job: Job) {
        if jobs.send(job).is_err() {
            tracing::error!(
                "the thread that writes the ledger is gone: nothing is accepted any more; restart the agent"
            );
        }
    }
}

/// The thread: takes everything that waits, flushes once, reports.
struct Writer {
    disk: Disk,
    path: PathBuf,
    todo: mpsc::Receiver<Job>,
    report: async_mpsc::UnboundedSender<Report>,
    /// How often in a row the disk has refused.
    failures: usize,
    /// The newest of each kind that was refused.
    said: BTreeMap<Kind, Vec<u8>>,
}

impl Writer {
    fn new(
        disk: Disk,
        path: PathBuf,
        todo: mpsc::Receiver<Job>,
        report: async_mpsc::UnboundedSender<Report>,
    ) -> Self {
        Self {
            disk,
            path,
            todo,
            report,
            failures: 0,
            said: BTreeMap::new(),
        }
    }

    fn run(mut self) {
        while let Some(jobs) = self.gather() {
            let report = match self.disk.write(&jobs) {
                Ok(()) => {
                    if self.failures > 0 {
                        tracing::info!(path = %self.path.display(), "the ledger can be written again");
                    }
                    self.failures = 0;
                    let last = jobs.iter().rev().find_map(|job| match job {
                        Job::Batch { number, .. } | Job::Again { number, .. } => Some(*number),
                        Job::Said(..) => None,
                    });
                    last.map(Report::Durable)
                }
                Err(error) => {
                    tracing::error!(
                        path = %self.path.display(), error = chain(&error),
                        "the ledger cannot be written: every attempt is refused until it can"
                    );
                    self.failures += 1;
                    self.said = jobs
                        .into_iter()
                        .filter_map(|job| match job {
                            Job::Said(kind, bytes) => Some((kind, bytes)),
                            Job::Batch { .. } | Job::Again { .. } => None,
                        })
                        .collect();
                    Some(Report::Refused(chain(&error)))
                }
            };
            if report.is_some_and(|report| self.report.send(report).is_err()) {
                return;
            }
        }
    }

    /// What is to be written next; none at the end. After a failure that is what the ledger says anew, and what it says
    /// from then on: all that was sent before it knew of the failure is in there.
    fn gather(&mut self) -> Option<Vec<Job>> {
        let mut jobs = Vec::new();
        if self.failures == 0 {
            jobs.push(self.todo.recv().ok()?);
        } else {
            loop {
                match self.todo.recv().ok()? {
                    again @ Job::Again { .. } => {
                        jobs.push(again);
                        break;
                    }
                    Job::Said(kind, bytes) => drop(self.said.insert(kind, bytes)),
                    Job::Batch { .. } => {}
                }
            }
            let said = std::mem::take(&mut self.said).into_iter();
            jobs.extend(said.map(|(kind, bytes)| Job::Said(kind, bytes)));
            self.pause(&mut jobs);
        }
        jobs.extend(self.todo.try_iter());
        Some(jobs)
    }

    /// Waits before the disk is tried again, unless the agent ends.
    fn pause(&self, jobs: &mut Vec<Job>) {
        let pause = PAUSES[self.failures.min(PAUSES.len()) - 1];
        let until = Instant::now() + pause;
        while let Ok(job) = self
            .todo
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            jobs.push(job);
        }
    }
}
