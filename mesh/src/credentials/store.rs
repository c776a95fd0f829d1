//! The side of the pair that reads files.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::clock::now;
use super::expiry::Expiry;
use super::files::Stamp;
use super::material::Material;
use super::{Clock, Files, LoadError};
use crate::identity::Kind;

/// Reads, checks and publishes credentials.
#[derive(Debug)]
pub struct Store {
    files: Files,
    kind: Kind,
    clock: Clock,
    stamp: Stamp,
    publish: watch::Sender<Arc<Material>>,
}

/// What a look at the files has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are what they were at the last look.
    Unchanged,
    /// New credentials are in force for new connections.
    Changed,
}

impl Store {
    pub(super) const fn new(
        files: Files,
        kind: Kind,
        clock: Clock,
        stamp: Stamp,
        publish: watch::Sender<Arc<Material>>,
    ) -> Self {
        Self {
            files,
            kind,
            clock,
            stamp,
            publish,
        }
    }

    /// Looks at the files and, if they have changed since the last good look, checks and publishes them. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`LoadError`]; the credentials before remain in force, and the next look tries again: a clock may be set, a
    /// second file may follow the first.
    pub fn reload(&mut self) -> Result<Reloaded, LoadError> {
        let stamp = self.files.stamp();
        if stamp == self.stamp {
            return Ok(Reloaded::Unchanged);
        }
        let next = Material::load(&self.files, self.kind, &self.clock)?;
        let running = self.publish.borrow().identity.clone();
        if !next.identity.is_same_member(&running) {
            return Err(LoadError::OtherMember {
                path: self.files.certificate.clone(),
                found: Box::new(next.identity),
                running: Box::new(running),
            });
        }
        self.stamp = stamp;
        self.publish.send_replace(Arc::new(next));
        Ok(Reloaded::Changed)
    }

    /// Looks at the files every `period`, until dropped. Logs what changes, a failure once, and daily when the
    /// certificate is about to end.
    ///
    /// Three `stat` calls a time: a watch by the kernel would miss files that are mounted or linked into place.
    pub async fn run(mut self, period: Duration) -> Infallible {
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = None;
        let mut expiry = Expiry::default();
        loop {
            tick.tick().await;
            // Small files on a local disk, some hundred microseconds: not worth a thread that blocks.
            let outcome = self.reload();
            let failure = outcome
                .as_ref()
                .err()
                .map(|error| crate::error_chain(error));
            if let Some(cause) = failure
                .as_ref()
                .filter(|cause| reported.as_ref() != Some(*cause))
            {
                warn!(%cause, "credentials not reloaded, the previous ones remain in force");
            }
            reported = failure;

            let current = self.publish.borrow();
            let until = humantime::format_rfc3339_seconds(current.not_after);
            if matches!(outcome, Ok(Reloaded::Changed)) {
                info!(identity = %current.identity, %until, "credentials reloaded");
            }
            if expiry.is_due(now(&self.clock), current.not_after) {
                warn!(identity = %current.identity, %until, "the certificate ends soon, or has ended: renew it");
            }
        }
    }
}
