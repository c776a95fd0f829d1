//! A machine of the demo: what a VM would be, as a group of processes.
//!
//! *On* means that a keeper process runs. It gives the machine a boot id, runs the agent as an init system would
//! (again if it dies), and adopts everything that anything on the machine leaves behind. Its end, orderly or not, is
//! the end of every process of the machine: that is what makes *off* mean off. State is two files in the machine's
//! directory: `pid` of the keeper, and `press`, the power button.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, setsid, wait};

/// How often the keeper looks at its button and its agent.
const LOOK: Duration = Duration::from_millis(50);

/// A machine, by its directory.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    directory: PathBuf,
}

impl Machine {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Is it on?
    pub(crate) fn is_on(&self) -> bool {
        self.keeper().is_some()
    }

    /// Switches it on, unless it is; returns when the keeper runs.
    pub(crate) fn switch_on(&self) -> Result<()> {
        if self.is_on() {
            return Ok(());
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("machine.log"))?;
        Command::new(std::env::current_exe()?)
            .args(["machine", "--directory"])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .spawn()
            .context("cannot start the machine's keeper")?;
        self.until(Duration::from_secs(10), "on", Self::is_on)
    }

    /// Pulls its plug; returns when nothing of it is left.
    pub(crate) fn pull_plug(&self) -> Result<()> {
        if let Some(keeper) = self.keeper() {
            let everything = descendants(keeper);
            // The keeper last: it adopts, so nothing escapes from under it.
            for pid in everything.iter().rev().chain([&keeper]) {
                kill(*pid, Signal::KILL);
            }
        }
        self.until(Duration::from_secs(10), "off", |machine| !machine.is_on())
    }

    /// Presses its power button; returns at once.
    pub(crate) fn press(&self) -> Result<()> {
        fs::write(self.directory.join("press"), "").context("cannot press the power button")
    }

    fn until(&self, limit: Duration, what: &str, reached: impl Fn(&Self) -> bool) -> Result<()> {
        let give_up = Instant::now() + limit;
        while !reached(self) {
            if Instant::now() >= give_up {
                bail!(
                    "{} is not {what} after {} s",
                    self.directory.display(),
                    limit.as_secs()
                );
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// The keeper, if it runs.
    fn keeper(&self) -> Option<Pid> {
        Process::read(&self.directory.join("pid"))?.pid()
    }

    /// Runs the machine until its button is pressed, its owner is gone, or it is killed.
    pub(crate) fn keep(&self, agent: &Path) -> Result<()> {
        // A session of its own, so that the fence agent that started it can end; everything orphaned comes here.
        setsid().context("setsid")?;
        set_child_subreaper(Some(rustix::process::getpid()))
            .context("cannot adopt what the machine leaves behind")?;
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/uuid").context("cannot make a boot id")?;
        fs::write(self.directory.join("boot_id"), boot)?;
        remove(&self.directory.join("press"))?;
        Process::running(rustix::process::getpid())?.write(&self.directory.join("pid"))?;
        let mut running = self.start_agent(agent)?;
        loop {
            sleep(LOOK);
            if self.directory.join("press").exists() || self.owner_is_gone() {
                break;
            }
            if running.try_wait()?.is_some() {
                sleep(Duration::from_millis(300));
                running = self.start_agent(agent)?;
            }
            reap(running.id());
        }
        self.shut_down(&mut running)
    }

    fn start_agent(&self, agent: &Path) -> Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("agent.log"))?;
        Command::new(agent)
            .args(["run", "--config"])
            .arg(self.directory.join("agent.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", agent.display()))
    }

    /// As an operating system does: ask, wait a little, then end everything.
    fn shut_down(&self, agent: &mut Child) -> Result<()> {
        if let Some(pid) = Pid::from_raw(i32::try_from(agent.id())?) {
            kill(pid, Signal::TERM);
        }
        let give_up = Instant::now() + Duration::from_secs(2);
        while agent.try_wait()?.is_none() && Instant::now() < give_up {
            sleep(LOOK);
        }
        let me = rustix::process::getpid();
        while !descendants(me).is_empty() {
            for pid in descendants(me) {
                kill(pid, Signal::KILL);
            }
            reap(0);
            sleep(Duration::from_millis(5));
        }
        remove(&self.directory.join("pid"))
    }

    /// The demo writes its pid beside the machines, or `keep`; machines do not outlive a demo that died.
    fn owner_is_gone(&self) -> bool {
        let Some(owner) = self
            .directory
            .parent()
            .map(|machines| machines.join("owner"))
        else {
            return true;
        };
        match fs::read_to_string(owner) {
            Ok(text) => match text.trim() {
                "keep" => false,
                pid => !Path::new("/proc").join(pid).exists(),
            },
            Err(_) => true,
        }
    }
}

/// A process that a file names: its pid is believed only together with its start time, for pids come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pid: Pid,
    start: String,
}

impl Process {
    /// One that runs now.
    pub(crate) fn running(pid: Pid) -> Result<Self> {
        let start = start_time(pid)
            .with_context(|| format!("process {} does not run", pid.as_raw_nonzero()))?;
        Ok(Self { pid, start })
    }

    /// The one that a file names, whether it runs or not.
    pub(crate) fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        Some(Self {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            start: start.to_owned(),
        })
    }

    /// Names it in a file, complete or not at all.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        fs::write(
            &new,
            format!("{} {}", self.pid.as_raw_nonzero(), self.start),
        )?;
        Ok(fs::rename(&new, file)?)
    }

    /// Its pid, if it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        (start_time(self.pid).as_ref() == Some(&self.start)).then_some(self.pid)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(path.display().to_string())
        }
        _ => Ok(()),
    }
}

fn kill(pid: Pid, signal: Signal) {
    // It may have ended by itself in between, which is as good.
    kill_process(pid, signal).ok();
}

/// Reaps adopted children, but not the agent: its `Child` does that.
fn reap(agent: u32) {
    let Ok(adopted) =
        fs::read_to_string(format!("/proc/self/task/{0}/children", std::process::id()))
    else {
        return;
    };
    for pid in adopted
        .split_whitespace()
        .filter_map(|pid| pid.parse::<i32>().ok())
    {
        if u32::try_from(pid) != Ok(agent)
            && let Some(pid) = Pid::from_raw(pid)
        {
            rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok();
        }
    }
    if agent == 0 {
        wait(WaitOptions::NOHANG).ok();
    }
}

/// The start time of a process in clock ticks, field 22 of /proc/PID/stat (proc_pid_stat(5)).
fn start_time(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The command in field 2 may hold anything, so counting begins behind its closing parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (state != "Z")
        .then(|| fields.nth(18).map(str::to_owned))
        .flatten()
}

/// Every process below `root`, parents before children.
pub(crate) fn descendants(root: Pid) -> Vec<Pid> {
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
