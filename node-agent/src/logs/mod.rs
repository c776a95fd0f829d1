//! Logs of this node, read for people who may not come here themselves.
//!
//! # What may be read
//! What this agent's own file names, and nothing else (module `catalog`): the globs of `[logs.NAME]`, what the processes of
//! `[process.NAME]` print, and the journals of the units that `[allow.services]` lists. A path that comes in a request is
//! only ever compared with that; files are opened component by component without following links (module `tree`), so
//! neither a link nor a name such as `..` leads out.
//!
//! # Which way
//! ```text
//!   interlockctl ──ReadLogs──► coordinator ──ServeLogs(call)──► session of this agent
//!        ▲                        │  ▲                               │
//!        └──── answers ───────────┘  └── AnswerLogs(call) ◄──────────┘  another connection (module `relay`)
//! ```
//! The agent dials out, as for its session; a network that lets nobody in needs no change. Answers go the other way on a
//! connection of their own, so that a heartbeat never waits behind a log. All channels hold a few messages: who reads
//! slowly slows the reading down, and nothing is kept.
//!
//! # Bounds
//! A few calls at a time (`AT_ONCE`), each with one thread for what blocks: a log on a dead file system costs at most so
//! many threads, and no more can be asked for until it answers.

mod answer;
mod catalog;
mod follow;
mod glob;
mod head;
mod journal;
mod piece;
mod private;
mod relay;
mod share;
mod tail;
mod tree;

pub use glob::{BadGlob, Glob};
pub use share::{WORD as DELIVER_WORD, helper as deliver};

use std::sync::Arc;

use interlock_mesh::channel::{self, Target};
use interlock_mesh::credentials::Credentials;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::probe::FileProbes;
use catalog::Catalog;

/// Calls that are answered at a time; who follows a log has one for as long as that.
const AT_ONCE: usize = 8;

/// Calls that may wait for their turn: their callers give up after some seconds.
const WAITING: usize = 16;

/// Answers of one call that wait to be taken.
const QUEUE: usize = 4;

/// Bytes of one chunk. A message has at most 64 KiB.
const CHUNK: usize = 32 * 1024;

/// The logs of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Logs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    credentials: Credentials,
    channel: channel::Options,
    has_share: bool,
    share: share::Trouble,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Logs {
    /// What this file names.
    pub(crate) fn new(config: &Config, credentials: Credentials) -> Self {
        Self(Arc::new(Inner {
            catalog: Catalog::of(config),
            credentials,
            channel: channel::Options::default(),
            has_share: config.log_share.is_some(),
            share: share::Trouble::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }))
    }

    /// What is wrong with the share that they are brought to, now and whenever that changes: empty if nothing is, none as long as
    /// that is not known. None at all if there is no share.
    pub(crate) fn share(&self) -> Option<watch::Receiver<Option<String>>> {
        self.0.has_share.then(|| self.0.share.watch())
    }

    /// Brings them to the share of this file, if it names one, until the end. Must be called within a tokio runtime.
    pub(crate) fn deliver(&self, config: &Config, ending: CancellationToken) {
        let Some(share) = config.log_share.clone() else {
            return;
        };
        // Not `current_exe`: after an upgrade its path leads to another version, and this link to the one that runs.
        let files = FileProbes::new("/proc/self/exe".into(), config.node.clone());
        let (node, state) = (config.node.clone(), config.state_dir.clone());
        let logs = self.clone();
        let runtime = tokio::runtime::Handle::current();
        // On a thread of its own, because it waits for disks.
        tokio::task::spawn_blocking(move || {
            let delivering = share::run(logs, share, node, state, files);
            runtime.block_on(ending.run_until_cancelled(delivering))
        });
    }

    /// Answers a call of somebody through this coordinator. Returns at once.
    pub(crate) fn serve(&self, coordinator: &Target, call: u64) {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            tracing::warn!(call, "too many calls for logs: this one is not answered");
            return;
        };
        let (logs, coordinator) = (self.clone(), coordinator.clone());
        tokio::spawn(async move {
            // It is never closed.
            let _turn = Arc::clone(&logs.0.turns).acquire_owned().await;
            if let Err(error) = relay::serve(&logs, &coordinator, call).await {
                tracing::warn!(coordinator = %coordinator.address, call, error = %error, "a call for logs is not answered");
            }
            drop(place);
        });
    }
}
