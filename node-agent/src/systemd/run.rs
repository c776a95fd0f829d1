//! Running a job: queue it, follow it, and let go of it when its time is up.
//!
//! # Letting go
//! ```text
//!             ┌── waits in the queue ──► CancelJob ──► withdrawn: nothing has happened to the unit
//!  time is up ┤
//!             └── runs ───────────────► left alone ──► unfinished: systemd goes on, within the unit's own limits
//! ```
//! * Only a job that this call has queued is withdrawn. systemd merges equal jobs, so the one that it names may be
//!   somebody's who asked before: that one stays.
//! * A job that begins to run between the look and the cancellation is found out: the unit is looked at afterwards, and
//!   only if it is as it was does the job count as withdrawn.
//! * What a start has pulled in (`Requires=`, `Wants=`) has jobs of its own; they stay in the queue, as they would after
//!   `systemctl cancel`.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use zbus::OwnedObjectPath;

use super::link::{Link, Signal};
use super::{
    Activity, Error, JobResult, Progress, Systemd, UNIT, Verb, check_name, load, observe_at,
};

const JOB: &str = "org.freedesktop.systemd1.Job";

/// A job that is followed.
struct Job<'l> {
    link: &'l Link,
    verb: Verb,
    unit: &'l str,
    path: OwnedObjectPath,
    /// Was it queued by this call?
    ours: bool,
    signals: Receiver<Signal>,
}

impl Systemd {
    /// Queues a job in mode `replace`, reports its stages, and waits until it is over or `limit` has passed. See
    /// [`Systemd::run_until`].
    ///
    /// # Errors
    /// Those of [`Systemd::run_until`].
    pub async fn run(
        &self,
        verb: Verb,
        unit: &str,
        limit: Duration,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), Error> {
        self.run_until(verb, unit, tokio::time::sleep(limit), progress)
            .await
    }

    /// The same until `end`: then a job that has not begun is withdrawn ([`Error::JobWithdrawn`]), and one that has is
    /// left to systemd ([`Error::JobUnfinished`]).
    ///
    /// # Errors
    /// Every [`Error`]; after one that [`Error::outcome_is_unknown`] the job may still be going on.
    pub async fn run_until(
        &self,
        verb: Verb,
        unit: &str,
        end: impl Future<Output = ()> + Send,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), Error> {
        check_name(unit)?;
        let mut end = std::pin::pin!(end);
        let begin = async {
            let link = self.link().await?;
            // Before the job is queued: it may be over before the call that queues it returns.
            let signals = link.listen();
            let before = job_of(&link, unit).await?;
            let path = link
                .call(&verb.to_string(), Some(unit), queue(&link, verb, unit))
                .await?;
            Ok::<_, Error>((
                link,
                signals,
                before.as_deref() != Some(path.as_str()),
                path,
            ))
        };
        // Each call in it has a limit of its own, and a job that was queued must not be lost sight of.
        let (link, signals, ours, path) = begin.await?;
        let mut job = Job {
            link: &link,
            verb,
            unit,
            path,
            ours,
            signals,
        };
        progress(Progress::Accepted);
        tokio::select! {
            biased;
            ended = job.follow(progress) => return ended,
            () = &mut end => {}
        }
        job.let_go().await
    }
}

impl Job<'_> {
    /// Waits for its end.
    async fn follow(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), Error> {
        let mut running = self.is_running().await;
        if running {
            progress(Progress::Running);
        }
        loop {
            match self.signals.recv().await {
                Ok(Signal::JobRemoved { job, result }) if job == self.path.as_str() => {
                    return match JobResult::of(&result) {
                        JobResult::Done => Ok(()),
                        result => Err(Error::JobFailed {
                            verb: self.verb,
                            unit: self.unit.to_owned(),
                            result,
                        }),
                    };
                }
                Ok(Signal::Changed { path }) if path == self.path.as_str() && !running => {
                    running = self.is_running().await;
                    if running {
                        progress(Progress::Running);
                    }
                }
                Ok(_) => {}
                // Lagged: the end of the job may be among what was missed. Closed: the link is gone.
                Err(RecvError::Lagged(_) | RecvError::Closed) => {
                    return Err(Error::Lost {
                        what: format!("{} of {}", self.verb, self.unit),
                    });
                }
            }
        }
    }

    /// Its time is up.
    async fn let_go(mut self) -> Result<(), Error> {
        let (verb, unit) = (self.verb, self.unit.to_owned());
        if !self.ours || !self.is_waiting().await || !self.cancel().await {
            return Err(Error::JobUnfinished { verb, unit });
        }
        // Its removal, by whatever result, says that systemd is through with it; the unit says what it came to.
        let ended = tokio::time::timeout(self.link.limit(), self.follow(&mut |_| ())).await;
        match ended {
            Ok(Err(Error::JobFailed {
                result: JobResult::Canceled,
                ..
            })) if self.is_untouched().await => Err(Error::JobWithdrawn { verb, unit }),
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::JobUnfinished { verb, unit }),
        }
    }

    /// Is the unit as it is before such a job?
    async fn is_untouched(&self) -> bool {
        let observed = async {
            let path = load(self.link, self.unit).await?;
            observe_at(self.link, self.unit, &path).await
        };
        observed.await.is_ok_and(|state| match self.verb {
            Verb::Start => matches!(state.activity, Activity::Stopped | Activity::Failed),
            Verb::Stop | Verb::Restart => state.activity == Activity::Running,
        })
    }

    async fn cancel(&self) -> bool {
        // `/org/freedesktop/systemd1/job/4711`
        let number = self.path.as_str().rsplit('/').next();
        let Some(id) = number.and_then(|number| number.parse().ok()) else {
            return false;
        };
        let cancelled = self.link.call("cancel a job of", Some(self.unit), async {
            self.link.manager().await?.cancel_job(id).await
        });
        cancelled.await.is_ok()
    }

    /// A job that is gone is not running; its removal is already among the signals.
    async fn is_running(&self) -> bool {
        self.state().await.is_some_and(|state| state == "running")
    }

    async fn is_waiting(&self) -> bool {
        self.state().await.is_some_and(|state| state == "waiting")
    }

    async fn state(&self) -> Option<String> {
        text_of(self.link, self.path.as_str(), "State").await
    }
}

/// The type of a job; none if it is gone.
pub(super) async fn type_of(link: &Link, job: &str) -> Option<String> {
    text_of(link, job, "JobType").await
}

async fn text_of(link: &Link, job: &str, property: &'static str) -> Option<String> {
    let text = link.property(job, JOB, property);
    let text = link.call("observe a job", None, text).await.ok()?;
    Some(text.downcast_ref::<&str>().ok()?.to_owned())
}

async fn queue(link: &Link, verb: Verb, unit: &str) -> zbus::Result<OwnedObjectPath> {
    let manager = link.manager().await?;
    match verb {
        Verb::Start => manager.start_unit(unit, "replace").await,
        Verb::Stop => manager.stop_unit(unit, "replace").await,
        Verb::Restart => manager.restart_unit(unit, "replace").await,
    }
}

/// The job that a unit has now.
async fn job_of(link: &Link, unit: &str) -> Result<Option<String>, Error> {
    let path = load(link, unit).await?;
    let job = link
        .call("observe", Some(unit), link.property(&path, UNIT, "Job"))
        .await?;
    // A number, 0 for none, and the job's object.
    let job: Option<(u32, OwnedObjectPath)> = job.try_into().ok();
    Ok(job
        .filter(|(id, _)| *id != 0)
        .map(|(_, path)| path.to_string()))
}
