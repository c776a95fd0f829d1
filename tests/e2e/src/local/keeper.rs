//! The parent of all processes of a local cluster.
//!
//! It reads one request per line from its standard input, starts what the line says, and answers with the pid. The end
//! of its input is the end of the test: then it kills everything below itself and ends. It is a child subreaper
//! (prctl(2), `PR_SET_CHILD_SUBREAPER`), so nothing that is orphaned leaves its tree.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, setsid, wait};
use serde::{Deserialize, Serialize};

use crate::{eventually, programs};

/// How often the keeper looks for children that have ended.
const REAP: Duration = Duration::from_millis(5);

/// What is to be started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its output is appended.
    pub log: PathBuf,
}

#[derive(Debug)]
struct Pipes {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A keeper, from the test's side. Dropping it ends everything that it started, and what that started.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    pipes: Option<Mutex<Pipes>>,
}

impl Keeper {
    /// Starts a keeper.
    ///
    /// # Errors
    /// The program is not built, or cannot be started.
    pub fn begin() -> Result<Self> {
        let mut child = Command::new(programs::local()?)
            .arg("keep")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the keeper")?;
        let requests = child.stdin.take().context("the keeper has no input")?;
        let answers = BufReader::new(child.stdout.take().context("the keeper has no output")?);
        Ok(Self {
            child,
            pipes: Some(Mutex::new(Pipes { requests, answers })),
        })
    }

    /// Starts a program and tells its pid.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, start: &Start) -> Result<Pid> {
        let pipes = self.pipes.as_ref().context("the keeper is gone")?;
        let mut pipes = pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.requests, "{}", serde_json::to_string(start)?)?;
        let mut answer = String::new();
        pipes.answers.read_line(&mut answer)?;
        match answer.trim().parse().ok().and_then(Pid::from_raw) {
            Some(pid) => Ok(pid),
            None => bail!(
                "{} was not started: {}",
                start.program.display(),
                answer.trim()
            ),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its input; then it ends everything and itself.
        drop(self.pipes.take());
        if let Err(error) = self.child.wait() {
            eprintln!("cannot wait for the keeper: {error}");
        }
    }
}

/// Kills a process and returns when it is gone.
///
/// # Errors
/// It does not go.
pub fn kill(pid: Pid) -> Result<()> {
    // It may have ended by itself, which is as good.
    kill_process(pid, Signal::KILL).ok();
    gone(pid)
}

/// Waits until a process is gone.
///
/// # Errors
/// It does not go.
pub fn gone(pid: Pid) -> Result<()> {
    eventually(
        &format!("process {} is gone", pid.as_raw_nonzero()),
        Duration::from_secs(10),
        || {
            if lives(pid) {
                bail!("it lives")
            }
            Ok(())
        },
    )
}

/// Whether anything of a process is left. While one of its threads still ends, it holds its files and locks, although
/// it is a zombie already; it is gone when it has been reaped.
#[must_use]
pub fn lives(pid: Pid) -> bool {
    Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists()
}

/// Runs the keeper itself, until its input ends.
///
/// # Errors
/// It cannot become what it has to be.
pub fn keep() -> Result<()> {
    setsid().context("setsid")?;
    set_child_subreaper(Some(rustix::process::getpid())).context("cannot adopt orphans")?;
    std::thread::spawn(|| {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => sleep(REAP),
            }
        }
    });
    for line in std::io::stdin().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Into::into)
            .and_then(|start: Start| spawn(&start));
        let mut out = std::io::stdout();
        match answer {
            Ok(pid) => writeln!(out, "{pid}")?,
            Err(error) => writeln!(out, "{}", format!("{error:#}").replace('\n', " "))?,
        }
        out.flush()?;
    }
    let me = rustix::process::getpid();
    loop {
        let below = descendants(me);
        if below.is_empty() {
            return Ok(());
        }
        for pid in below {
            kill_process(pid, Signal::KILL).ok();
        }
        sleep(REAP);
    }
}

fn spawn(start: &Start) -> Result<u32> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&start.log)?;
    let child = Command::new(&start.program)
        .args(&start.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .spawn()
        .with_context(|| start.program.display().to_string())?;
    Ok(child.id())
}

/// Every process below `root`.
#[must_use]
pub fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children
                .split_whitespace()
                .filter_map(|child| Pid::from_raw(child.parse().ok()?))
            {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}
