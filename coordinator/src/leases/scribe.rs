//! What people are told of leases: events, and the record of why an epoch began.
//!
//! Written by the driver like everything else that people read, and by a task of its own: whoever decides over a role does
//! not wait for a line about it.

use interlock_engine::coordinator::Write;
use interlock_engine::lease::ReleaseReport;
use interlock_model::names::ServiceName;
use tokio::sync::mpsc;
use tracing::warn;

use crate::clock;
use crate::driver::Handle;

/// How many notes may wait. Beyond it the store has taken nothing for long, and who decides goes on without them.
const WAITING: usize = 256;

/// Something that happened to a lease.
#[derive(Debug)]
pub(super) struct Note {
    /// The kind of the event; none writes no event.
    pub(super) kind: Option<&'static str>,
    pub(super) service: ServiceName,
    /// Whom it is about; empty: nobody.
    pub(super) node: String,
    /// For a person who was woken up by it.
    pub(super) text: String,
    /// What is written with it.
    pub(super) write: Option<Write>,
}

impl Note {
    /// A role was given back.
    pub(super) fn released(report: &ReleaseReport) -> Self {
        let (service, node) = (&report.service, &report.holder.node);
        let began = if report.began {
            "nothing of its instance is primary any more"
        } else {
            "it never became primary in it"
        };
        Self {
            kind: Some("lease-released"),
            service: service.clone(),
            node: node.to_string(),
            text: format!(
                "{node} has given {} of {service} back: {began}",
                report.epoch
            ),
            write: None,
        }
    }
}

/// The way to the task that writes notes.
#[derive(Debug, Clone)]
pub(super) struct Scribe(mpsc::Sender<Note>);

impl Scribe {
    /// A scribe, and its task; that ends with the driver.
    pub(super) fn begin(driver: Handle) -> Self {
        let (sender, notes) = mpsc::channel(WAITING);
        tokio::spawn(write(driver, notes));
        Self(sender)
    }

    pub(super) fn note(&self, note: Note) {
        if let Err(lost) = self.0.try_send(note) {
            let note = lost.into_inner();
            warn!(service = %note.service, text = note.text, "an event was not recorded");
        }
    }
}

async fn write(driver: Handle, mut notes: mpsc::Receiver<Note>) {
    while let Some(note) = notes.recv().await {
        let written = driver.call(move |desk| {
            if let Some(kind) = note.kind {
                desk.coordinator.event(kind, clock::now(), |event| {
                    event.service = note.service.to_string();
                    event.node = note.node;
                    event.text = note.text;
                });
            }
            desk.write(note.write);
        });
        match written.await {
            Ok(()) => {}
            Err(crate::driver::NotDone::Gone) => return,
            Err(why) => warn!(%why, "an event was not recorded"),
        }
    }
}
