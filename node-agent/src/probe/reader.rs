//! One helper process, as the agent holds it.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use super::helper::{Answer, MAX_CONTENT, Question, WORD};
use crate::group::REAP_LIMIT;

/// The longest answer, in bytes. JSON writes one byte of content in at most six.
const MAX_ANSWER: u64 = (6 * MAX_CONTENT as u64) + 4096;

/// A helper between two questions. Killed when dropped.
#[derive(Debug)]
pub(super) struct Reader {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// When it was last asked.
    used: Instant,
}

/// There is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Not in time; the helper was killed.
    TimedOut,
    /// Not in time, and the helper does not even die: it hangs in the kernel. Whoever holds it may see it end.
    Undead(Box<Child>),
    /// It could not be asked, it ended, or it answered something else.
    Failed(io::Error),
}

impl Reader {
    /// Starts a helper.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg(WORD)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("the helper has no pipes");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
            used: Instant::now(),
        })
    }

    /// Can it still be asked? Something may have killed it meanwhile.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How long it has not been asked.
    pub(super) fn idle(&self) -> Duration {
        self.used.elapsed()
    }

    /// Asks it, and gives it back with the answer. Dropping the future kills it: a helper that still owes an answer can
    /// not be asked again.
    pub(super) async fn ask(
        mut self,
        question: &Question,
        limit: Duration,
    ) -> Result<(Self, Answer), NoAnswer> {
        self.used = Instant::now();
        match tokio::time::timeout(limit, self.exchange(question)).await {
            Ok(Ok(answer)) => Ok((self, answer)),
            Ok(Err(error)) => Err(NoAnswer::Failed(error)),
            Err(_) => {
                // The only expected error is that it has just ended.
                let _ = self.child.start_kill();
                match tokio::time::timeout(REAP_LIMIT, self.child.wait()).await {
                    Ok(_) => Err(NoAnswer::TimedOut),
                    Err(_) => Err(NoAnswer::Undead(Box::new(self.child))),
                }
            }
        }
    }

    async fn exchange(&mut self, question: &Question) -> io::Result<Answer> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        self.input.write_all(&line).await?;
        let mut answer = Vec::new();
        (&mut self.output)
            .take(MAX_ANSWER)
            .read_until(b'\n', &mut answer)
            .await?;
        if answer.is_empty() {
            return Err(io::Error::other("it ended instead of answering"));
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}
