//! A helper that delivers ([`helper`](super::helper)), as the agent holds it.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout_at};

use super::SILENT;
use super::helper::{Said, WORD};
use crate::group::REAP_LIMIT;

/// A delivery that is under way. Its helper is killed when this is dropped, and not waited for: it may hang in the kernel.
#[derive(Debug)]
pub(super) struct Courier {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    /// How long nothing may reach the share.
    patience: Duration,
    /// When something last did.
    moved: Instant,
    /// When it was killed because of that.
    killed: Option<Instant>,
    /// It does not even die, which was told.
    hangs: bool,
}

/// What became of a delivery so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Something more has reached the share.
    Moves,
    /// Nothing does, and its helper hangs in the kernel. Told once.
    Hangs,
    /// It is over: everything is there, or why not.
    Over(Result<(), String>),
}

impl Courier {
    /// Begins a delivery, which is given up when nothing reaches the share for so long.
    pub(super) fn start(
        program: &Path,
        spool: &Path,
        dir: &Path,
        node: &str,
        patience: Duration,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg(WORD)
            .args([spool, dir])
            .arg(node)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take();
        let output = output.ok_or_else(|| io::Error::other("the helper has no output"))?;
        Ok(Self {
            child,
            said: BufReader::new(output).lines(),
            patience,
            moved: Instant::now(),
            killed: None,
            hangs: false,
        })
    }

    /// Is its share known not to answer?
    pub(super) fn hangs(&self) -> bool {
        self.hangs
    }

    /// Waits for news. May be dropped and called again.
    pub(super) async fn news(&mut self) -> News {
        let silent = || News::Over(Err(SILENT.to_owned()));
        loop {
            match self.killed {
                // What it was at ends as soon as its share answers, or is taken away by force.
                Some(_) if self.hangs => {
                    let _ = self.child.wait().await;
                    return silent();
                }
                Some(since) => {
                    return match timeout_at(since + REAP_LIMIT, self.child.wait()).await {
                        Ok(_) => silent(),
                        Err(_) => {
                            self.hangs = true;
                            News::Hangs
                        }
                    };
                }
                None => {}
            }
            let due = self.moved + self.patience;
            if let Ok(said) = timeout_at(due, self.said.next_line()).await {
                return self.hear(said);
            }
            // The only expected error is that it has just ended.
            let _ = self.child.start_kill();
            self.killed = Some(Instant::now());
        }
    }

    fn hear(&mut self, said: io::Result<Option<String>>) -> News {
        let line = match said {
            Ok(Some(line)) => line,
            Ok(None) => return News::Over(Err("its helper has ended".to_owned())),
            Err(error) => return News::Over(Err(error.to_string())),
        };
        match serde_json::from_str(&line) {
            Ok(Said::Moved) => {
                self.moved = Instant::now();
                News::Moves
            }
            Ok(Said::Done) => News::Over(Ok(())),
            Ok(Said::Failed(why)) => News::Over(Err(why)),
            Err(error) => News::Over(Err(format!("its helper says nonsense: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn courier(dir: &Path, script: &str, patience: Duration) -> Courier {
        let program = dir.join("helper");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Courier::start(&program, dir, dir, "n1", patience).unwrap()
    }

    #[tokio::test]
    async fn what_a_helper_says_is_news_and_so_is_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut good = courier(dir.path(), "echo '\"moved\"'; echo '\"done\"'", LONG);
        assert_eq!(good.news().await, News::Moves);
        assert_eq!(good.news().await, News::Over(Ok(())));
        let mut bad = courier(dir.path(), "echo '{\"failed\":\"no space\"}'", LONG);
        assert_eq!(bad.news().await, News::Over(Err("no space".to_owned())));
        for (script, words) in [("exit 1", "has ended"), ("echo what", "nonsense")] {
            let News::Over(Err(why)) = courier(dir.path(), script, LONG).news().await else {
                panic!("{script} is no end");
            };
            assert!(why.contains(words), "{why}");
        }
    }

    #[tokio::test]
    async fn one_that_nothing_is_heard_of_is_killed_and_said_not_to_answer() {
        let dir = tempfile::tempdir().unwrap();
        let soon = Duration::from_millis(50);
        let mut silent = courier(dir.path(), "exec sleep 1000", soon);
        let pid = silent.child.id().unwrap();
        let over = News::Over(Err("it does not answer".to_owned()));
        assert_eq!(silent.news().await, over);
        assert!(!Path::new(&format!("/proc/{pid}")).exists() && !silent.hangs());
    }
}
