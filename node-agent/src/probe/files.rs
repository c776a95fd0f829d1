//! Files on file systems that may hang.
//!
//! A read from a dead NFS server or a failed disk can block for ever, in state D, where not even SIGKILL reaches. Inside
//! this program it would take a thread with it each time. So a file is read by a helper: this same program, started
//! again as `interlock-agent probe-file read|digest PATH` ([`helper`](super::helper)), which is killed at the limit and
//! left behind if it does not die.
//!
//! What is left behind is remembered. While a helper hangs at a path, that path is not probed again: one more hung
//! process would teach nothing. And no more than [`MAX_HUNG`] may exist together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::check::{ProbeResult, Verdict};
use tokio::process::{Child, Command};

use super::helper::{BAD, MAX_CONTENT, OK, Task, UNKNOWN, WORD};
use super::outcome::{bad, ok, result, unknown};
use crate::group::{self, Bounds, End};

/// Helpers that may hang at the same time. Each is a small process that holds nothing but a few pages; the bound is
/// against a machine with many dead mounts.
const MAX_HUNG: usize = 8;

/// Starts helpers and remembers those that hang.
#[derive(Debug)]
pub struct FileProbes {
    program: PathBuf,
    hung: Mutex<BTreeMap<String, Child>>,
}

impl FileProbes {
    /// File probes whose helper is `program`, normally the agent's own executable.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            hung: Mutex::default(),
        }
    }

    /// How many helpers hang at this moment.
    #[must_use]
    pub fn hung(&self) -> usize {
        self.forget_dead().len()
    }

    /// The file can be read, and holds `content` if that is given. One newline at the end does not count.
    pub(super) async fn marker(
        &self,
        path: &str,
        content: Option<&str>,
        limit: Duration,
    ) -> ProbeResult {
        let text = match self.run(Task::Read, path, limit).await {
            Ok(text) => text,
            Err(result) => return result,
        };
        let found = text.strip_suffix('\n').unwrap_or(&text);
        match content {
            Some(wanted) if wanted != found => {
                bad(format!("{path} holds '{found}', expected '{wanted}'"))
            }
            Some(_) => ok(format!("{path} holds what is expected")),
            None => ok(format!("{path} can be read")),
        }
    }

    /// The file's SHA-256 digest, as the value to compare between nodes.
    pub(super) async fn same(&self, path: &str, limit: Duration) -> ProbeResult {
        match self.run(Task::Digest, path, limit).await {
            Ok(digest) => {
                let value = Some(digest.trim().to_owned());
                ProbeResult {
                    value,
                    ..ok(format!("{path} has SHA-256 {}", digest.trim()))
                }
            }
            Err(result) => result,
        }
    }

    /// What the helper printed, or the result that there is instead.
    async fn run(&self, task: Task, path: &str, limit: Duration) -> Result<String, ProbeResult> {
        {
            let hung = self.forget_dead();
            if hung.contains_key(path) {
                return Err(unknown(format!(
                    "an earlier probe of {path} still hangs in the kernel"
                )));
            }
            if hung.len() >= MAX_HUNG {
                return Err(unknown(format!(
                    "{path} was not probed: {MAX_HUNG} probes of other files hang"
                )));
            }
        }
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .current_dir("/")
            .args([WORD, task.word(), path]);
        let bounds = Bounds {
            time: limit,
            stdout: MAX_CONTENT + 1,
            stderr: 4096,
        };
        let done = group::run(&mut command, b"", bounds)
            .await
            .map_err(|error| {
                unknown(format!("cannot start {}: {error}", self.program.display()))
            })?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        match done.end {
            End::Exited(code) if code == i32::from(OK) => {
                Ok(String::from_utf8_lossy(&done.stdout).into_owned())
            }
            End::Exited(code) if code == i32::from(BAD) => Err(bad(said)),
            End::Exited(code) if code == i32::from(UNKNOWN) => Err(unknown(said)),
            End::Exited(code) => Err(unknown(format!(
                "the probe of {path} ended with exit code {code}: {said}"
            ))),
            End::Signalled(signal) => Err(unknown(format!(
                "the probe of {path} was killed by signal {signal}"
            ))),
            End::TimedOut => Err(result(
                Verdict::Unknown,
                &format!("{path} did not answer within {limit:?}"),
            )),
            End::Undead(child) => {
                self.lock().insert(path.to_owned(), *child);
                Err(unknown(format!(
                    "{path} hangs: its probe does not even die"
                )))
            }
        }
    }

    /// The helpers that hang, without those that have died since.
    fn forget_dead(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        let mut hung = self.lock();
        hung.retain(|_, child| matches!(child.try_wait(), Ok(None)));
        hung
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.hung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn living() -> Child {
        Command::new("/bin/sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// A helper that answers anything at once; what is tested here is whether it is started.
    fn probes() -> FileProbes {
        FileProbes::new(PathBuf::from("/bin/true"))
    }

    #[tokio::test]
    async fn a_path_whose_helper_hangs_is_not_probed_again_until_it_has_died() {
        let probes = probes();
        probes.lock().insert("/dead".to_owned(), living());
        let refused = probes.marker("/dead", None, LIMIT).await;
        assert_eq!(refused.verdict, Verdict::Unknown);
        assert!(refused.evidence.contains("still hangs"), "{refused:?}");
        assert_eq!(
            probes.marker("/alive", None, LIMIT).await.verdict,
            Verdict::Ok
        );
        let mut helper = probes.lock().remove("/dead").unwrap();
        helper.kill().await.unwrap();
        probes.lock().insert("/dead".to_owned(), helper);
        assert_eq!(
            probes.marker("/dead", None, LIMIT).await.verdict,
            Verdict::Ok
        );
        assert_eq!(probes.hung(), 0);
    }

    #[tokio::test]
    async fn no_more_than_a_few_helpers_hang_together() {
        let probes = probes();
        for n in 0..MAX_HUNG {
            probes.lock().insert(format!("/dead{n}"), living());
        }
        assert_eq!(probes.hung(), MAX_HUNG);
        let refused = probes.marker("/alive", None, LIMIT).await;
        assert_eq!(refused.verdict, Verdict::Unknown, "{refused:?}");
    }

    #[tokio::test]
    async fn a_helper_that_cannot_be_started_or_ends_strangely_is_unknown() {
        let missing = FileProbes::new(PathBuf::from("/nonexistent/agent"));
        assert_eq!(
            missing.marker("/x", None, LIMIT).await.verdict,
            Verdict::Unknown
        );
        let strange = FileProbes::new(PathBuf::from("/bin/false"));
        assert_eq!(strange.same("/x", LIMIT).await.verdict, Verdict::Unknown);
    }
}
