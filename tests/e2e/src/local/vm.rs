//! What a VM would be, as a group of processes.
//!
//! *On* means that a keeper process runs. It gives the machine a boot id, runs the agent as an init system would
//! (again if it dies), or what the file `init` says, a word a line, and adopts everything that anything on the machine
//! leaves behind. Its end, orderly or not, is the end of every process of the machine: that is what makes *off* mean off.
//! State is two files in the machine's directory: `pid` of the keeper, and `press`, the power button; with `again` in it it
//! is that for a reset. `done` beside them tells what was done to it. A fence agent ([`fence`]) switches it like any other.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, setsid, wait};

use super::keeper::descendants;
use crate::programs;

pub mod fence;

/// How often the keeper looks at its button and its agent.
const LOOK: Duration = Duration::from_millis(50);

/// What stands in `press` where the machine is to come up again.
const AGAIN: &str = "again";

/// The file in its directory that says what runs on it in place of an agent.
pub(super) const INIT: &str = "init";

/// A machine, by its directory, which is beside those of the others.
#[derive(Debug, Clone)]
pub struct Vm {
    directory: PathBuf,
}

impl Vm {
    /// The one of this directory, which has the agent's own file in it.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Is it on?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.keeper().is_some()
    }

    /// Switches it on, unless it is; returns when the keeper runs.
    ///
    /// # Errors
    /// It does not come on.
    pub fn switch_on(&self) -> Result<()> {
        self.note("on")?;
        if self.is_on() {
            return Ok(());
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("machine.log"))?;
        Command::new(programs::local()?)
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
    ///
    /// # Errors
    /// Something is.
    pub fn pull_plug(&self) -> Result<()> {
        self.note("off")?;
        if let Some(keeper) = self.keeper() {
            let everything = descendants(keeper);
            // The keeper last: it adopts, so nothing escapes from under it.
            for pid in everything.iter().rev().chain([&keeper]) {
                kill(*pid, Signal::KILL);
            }
        }
        self.until(Duration::from_secs(10), "off", |vm| !vm.is_on())
    }

    /// Presses its power button; returns at once.
    ///
    /// # Errors
    /// It cannot be pressed.
    pub fn press(&self) -> Result<()> {
        self.note("press")?;
        fs::write(self.directory.join("press"), "").context("cannot press the power button")
    }

    /// Has it shut down and boot again; returns at once.
    ///
    /// # Errors
    /// The button cannot be pressed.
    pub fn restart(&self) -> Result<()> {
        self.note("restart")?;
        fs::write(self.directory.join("press"), AGAIN).context("cannot press the reset button")
    }

    /// What was done to it, in order: `on`, `off` (its plug was pulled), `press`, `restart`; and `boot` where it came up.
    #[must_use]
    pub fn done(&self) -> Vec<String> {
        let done = fs::read_to_string(self.directory.join("done")).unwrap_or_default();
        done.lines().map(str::to_owned).collect()
    }

    fn note(&self, what: &str) -> Result<()> {
        let path = self.directory.join("done");
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        // One write: lines of several processes do not mix.
        file.and_then(|mut file| file.write_all(format!("{what}\n").as_bytes()))
            .with_context(|| path.display().to_string())
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
    #[must_use]
    pub fn keeper(&self) -> Option<Pid> {
        Process::read(&self.directory.join("pid"))?.pid()
    }

    /// Runs the machine until its button is pressed, its owner is gone, or it is killed.
    ///
    /// # Errors
    /// It cannot be what it has to be.
    pub fn keep(&self) -> Result<()> {
        let agent = &self.init()?;
        // A session of its own, so that the fence agent that started it can end; everything orphaned comes here.
        setsid().context("setsid")?;
        set_child_subreaper(Some(rustix::process::getpid()))
            .context("cannot adopt what the machine leaves behind")?;
        while self.boot(agent)? {}
        Ok(())
    }

    /// Runs it for one boot. Does it come up again?
    fn boot(&self, agent: &[String]) -> Result<bool> {
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/uuid").context("cannot make a boot id")?;
        fs::write(self.directory.join("boot_id"), boot)?;
        let button = self.directory.join("press");
        remove(&button)?;
        self.note("boot")?;
        Process::running(rustix::process::getpid())?.write(&self.directory.join("pid"))?;
        let mut running = self.start_agent(agent)?;
        loop {
            sleep(LOOK);
            if button.exists() || self.owner_is_gone() {
                break;
            }
            if running.try_wait()?.is_some() {
                sleep(Duration::from_millis(300));
                running = self.start_agent(agent)?;
            }
            reap(running.id());
        }
        self.shut_down(&mut running)?;
        Ok(fs::read_to_string(&button).is_ok_and(|text| text == AGAIN))
    }

    /// What runs on it.
    fn init(&self) -> Result<Vec<String>> {
        if let Ok(words) = fs::read_to_string(self.directory.join(INIT)) {
            return Ok(words.lines().map(str::to_owned).collect());
        }
        let file = self.directory.join("agent.toml");
        let [program, file] = [programs::agent()?, file].map(|path| path.display().to_string());
        Ok([program, "run".to_owned(), "--config".to_owned(), file].to_vec())
    }

    fn start_agent(&self, words: &[String]) -> Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("agent.log"))?;
        let (program, arguments) = words.split_first().context("nothing to run")?;
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {program}"))
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

    /// Whoever has it writes his pid beside the machines, to `owner`, or `keep`; machines do not outlive an owner that died.
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
pub struct Process {
    pid: Pid,
    start: String,
}

impl Process {
    /// One that runs now.
    ///
    /// # Errors
    /// It does not.
    pub fn running(pid: Pid) -> Result<Self> {
        let start = start_time(pid)
            .with_context(|| format!("process {} does not run", pid.as_raw_nonzero()))?;
        Ok(Self { pid, start })
    }

    /// The one that a file names, whether it runs or not.
    #[must_use]
    pub fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        Some(Self {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            start: start.to_owned(),
        })
    }

    /// Names it in a file, complete or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        fs::write(
            &new,
            format!("{} {}", self.pid.as_raw_nonzero(), self.start),
        )?;
        Ok(fs::rename(&new, file)?)
    }

    /// Its pid, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
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
