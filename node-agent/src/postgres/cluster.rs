//! A server of this machine, with all that can be done with it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::names::{LocalName, NodeName};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::aside::{self, Saved};
use super::deadline::Deadline;
use super::follow::{self, Followed};
use super::layout::{Layout, Place};
use super::local::Talk;
use super::observed::Observed;
use super::promote::{self, Promoted};
use super::slots::{self, Slots};
use super::synchronous::{self, Proof, Synchronous, Waits};
use super::tool::{Tools, argument};
use super::{
    Comparison, Control, Error, Fork, Lsn, Operation, Trouble, Upstream, clone, compare, holders,
    observe, rewind,
};
use crate::config::Postgres;
use crate::shim::ProcessRef;

/// A PostgreSQL server of this machine. Cheap to clone.
///
/// One operation that changes something is done at a time; the others wait for it within their limit. Each may be given up
/// (dropped) or die with the agent at any moment: the next one goes on from there, or says what is needed.
#[derive(Debug, Clone)]
pub struct Cluster {
    name: LocalName,
    node: NodeName,
    config: Arc<Postgres>,
    turn: Arc<Mutex<()>>,
    /// For whom commits are proven to wait.
    waits: Arc<Proof>,
}

/// The server as files and programs, while one operation works with it.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) config: Arc<Postgres>,
    pub(super) node: NodeName,
    pub(super) layout: Layout,
    pub(super) tools: Tools,
    /// Held by every step as well: one that blocks and was given up is over before the next operation begins.
    turn: Option<Arc<OwnedMutexGuard<()>>>,
}

impl Cluster {
    /// The server that the agent's file calls so, on this node.
    #[must_use]
    pub fn new(name: LocalName, config: Postgres, node: NodeName) -> Self {
        Self {
            name,
            node,
            config: Arc::new(config),
            turn: Arc::new(Mutex::new(())),
            waits: Arc::default(),
        }
    }

    /// Its name in the agent's file.
    #[must_use]
    pub fn name(&self) -> &LocalName {
        &self.name
    }

    /// What the agent's file says of it.
    #[must_use]
    pub fn config(&self) -> &Postgres {
        &self.config
    }

    /// Looks at the server. Changes nothing, and waits for no other operation.
    ///
    /// # Errors
    /// If it cannot be told what the server does: then it may do anything.
    pub async fn observe(&self, limit: Duration) -> Result<Observed, Error> {
        let work = async |deadline| {
            let site = self.site(deadline, None).await?;
            observe::observe(&site, deadline).await
        };
        self.named(Operation::Observe, work(Deadline::new(limit)).await)
    }

    /// The process that all others of the server that runs stand and fall with; none if it does not run.
    ///
    /// # Errors
    /// If nobody can tell.
    pub(crate) async fn postmaster(&self, limit: Duration) -> Result<Option<ProcessRef>, Error> {
        let work = async |deadline| {
            let site = self.site(deadline, None).await?;
            let data = site.layout.data.clone();
            site.blocking(deadline, move || holders::postmaster(&data))
                .await
        };
        self.named(Operation::Observe, work(Deadline::new(limit)).await)
    }

    /// Has a server that runs write to its disk what it has changed in memory: a shutdown soon afterwards has less to write.
    ///
    /// # Errors
    /// If it does not run, refuses, or needs longer; then it goes on.
    pub async fn checkpoint(&self, limit: Duration) -> Result<(), Error> {
        let work = async |deadline| {
            let site = self.site(deadline, None).await?;
            let talk = Talk::local(&site.config, site.layout.owner, deadline).await;
            let mut talk = talk.map_err(promote::not_running)?;
            deadline.within(talk.rows("CHECKPOINT")).await?;
            talk.close().await;
            Ok(())
        };
        self.named(Operation::Checkpoint, work(Deadline::new(limit)).await)
    }

    /// Reads the control file. What it says of a running server is old; see [`Control`].
    ///
    /// # Errors
    /// If there is no data directory, or it cannot be read.
    pub async fn control(&self, limit: Duration) -> Result<Control, Error> {
        let work = async |deadline| {
            let site = self.begin(deadline).await?;
            let layout = site.layout.clone();
            let need = move || layout.need_data(layout.place()?);
            site.blocking(deadline, need).await?;
            compare::control(&site, &self.config.data, deadline).await
        };
        self.named(Operation::Control, work(Deadline::new(limit)).await)
    }

    /// The end of the log of a server that was killed: behind all that it has ever acknowledged, and maybe behind what it has
    /// written last and nobody was told of.
    ///
    /// # Errors
    /// If something of it is left, or its log cannot be read.
    pub async fn end_of_log(&self, limit: Duration) -> Result<Lsn, Error> {
        let work = async |deadline| {
            let (site, place) = self.begin_stopped(deadline).await?;
            site.layout.need_data(place)?;
            let standing = compare::stopped(&site, &self.config.data, deadline).await;
            standing.map(|standing| standing.end)
        };
        self.named(Operation::Control, work(Deadline::new(limit)).await)
    }

    /// To be called **before each start of the server**, whoever starts it: ends what was interrupted, and has it start as a
    /// standby. It follows whom it followed before; [`Cluster::follow`] does this as well.
    ///
    /// # Errors
    /// If it may not be started: something holds the directory, there is none, or it is half rewound.
    pub async fn prepare_start(&self, limit: Duration) -> Result<(), Error> {
        let work = async |deadline| {
            let (site, place) = self.begin_stopped(deadline).await?;
            let layout = site.layout.clone();
            let prepare = move || {
                layout.need_data(place)?;
                layout.need_no_recovery_conf()?;
                follow::write_into(&layout, &layout.data, &follow::endless())
            };
            site.blocking(deadline, prepare).await
        };
        self.named(Operation::PrepareStart, work(Deadline::new(limit)).await)
    }

    /// Sees that the next start of a server that runs as primary is that of a standby, whoever makes it. A server that runs
    /// takes no notice.
    ///
    /// # Errors
    /// If the signal file cannot be written.
    pub async fn keep_standby(&self, limit: Duration) -> Result<(), Error> {
        let work = async |deadline| {
            let site = self.begin(deadline).await?;
            let layout = site.layout.clone();
            let keep = move || layout.make_standby(&layout.data);
            site.blocking(deadline, keep).await
        };
        self.named(Operation::PrepareStart, work(Deadline::new(limit)).await)
    }

    /// Has the server follow another one, or none: from its next start on if it is stopped, at once if it is a standby that
    /// runs. To follow the one that it follows changes nothing.
    ///
    /// # Errors
    /// If it is a primary that runs, may not be started, or does something else than what was written.
    pub async fn follow(
        &self,
        upstream: Option<&Upstream>,
        limit: Duration,
    ) -> Result<Followed, Error> {
        let work = async |deadline| {
            let site = self.begin(deadline).await?;
            follow::follow(&site, upstream, deadline).await
        };
        self.named(Operation::Follow, work(Deadline::new(limit)).await)
    }

    /// Compares the log of the server, which runs or is stopped, with that of the one that it is to follow, which runs.
    /// Changes nothing.
    ///
    /// # Errors
    /// If one of them does not tell.
    pub async fn divergence(
        &self,
        upstream: &Upstream,
        limit: Duration,
    ) -> Result<Comparison, Error> {
        let work = async |deadline| {
            let site = self.begin(deadline).await?;
            compare::divergence(&site, upstream, deadline).await
        };
        self.named(Operation::Compare, work(Deadline::new(limit)).await)
    }

    /// Saves what a rejoin loses, of a server that is stopped. What was saved already is not saved again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn save_aside(&self, fork: Fork, limit: Duration) -> Result<Saved, Error> {
        let work = async |deadline| {
            let (site, place) = self.begin_stopped(deadline).await?;
            site.layout.need_data(place)?;
            aside::save(&site, fork, deadline).await
        };
        self.named(Operation::SaveAside, work(Deadline::new(limit)).await)
    }

    /// Makes the data of a stopped server that has diverged those of the upstream, a primary, by copying what differs; it
    /// follows the upstream from its next start on.
    ///
    /// # Errors
    /// [`Trouble::NotRewindable`] has changed nothing that matters. After [`Trouble::HalfRewound`], and after an interruption,
    /// only [`Cluster::clone_from`] helps. Other troubles come before anything was changed, or leave one of the two.
    pub async fn rewind(&self, upstream: &Upstream, limit: Duration) -> Result<(), Error> {
        let work = async |deadline| {
            let (site, place) = self.begin_stopped(deadline).await?;
            site.layout.need_data(place)?;
            rewind::rewind(&site, upstream, deadline).await
        };
        self.named(Operation::Rewind, work(Deadline::new(limit)).await)
    }

    /// Makes a new copy of the upstream, whatever is there, and puts it in the place of the data directory of the stopped
    /// server; it follows the upstream from its next start on. What it replaces is kept beside it until the next clone.
    ///
    /// # Errors
    /// If the copy could not be made: what was there is still there.
    pub async fn clone_from(&self, upstream: &Upstream, limit: Duration) -> Result<(), Error> {
        let work = async |deadline| {
            let (site, place) = self.begin_stopped(deadline).await?;
            clone::clone(&site, place, upstream, deadline).await
        };
        self.named(Operation::Clone, work(Deadline::new(limit)).await)
    }

    /// Makes the standby a primary, and returns when it has taken a write, as its settings want it: with synchronous standbys
    /// one of them has it. A primary is asked for the write alone.
    ///
    /// # Errors
    /// Whatever the error, the server **may be or become a primary** as soon as this was called.
    pub async fn promote(&self, limit: Duration) -> Result<Promoted, Error> {
        let work = async |deadline| {
            let site = self.site(deadline, None).await?;
            promote::promote(&site, deadline).await
        };
        self.named(Operation::Promote, work(Deadline::new(limit)).await)
    }

    /// Has commits wait for standbys, or for none, from now on (a primary that runs), or from the promotion or the next start
    /// on. Returns when a running server does so.
    ///
    /// # Errors
    /// If that is not sure: then commits may or may not wait.
    pub async fn synchronous(
        &self,
        wanted: Option<&Synchronous>,
        limit: Duration,
    ) -> Result<(), Error> {
        let work = async |deadline| {
            let site = self.begin(deadline).await?;
            synchronous::set(&site, wanted, &self.waits, deadline).await
        };
        self.named(Operation::Synchronous, work(Deadline::new(limit)).await)
    }

    /// For whom commits are proven to wait, by the last [`Cluster::synchronous`] of this agent's life; none while that is
    /// unknown, or being changed.
    #[must_use]
    pub fn waits(&self) -> Option<Waits> {
        synchronous::locked(&self.waits).clone()
    }

    /// Has the running server keep a replication slot for each of these nodes, and none for any other. Slots of other names
    /// are not touched.
    ///
    /// # Errors
    /// If it does not run, or refuses.
    pub async fn slots(&self, nodes: &BTreeSet<NodeName>, limit: Duration) -> Result<Slots, Error> {
        let work = async |deadline| {
            let site = self.begin(deadline).await?;
            slots::set(&site, nodes, deadline).await
        };
        self.named(Operation::Slots, work(Deadline::new(limit)).await)
    }

    fn named<T>(&self, operation: Operation, result: Result<T, Trouble>) -> Result<T, Error> {
        result.map_err(|trouble| Error {
            cluster: self.name.clone(),
            operation,
            trouble,
        })
    }

    /// Begins an operation that changes something: alone.
    async fn begin(&self, deadline: Deadline) -> Result<Site, Trouble> {
        let turn = Arc::clone(&self.turn).lock_owned();
        let turn = deadline.within(async { Ok(turn.await) }).await?;
        self.site(deadline, Some(Arc::new(turn))).await
    }

    /// The same for a server that has to be stopped: nothing is at work on its directories, and what was interrupted is ended.
    async fn begin_stopped(&self, deadline: Deadline) -> Result<(Site, Place), Trouble> {
        let site = self.begin(deadline).await?;
        site.tools.end_left(deadline).await?;
        let layout = site.layout.clone();
        let settle = move || {
            holders::need_none(&layout.places(), layout.owner)?;
            layout.settle()
        };
        let place = site.blocking(deadline, settle).await?;
        Ok((site, place))
    }

    async fn site(
        &self,
        deadline: Deadline,
        turn: Option<Arc<OwnedMutexGuard<()>>>,
    ) -> Result<Site, Trouble> {
        let config = Arc::clone(&self.config);
        let user = deadline.within(async {
            let resolved = tokio::task::spawn_blocking(move || config.user.resolve()).await;
            resolved
                .map_err(|_| Trouble::Ending)?
                .map_err(Trouble::Account)
        });
        let user = user.await?;
        Ok(Site {
            config: Arc::clone(&self.config),
            node: self.node.clone(),
            layout: Layout::new(&self.config.data, user),
            tools: Tools {
                programs: self.config.programs.clone(),
                user,
                passfile: self.config.passfile.clone(),
                mark: self.config.data.clone(),
            },
            turn,
        })
    }
}

impl Site {
    /// A step that blocks on the disk. If it takes too long it is given up, but comes to its end before the next operation
    /// begins.
    pub(super) fn blocking<T, F>(
        &self,
        deadline: Deadline,
        step: F,
    ) -> impl Future<Output = Result<T, Trouble>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Trouble> + Send + 'static,
    {
        let turn = self.turn.clone();
        let step = tokio::task::spawn_blocking(move || {
            let done = step();
            drop(turn);
            done
        });
        deadline.within(async { step.await.unwrap_or(Err(Trouble::Ending)) })
    }

    /// The arguments by which a program of the server finds a data directory and the configuration.
    pub(super) fn server_arguments(&self, data: &std::path::Path) -> Vec<String> {
        let data = argument(data);
        let mut arguments = vec!["-D".to_owned(), data.clone()];
        if let Some(config) = &self.config.config {
            // The file may name the place of the data directory, which this one has left.
            arguments.extend([
                "-c".to_owned(),
                format!("config_file={}", argument(config)),
                "-c".to_owned(),
                format!("data_directory={data}"),
            ]);
        }
        arguments
    }
}
