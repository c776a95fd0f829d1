//! Files on file systems that may hang.
//!
//! A read from a dead NFS server or a failed disk can block for ever, in state D, where not even SIGKILL reaches. Inside
//! this program it would take a thread with it each time. So files are read by helpers: this same program, started again
//! as `interlock-agent probe-file` ([`helper`](super::helper)).
//!
//! * **A helper stays.** It is asked again at the next run of its check, so a check costs two small messages and no process.
//!   One that has not been asked for [`IDLE`] is let go.
//! * **One helper per path.** What hangs on one file system delays no check of another.
//! * **A helper that does not answer in time is killed and replaced**, and left behind if it does not die. While it hangs
//!   at a path, that path is not probed again: one more hung process would teach nothing. And no more than [`MAX_HUNG`]
//!   may exist together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use interlock_model::check::ProbeResult;
use interlock_model::names::NodeName;
use tokio::process::Child;
use tokio::time::Instant;

use super::helper::{Answer, Question};
use super::outcome::{bad, ok, unknown};
use super::reader::{NoAnswer, Reader};

/// Helpers that may hang at the same time. Each is a small process that holds nothing but a few pages; the bound is
/// against a machine with many dead mounts.
const MAX_HUNG: usize = 8;

/// How long a helper is kept for the next run. Longer than the period of any check that is run often.
const IDLE: Duration = Duration::from_secs(300);

/// What is expected of a marker.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marker<'a> {
    /// Its content. One newline at the end does not count.
    pub(super) content: Option<&'a str>,
    /// Must its file system take a file, too?
    pub(super) write: bool,
}

/// Starts helpers, keeps those that answer, and remembers those that hang.
#[derive(Debug)]
pub struct FileProbes {
    program: PathBuf,
    node: NodeName,
    helpers: Mutex<Helpers>,
}

/// By path.
#[derive(Debug, Default)]
struct Helpers {
    /// Between two questions.
    waiting: BTreeMap<String, Reader>,
    hung: BTreeMap<String, Child>,
}

impl FileProbes {
    /// File probes of this node, whose helper is `program`, normally the agent's own executable.
    #[must_use]
    pub fn new(program: PathBuf, node: NodeName) -> Self {
        Self {
            program,
            node,
            helpers: Mutex::default(),
        }
    }

    /// How many helpers hang at this moment.
    #[must_use]
    pub fn hung(&self) -> usize {
        self.lock().hung.len()
    }

    /// How many helpers wait for their next question.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The file can be read and is as expected.
    pub(super) async fn marker(
        &self,
        path: &str,
        expected: Marker<'_>,
        limit: Duration,
    ) -> ProbeResult {
        let deadline = Instant::now() + limit;
        let text = match self
            .ask(path, &Question::Read(path.to_owned()), limit)
            .await
        {
            Ok(text) => text,
            Err(result) => return result,
        };
        let found = text.strip_suffix('\n').unwrap_or(&text);
        match expected.content {
            Some(wanted) if wanted != found => {
                return bad(format!("{path} holds '{found}', expected '{wanted}'"));
            }
            Some(_) | None => {}
        }
        if expected.write {
            let question = self.writing(path);
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(result) = self.ask(path, &question, left).await {
                return result;
            }
        }
        let read = match expected.content {
            Some(_) => "holds what is expected",
            None => "can be read",
        };
        let written = if expected.write {
            ", and its file system can be written"
        } else {
            ""
        };
        ok(format!("{path} {read}{written}"))
    }

    /// The file's SHA-256 digest, as the value to compare between nodes.
    pub(super) async fn same(&self, path: &str, limit: Duration) -> ProbeResult {
        match self
            .ask(path, &Question::Digest(path.to_owned()), limit)
            .await
        {
            Ok(digest) => ProbeResult {
                value: Some(digest.clone()),
                ..ok(format!("{path} has SHA-256 {digest}"))
            },
            Err(result) => result,
        }
    }

    /// A file of this node's own, because the other consumers of a share write there, too; of one name for ever, because
    /// what is left of it must not pile up; with another content each time.
    fn writing(&self, path: &str) -> Question {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Question::Write {
            path: format!("{path}.{}", self.node),
            content: format!("{} {}\n", self.node, since.as_nanos()),
        }
    }

    /// What the helper of this path says, or the result that there is instead.
    async fn ask(
        &self,
        path: &str,
        question: &Question,
        limit: Duration,
    ) -> Result<String, ProbeResult> {
        let deadline = Instant::now() + limit;
        let waiting = self.helper(path)?;
        let has_waited = waiting.is_some();
        let helper = match waiting {
            Some(helper) => helper,
            None => self.start()?,
        };
        let mut asked = helper.ask(question, limit).await;
        // One that has waited may be dying: that says nothing about the file.
        if has_waited && matches!(asked, Err(NoAnswer::Failed(_))) {
            let left = deadline.saturating_duration_since(Instant::now());
            asked = self.start()?.ask(question, left).await;
        }
        match asked {
            Ok((helper, answer)) => {
                self.lock().waiting.insert(path.to_owned(), helper);
                match answer {
                    Answer::Ok(text) => Ok(text),
                    Answer::Bad(why) => Err(bad(why)),
                    Answer::Unknown(why) => Err(unknown(why)),
                }
            }
            Err(NoAnswer::TimedOut) => {
                Err(unknown(format!("{path} did not answer within {limit:?}")))
            }
            Err(NoAnswer::Undead(child)) => {
                self.lock().hung.insert(path.to_owned(), *child);
                Err(unknown(format!(
                    "{path} hangs: its probe does not even die"
                )))
            }
            Err(NoAnswer::Failed(error)) => {
                Err(unknown(format!("the probe of {path} failed: {error}")))
            }
        }
    }

    fn start(&self) -> Result<Reader, ProbeResult> {
        let started = Reader::start(&self.program);
        started
            .map_err(|error| unknown(format!("cannot start {}: {error}", self.program.display())))
    }

    /// The helper that waits for this path, if there is one; the result instead where there must be none.
    fn helper(&self, path: &str) -> Result<Option<Reader>, ProbeResult> {
        let mut helpers = self.lock();
        if helpers.hung.contains_key(path) {
            return Err(unknown(format!(
                "an earlier probe of {path} still hangs in the kernel"
            )));
        }
        if helpers.hung.len() >= MAX_HUNG {
            return Err(unknown(format!(
                "{path} was not probed: {MAX_HUNG} probes of other files hang"
            )));
        }
        let mut helper = helpers.waiting.remove(path);
        Ok(helper.take_if(Reader::is_alive))
    }

    /// The helpers, without those that hung and have died since, and those that nobody has asked for long.
    fn lock(&self) -> MutexGuard<'_, Helpers> {
        let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
        helpers
            .hung
            .retain(|_, child| matches!(child.try_wait(), Ok(None)));
        helpers.waiting.retain(|_, helper| helper.idle() < IDLE);
        helpers
    }
}
#[cfg(test)]
mod tests {
    use interlock_model::check::Verdict;
    use tokio::process::Command;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const ANY: Marker<'_> = Marker {
        content: None,
        write: false,
    };

    fn living() -> Child {
        Command::new("/bin/sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn probes(program: &str) -> FileProbes {
        FileProbes::new(PathBuf::from(program), "n1".parse().unwrap())
    }

    #[tokio::test]
    async fn a_path_whose_helper_hangs_is_not_probed_again_until_it_has_died() {
        // A helper that ends at once; what is tested here is whether it is started.
        let probes = probes("/bin/true");
        probes.lock().hung.insert("/dead".to_owned(), living());
        let refused = probes.marker("/dead", ANY, LIMIT).await;
        assert_eq!(refused.verdict, Verdict::Unknown);
        assert!(refused.evidence.contains("still hangs"), "{refused:?}");
        let other = probes.marker("/alive", ANY, LIMIT).await;
        assert!(
            other.evidence.contains("the probe of /alive failed"),
            "{other:?}"
        );
        let mut helper = probes.lock().hung.remove("/dead").unwrap();
        helper.kill().await.unwrap();
        probes.lock().hung.insert("/dead".to_owned(), helper);
        let started = probes.marker("/dead", ANY, LIMIT).await;
        assert!(
            started.evidence.contains("the probe of /dead failed"),
            "{started:?}"
        );
        assert_eq!(probes.hung(), 0);
    }

    #[tokio::test]
    async fn no_more_than_a_few_helpers_hang_together() {
        let probes = probes("/bin/true");
        for n in 0..MAX_HUNG {
            probes.lock().hung.insert(format!("/dead{n}"), living());
        }
        assert_eq!(probes.hung(), MAX_HUNG);
        let refused = probes.marker("/alive", ANY, LIMIT).await;
        assert_eq!(refused.verdict, Verdict::Unknown, "{refused:?}");
        assert!(refused.evidence.contains("was not probed"), "{refused:?}");
    }

    #[tokio::test]
    async fn a_helper_that_cannot_be_started_or_talks_nonsense_is_unknown() {
        let missing = probes("/nonexistent/agent");
        let result = missing.marker("/x", ANY, LIMIT).await;
        assert_eq!(result.verdict, Verdict::Unknown);
        // It prints its argument, which is no answer.
        let strange = probes("/bin/echo");
        let result = strange.same("/x", LIMIT).await;
        assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
        assert_eq!(strange.waiting(), 0);
    }
}
