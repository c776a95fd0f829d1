//! The parent of all processes of a local cluster.
//!
//! It reads one request per line from its standard input, starts what the line says, and answers with the pid. The end
//! of its input is the end of the test: then it kills everything below itself and ends. It is a child subreaper
//! (prctl(2), `PR_SET_CHILD_SUBREAPER`), so nothing that is orphaned leaves its tree. One that is told to [`Stay`] ends later.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
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

/// How often a keeper that stays looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

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

/// That everything goes on when the input ends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stay {
    /// Until there is this file, or not even its directory any more.
    pub until: PathBuf,
    /// An address to listen at meanwhile, as soon as whoever asks for this does so no more.
    pub hold: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Start(Start),
    Stay(Stay),
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
    stays: bool,
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
            stays: false,
        })
    }

    /// Starts a program and tells its pid.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, start: Start) -> Result<Pid> {
        let program = start.program.display().to_string();
        self.ask(&Request::Start(start))
            .with_context(|| format!("{program} was not started"))
    }

    /// Lets everything that it started go on without this process, and tells the pid of the keeper itself.
    ///
    /// # Errors
    /// It is gone: then everything is.
    pub fn stay(mut self, stay: Stay) -> Result<Pid> {
        let pid = self.ask(&Request::Stay(stay))?;
        // The end of its input, and not its end: nobody waits for that.
        drop(self.pipes.take());
        self.stays = true;
        Ok(pid)
    }

    fn ask(&self, request: &Request) -> Result<Pid> {
        let pipes = self.pipes.as_ref().context("the keeper is gone")?;
        let mut pipes = pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.requests, "{}", serde_json::to_string(request)?)?;
        let mut answer = String::new();
        pipes.answers.read_line(&mut answer)?;
        match answer.trim().parse().ok().and_then(Pid::from_raw) {
            Some(pid) => Ok(pid),
            None => bail!("{}", answer.trim()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its input; then it ends everything and itself.
        drop(self.pipes.take());
        if self.stays {
            return;
        }
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
    let mut stays = None;
    for line in std::io::stdin().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(Request::Start(start)) => spawn(&start),
            Ok(Request::Stay(stay)) => {
                stays = Some(stay);
                Ok(std::process::id())
            }
            Err(error) => Err(error.into()),
        };
        let mut out = std::io::stdout();
        match answer {
            Ok(pid) => writeln!(out, "{pid}")?,
            Err(error) => writeln!(out, "{}", format!("{error:#}").replace('\n', " "))?,
        }
        out.flush()?;
    }
    if let Some(stay) = stays {
        wait_for_the_end(&stay);
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

/// Returns when what was kept is to end.
fn wait_for_the_end(stay: &Stay) {
    let there_is = |path: Option<&Path>| path.is_some_and(Path::exists);
    let mut held = None;
    while !stay.until.exists() && there_is(stay.until.parent()) {
        // Whoever had it may not have ended yet.
        held = held.or_else(|| TcpListener::bind(&stay.hold).ok());
        sleep(LOOK);
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
