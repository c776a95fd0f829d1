//! Jobs: how systemd reports that a start or stop is queued, running, and over.

use std::fmt;

/// What a job does to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Start it; does nothing if it is active.
    Start,
    /// Stop it; does nothing if it is inactive.
    Stop,
    /// Stop it if it is active, then start it.
    Restart,
}

impl Verb {
    /// What a job of this type (`JobType`, org.freedesktop.systemd1(5)) does to its unit; none for those that neither start
    /// nor stop what they find.
    pub(super) fn of(job_type: &str) -> Option<Self> {
        match job_type {
            "start" | "reload-or-start" => Some(Self::Start),
            "stop" => Some(Self::Stop),
            "restart" => Some(Self::Restart),
            _ => None,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        })
    }
}

/// A stage of a job that has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Progress {
    /// systemd has taken the job into its queue.
    Accepted,
    /// The job left the queue and works on the unit: for a stop this is the wait condition *going-down*. A job
    /// that is quicker than the report skips this stage.
    Running,
}

/// How a job ended (`JobRemoved`, org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// The only success.
    Done,
    /// Cancelled before it finished, usually by a contrary job.
    Canceled,
    /// The job's own time limit (`JobTimeoutSec=`) passed.
    Timeout,
    /// It ran and failed.
    Failed,
    /// A unit that it depends on failed.
    Dependency,
    /// It did not apply to the unit's state.
    Skipped,
    /// A word that this program does not know: a failure.
    Other(String),
}

impl JobResult {
    /// Reads systemd's word.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "done" => Self::Done,
            "canceled" => Self::Canceled,
            "timeout" => Self::Timeout,
            "failed" => Self::Failed,
            "dependency" => Self::Dependency,
            "skipped" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "done",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Other(word) => word,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_done_is_done() {
        assert_eq!(JobResult::of("done"), JobResult::Done);
        for word in [
            "canceled",
            "timeout",
            "failed",
            "dependency",
            "skipped",
            "invalid",
            "assert",
            "once",
            "",
        ] {
            let result = JobResult::of(word);
            assert_ne!(result, JobResult::Done, "{word}");
            assert_eq!(result.to_string(), word);
        }
    }
}
