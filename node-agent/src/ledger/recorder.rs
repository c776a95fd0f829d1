//! The handle through which the rest of the agent makes things durable.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use interlock_engine::agent::ledger::{Record, Write};
use tokio::sync::mpsc as async_mpsc;

use super::OpenError;
use super::disk::{Disk, Job};

/// The pauses before a refused write is tried again; the last one repeats. A full disk is emptied by a person.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// What a ledger held when it was opened.
#[derive(Debug, Default)]
pub struct Kept {
    /// The records, in any order.
    pub records: Vec<Record>,
    /// The last assignment, as it was saved.
    pub assignment: Option<Vec<u8>>,
}

/// Makes batches durable and says when they are.
///
/// Its queue has no bound of its own: whoever feeds the ledger stops while too many batches are not durable.
#[derive(Debug)]
pub struct Recorder {
    to: Destination,
    durable: async_mpsc::UnboundedReceiver<u64>,
}

#[derive(Debug)]
enum Destination {
    Disk {
        jobs: mpsc::Sender<Job>,
        writer: JoinHandle<()>,
    },
    Memory(async_mpsc::UnboundedSender<u64>),
}

impl Recorder {
    /// Opens the file and starts the thread that writes it.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be used.
    pub fn open(path: &Path) -> Result<(Self, Kept), OpenError> {
        let (disk, kept) = Disk::open(path)?;
        let (jobs, todo) = mpsc::channel();
        let (report, durable) = async_mpsc::unbounded_channel();
        let path = path.to_owned();
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || write_all(&disk, &path, &todo, &report))
            .map_err(OpenError::Thread)?;
        Ok((
            Self {
                to: Destination::Disk { jobs, writer },
                durable,
            },
            kept,
        ))
    }

    /// A ledger that forgets everything at its end: for agents that only measure.
    #[must_use]
    pub fn in_memory() -> Self {
        let (report, durable) = async_mpsc::unbounded_channel();
        Self {
            to: Destination::Memory(report),
            durable,
        }
    }

    /// Takes a batch; [`Recorder::durable`] tells when it is durable.
    pub fn commit(&self, number: u64, writes: Vec<Write>) {
        match &self.to {
            Destination::Disk { jobs, .. } => self.send(jobs, Job::Batch { number, writes }),
            Destination::Memory(report) => {
                // The receiver lives as long as this handle.
                let _ = report.send(number);
            }
        }
    }

    /// Keeps an assignment, after all batches before.
    pub fn save_assignment(&self, bytes: Vec<u8>) {
        match &self.to {
            Destination::Disk { jobs, .. } => self.send(jobs, Job::Assignment(bytes)),
            Destination::Memory(_) => {}
        }
    }

    /// Waits for the next report: every batch up to this number is durable. Never ends by itself.
    pub async fn durable(&mut self) -> u64 {
        match self.durable.recv().await {
            Some(batch) => batch,
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
fn write_all(
    disk: &Disk,
    path: &Path,
    todo: &mpsc::Receiver<Job>,
    report: &async_mpsc::UnboundedSender<u64>,
) {
    while let Ok(first) = todo.recv() {
        let mut jobs = vec![first];
        jobs.extend(todo.try_iter());
        let mut pauses = PAUSES
            .iter()
            .chain(std::iter::repeat(&PAUSES[PAUSES.len() - 1]));
        while let Err(error) = disk.write(&jobs) {
            tracing::error!(
                path = %path.display(), %error,
                "the ledger cannot be written: nothing is accepted and nothing reported until it can; is the disk full?"
            );
            std::thread::sleep(*pauses.next().unwrap_or(&PAUSES[0]));
        }
        let last = jobs.iter().rev().find_map(|job| match job {
            Job::Batch { number, .. } => Some(*number),
            Job::Assignment(_) => None,
        });
        if let Some(number) = last
            && report.send(number).is_err()
        {
            return;
        }
    }
}
