//! A run as the agent holds it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use interlock_model::ids::BootId;
use interlock_model::time::Timestamp;
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::capture::{Captured, STDERR, STDOUT};
use super::cgroup::Leaf;
use super::grip::Grip;
use super::leftover::{self, Group, Proof};
use super::orphan;
use super::outcome::{ChildEnd, Ended, Outcome, collect};
use super::procfs::{self, ProcessRef};
use super::record::{self, Exit, MainRecord, RunRecord};
use super::spec::{SpecFile, Stop};
use super::{FAR, deadline};
use super::{RunId, RunSpec};

/// The first pause between looks for the end of a command that its shim is about to write down.
const RECORD_LOOK: Duration = Duration::from_millis(2);

/// The longest one: each is twice as long as that before it, since a shim on a slow disk takes its time.
const RECORD_LOOK_LONGEST: Duration = Duration::from_millis(50);

/// A run could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// The shim could not be asked.
    #[error("cannot ask the shim of run {0} to stop its command")]
    Ask(RunId, #[source] io::Error),
    /// What is left without a shim could not be found or signalled.
    #[error("cannot stop what is left of run {0}")]
    Leftovers(RunId, #[source] io::Error),
    /// The agent is ending.
    #[error("run {0} is no longer followed: the agent is ending")]
    Ending(RunId),
    /// Nothing of it is found, which is no proof.
    #[error(
        "the shim of run {0} was killed: no process with its mark is left, which without a control group is no proof, since \
         one may have shed it; look on its machine, end what you find, and try again"
    )]
    Unproven(RunId),
}

#[derive(Debug, Clone)]
enum Phase {
    Running,
    /// The command itself has exited; something else of the run may be left.
    MainExited,
    Ended(Ended),
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    spec: SpecFile,
    record: Option<RunRecord>,
    phase: watch::Sender<Phase>,
    /// When the shim was last told to lose patience. Who asks later may shorten that, never extend it.
    kill_at: Mutex<Option<Instant>>,
}

impl Shared {
    /// Tells the shim to stop its command.
    fn ask(&self, stop: Stop) -> io::Result<()> {
        let Some(shim) = self.record.as_ref().map(|record| record.shim) else {
            return Ok(());
        };
        // Held until the shim is signalled: of two requests the shim may see only the later one.
        let mut kill_at = self.kill_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mine = deadline(now, stop.grace);
        let earliest = kill_at.map_or(mine, |before| before.min(mine));
        *kill_at = Some(earliest);
        let grace = earliest.saturating_duration_since(now);
        if let Err(error) = record::overwrite(&self.dir, record::STOP, &Stop { grace, ..stop }) {
            // To be stopped by its own rule is better than not at all.
            tracing::warn!(run = %self.spec.run.id, %error, "cannot tell the shim how to stop its command; it stops it by the \
                           run's own rule");
        }
        // False if it has just ended, which is what was wanted.
        shim.signal(Signal::TERM).map(|_| ())
    }
}

impl Shared {
    /// Watches what is left of an ended run, if anything is.
    fn watch_left(self: &Arc<Self>) {
        if matches!(&*self.phase.borrow(), Phase::Ended(ended) if !ended.group.is_empty()) {
            let shared = Arc::clone(self);
            let (dir, spec) = (self.dir.clone(), self.spec.clone());
            tokio::spawn(orphan::watch(dir, spec, move |group| shared.found(group)));
        }
    }

    /// This is left of it now. What was proven to be gone stays so.
    fn found(&self, group: Group) {
        self.phase.send_if_modified(|phase| match phase {
            Phase::Ended(ended) if !ended.group.is_empty() && ended.group != group => {
                ended.group = group;
                true
            }
            Phase::Running | Phase::MainExited | Phase::Ended(_) => false,
        });
    }
}

/// A cheap handle to a run. Dropping it ends nothing.
#[derive(Debug, Clone)]
pub struct Run {
    shared: Arc<Shared>,
}

/// What is needed to notice that processes die.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) shim: OwnedFd,
    /// None if the command has already exited, or was not started.
    pub(crate) child: Option<OwnedFd>,
    /// The shim, if it is a child of this process that has to be waited for.
    pub(crate) reap: Option<Child>,
}

impl Run {
    /// The run of a living shim. Must be called within the runtime.
    pub(crate) fn follow(
        dir: PathBuf,
        spec: SpecFile,
        record: RunRecord,
        boot_id: &BootId,
        followed: Followed,
    ) -> io::Result<Self> {
        let Followed { shim, child, reap } = followed;
        let shim = watch_fd(shim)?;
        let child = child.map(watch_fd).transpose()?;
        let phase = if child.is_some() {
            Phase::Running
        } else {
            Phase::MainExited
        };
        let shared = Arc::new(Shared {
            dir,
            spec,
            record: Some(record),
            phase: watch::Sender::new(phase),
            kill_at: Mutex::default(),
        });
        let run = Self {
            shared: Arc::clone(&shared),
        };
        let boot_id = boot_id.clone();
        tokio::spawn(async move {
            if let Some(child) = child {
                // A pidfd becomes readable when its process exits (pidfd_open(2)).
                tokio::select! {
                    _ = child.readable() => drop(shared.phase.send_replace(Phase::MainExited)),
                    // Killed: the command may live on.
                    _ = shim.readable() => {}
                }
            }
            let _ = shim.readable().await;
            let ended = tokio::task::spawn_blocking({
                let shared = Arc::clone(&shared);
                move || {
                    if let Some(mut shim) = reap {
                        // It has exited, so this does not wait.
                        let _ = shim.wait();
                    }
                    collect(&shared.dir, &shared.spec, &boot_id)
                }
            });
            if let Ok(ended) = ended.await {
                shared.phase.send_replace(Phase::Ended(ended));
                shared.watch_left();
            }
        });
        Ok(run)
    }

    /// A run without a shim. Must be called within the runtime.
    pub(crate) fn ended(
        dir: PathBuf,
        spec: SpecFile,
        record: Option<RunRecord>,
        ended: Ended,
    ) -> Self {
        let phase = watch::Sender::new(Phase::Ended(ended));
        let shared = Arc::new(Shared {
            dir,
            spec,
            record,
            phase,
            kill_at: Mutex::default(),
        });
        shared.watch_left();
        Self { shared }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.shared.spec.run.id
    }

    /// What it was launched with. The input is not kept.
    #[must_use]
    pub fn spec(&self) -> &RunSpec {
        &self.shared.spec.run
    }

    /// The pid of the command; none if it was never started. May be somebody else's after the end.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.command().map(|child| child.pid)
    }

    /// The pid of its shim. May be somebody else's after the end.
    #[must_use]
    pub fn shim_pid(&self) -> Option<u32> {
        self.shared.record.as_ref().map(|record| record.shim.pid)
    }

    /// The boot in which it was launched.
    #[must_use]
    pub fn boot_id(&self) -> &BootId {
        &self.shared.spec.boot_id
    }

    /// When it was started, by the wall clock.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        self.shared.record.as_ref().map(|record| record.started_at)
    }

    /// When it was started, on the clock that counts from boot ([`Clock::mono`](crate::session::Clock::mono)); none if it
    /// was started by a version that did not write it down.
    #[must_use]
    pub fn started_boot(&self) -> Option<Duration> {
        self.shared.record.as_ref()?.started_boot
    }

    /// When its time limit passes, on that clock; none if it has none, or nobody can tell.
    #[must_use]
    pub fn limit_boot(&self) -> Option<Duration> {
        Some(self.started_boot()? + self.spec().time_limit?.min(FAR))
    }

    /// How it ended; none while anything of it runs.
    #[must_use]
    pub fn state(&self) -> Option<Ended> {
        match &*self.shared.phase.borrow() {
            Phase::Running | Phase::MainExited => None,
            Phase::Ended(ended) => Some(ended.clone()),
        }
    }

    /// Waits until the command itself is dead: at once when the kernel knows, before its status is written down and
    /// before what it left behind is gone.
    pub async fn child_exited(&self) {
        let mut phase = self.shared.phase.subscribe();
        // The sender lives as long as this handle.
        let _ = phase
            .wait_for(|phase| !matches!(phase, Phase::Running))
            .await;
    }

    /// May the command itself still run? Without its shim the kernel is asked; where it is not on record which process the
    /// command is, whatever is left may be it.
    #[must_use]
    pub fn command_may_run(&self) -> bool {
        match &*self.shared.phase.borrow() {
            Phase::Running => true,
            Phase::MainExited => false,
            Phase::Ended(ended) if ended.group.is_empty() => false,
            Phase::Ended(_) => self.command().is_none_or(ProcessRef::runs),
        }
    }

    /// Waits until the command itself cannot run any more, whatever it leaves behind, with its shim or without.
    pub async fn command_over(&self) {
        self.child_exited().await;
        while self.command_may_run() {
            let known = self.wait().await;
            // A pidfd becomes readable when its process exits (pidfd_open(2)).
            let command = self.command().and_then(|child| child.open().ok().flatten());
            match command.and_then(|fd| watch_fd(fd).ok()) {
                Some(command) => drop(command.readable().await),
                None => drop(self.ended_since(&known).await),
            }
        }
    }

    /// The command itself, if it is on record.
    fn command(&self) -> Option<ProcessRef> {
        self.shared.record.as_ref()?.child
    }

    /// Waits for the end of the command itself, whatever it leaves behind; none if nobody saw it.
    pub async fn child_end(&self) -> Option<ChildEnd> {
        self.child_exited().await;
        let mut pause = RECORD_LOOK;
        loop {
            if let Some(ended) = self.state() {
                return match ended.outcome {
                    Outcome::Exited(Exit {
                        status,
                        timed_out,
                        stopped,
                        ..
                    }) => Some(ChildEnd {
                        status,
                        timed_out,
                        stopped,
                    }),
                    Outcome::Unknown(_) => None,
                };
            }
            let dir = self.shared.dir.clone();
            let read =
                tokio::task::spawn_blocking(move || record::read::<MainRecord>(&dir, record::MAIN));
            if let Ok(Ok(Some(MainRecord {
                status,
                timed_out,
                stopped,
            }))) = read.await
            {
                return Some(ChildEnd {
                    status,
                    timed_out,
                    stopped,
                });
            }
            // The shim writes it right after the same event that woke us, or ends: most runs leave nothing behind.
            tokio::select! {
                _ = self.wait() => {}
                () = tokio::time::sleep(pause) => pause = RECORD_LOOK_LONGEST.min(pause * 2),
            }
        }
    }

    /// Waits for the end of the whole run.
    pub async fn wait(&self) -> Ended {
        let mut phase = self.shared.phase.subscribe();
        loop {
            if let Phase::Ended(ended) = &*phase.borrow_and_update() {
                return ended.clone();
            }
            // The sender lives as long as this handle.
            let _ = phase.changed().await;
        }
    }

    /// Waits until nothing of the run is left, and that is known.
    pub async fn gone(&self) {
        let mut ended = self.wait().await;
        while !ended.group.is_empty() {
            ended = self.ended_since(&ended).await;
        }
    }

    /// Waits until more is known of the end than this.
    pub async fn ended_since(&self, known: &Ended) -> Ended {
        let mut phase = self.shared.phase.subscribe();
        loop {
            if let Phase::Ended(ended) = &*phase.borrow_and_update()
                && ended != known
            {
                return ended.clone();
            }
            // The sender lives as long as this handle.
            let _ = phase.changed().await;
        }
    }

    /// Does the command itself live on although its shim was killed?
    #[must_use]
    pub fn lives_without_shim(&self) -> bool {
        let left = self.state().is_some_and(|ended| !ended.group.is_empty());
        left && self.command_lives()
    }

    /// Does the command itself live at this moment, by the kernel's word?
    pub(crate) fn command_lives(&self) -> bool {
        self.command().is_some_and(ProcessRef::runs)
    }

    /// The processes of the run that lives: all that descend from its shim, or from its command without a shim, and all in
    /// its control group. Blocks: it reads `/proc`.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        let Some(record) = &self.shared.record else {
            return Ok(Vec::new());
        };
        let root = if record.shim.runs() {
            Some(record.shim)
        } else {
            record.child.filter(|child| child.runs())
        };
        let mut pids = Vec::new();
        if let Some(root) = root {
            pids.push(root.pid);
            pids.extend(
                procfs::descendants(root.pid)?
                    .iter()
                    .map(|process| process.pid),
            );
        }
        if let Some(path) = self.cgroup() {
            pids.extend(Leaf::at(path.clone()).pids()?);
        }
        Ok(pids)
    }

    /// What it takes to end the run at once, without its shim.
    pub(crate) fn grip(&self) -> Grip {
        let record = self.shared.record.as_ref();
        Grip {
            shim: record.map(|record| record.shim),
            child: record.and_then(|record| record.child),
            main: None,
            cgroup: self.cgroup().cloned(),
            marker: Some(self.shared.spec.marker.clone()),
        }
    }

    /// Stops the run by its own rule and waits until it is proven empty. See [`Run::kill_by`].
    ///
    /// # Errors
    /// See [`Run::kill_by`]; and if nothing of it is found, which is no proof ([`Proof::Searched`]).
    pub async fn stop(&self) -> Result<Ended, KillError> {
        let ended = self.kill_by(self.shared.spec.run.stop).await?;
        if ended.group == Group::Empty(Proof::Searched) {
            return Err(KillError::Unproven(self.id().clone()));
        }
        Ok(ended)
    }

    /// Stops the run with its own signal and this grace. See [`Run::kill_by`].
    ///
    /// # Errors
    /// See [`Run::kill_by`].
    pub async fn kill(&self, grace: Duration) -> Result<Ended, KillError> {
        self.kill_by(Stop {
            grace,
            ..self.shared.spec.run.stop
        })
        .await
    }

    /// Signals the run, kills after the grace what is left, and returns only when nothing is, and why that is known
    /// ([`Group::Empty`]): whoever takes it for proven looks at that. Without a limit of its own: a process in uninterruptible
    /// sleep cannot be killed. May be called again with less grace while an earlier call waits. Nothing happens to a run that is
    /// already empty.
    ///
    /// # Errors
    /// If the shim could not be asked, or leftovers of a dead shim could not be found or signalled.
    pub async fn kill_by(&self, stop: Stop) -> Result<Ended, KillError> {
        loop {
            match self.state() {
                Some(ended) if ended.group.is_empty() => return Ok(ended),
                Some(ended) => {
                    let group = Group::Empty(self.kill_leftovers(stop).await?);
                    self.shared
                        .phase
                        .send_replace(Phase::Ended(Ended { group, ..ended }));
                }
                None => {
                    self.ask(stop).await?;
                    self.wait().await;
                }
            }
        }
    }

    async fn ask(&self, stop: Stop) -> Result<(), KillError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || shared.ask(stop)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(KillError::Ask(self.id().clone(), error)),
            Err(_) => Err(KillError::Ending(self.id().clone())),
        }
    }

    async fn kill_leftovers(&self, stop: Stop) -> Result<Proof, KillError> {
        let shared = Arc::clone(&self.shared);
        let killed =
            tokio::task::spawn_blocking(move || leftover::kill(&shared.dir, &shared.spec, stop));
        match killed.await {
            Ok(result) => result.map_err(|error| KillError::Leftovers(self.id().clone(), error)),
            Err(_) => Err(KillError::Ending(self.id().clone())),
        }
    }

    /// Its standard output and standard error so far. Empty for a run that logs to a file.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub async fn output(&self) -> io::Result<(Captured, Captured)> {
        let shared = Arc::clone(&self.shared);
        let exit = match self.state().map(|ended| ended.outcome) {
            Some(Outcome::Exited(exit)) => Some(exit),
            Some(Outcome::Unknown(_)) | None => None,
        };
        tokio::task::spawn_blocking(move || {
            let stdout = Captured::read(
                &shared.dir,
                STDOUT,
                exit.as_ref().map(|exit| exit.stdout_cut),
            )?;
            let stderr = Captured::read(
                &shared.dir,
                STDERR,
                exit.as_ref().map(|exit| exit.stderr_cut),
            )?;
            Ok((stdout, stderr))
        })
        .await?
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub(crate) fn cgroup(&self) -> Option<&PathBuf> {
        self.shared.spec.cgroup.as_ref()
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; what it demands, an owned descriptor fulfils by itself"
)]
pub(crate) fn watch_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}
