//! The shim process: starts the command, keeps it, and writes down how it ended.
//!
//! Plain blocking code in one thread around one poll(2): output, SIGCHLD, SIGTERM, and the next deadline. There is one
//! shim per running command, so it allocates little and starts no runtime.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait};
use serde::{Deserialize, Serialize};

use super::capture::{Capture, STDERR, STDOUT};
use super::cgroup::Leaf;
use super::deadline;
use super::procfs::{self, ProcessRef};
use super::record::{self, Exit, MainRecord, RunRecord, Status, StopRequest};
use super::signal::StopSignal;
use super::spec::{FORMAT, Leftovers, Output, SpecFile, Stop};
use super::stream::{Stream, readable};
use crate::session::Clock;

/// How often what is left is killed again: a process may have forked between the look and the signal.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// How often a control group that holds processes which do not descend from the shim is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long the outcome is tried to be written on a disk that refuses it. After that it is unknown.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// What the shim tells the agent that started it: one line on its standard error, then end of file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// The records are in the run's directory.
    Kept,
    /// The same, but the command is being killed, because it could not be written down that it was started.
    Killing(String),
    /// Nothing was started.
    Failed(String),
}

/// Runs the command described in a run's directory and returns when nothing of it is left and its outcome is on disk.
///
/// The agent has given us: nothing or input on standard input, the locked lock file as standard output, the pipe for
/// its report (one line of JSON) as standard error.
///
/// # Errors
/// If nothing could be started, or the outcome could not be written.
pub fn keep(dir: &Path) -> io::Result<()> {
    let prepared = Keeper::prepare(dir);
    let report = match &prepared {
        Ok(Keeper {
            unrecorded: Some(error),
            ..
        }) => Report::Killing(error.to_string()),
        Ok(_) => Report::Kept,
        Err(error) => Report::Failed(error.to_string()),
    };
    // The agent may be gone by now; that is what this process is for.
    let _ = writeln!(io::stderr(), "{}", serde_json::to_string(&report)?);
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    prepared?.run()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Running,
    /// The polite signal is sent.
    Stopping {
        kill_at: Instant,
    },
    /// Grace is over; what is left is killed until nothing is.
    Killing {
        again_at: Instant,
    },
}

struct Keeper {
    dir: PathBuf,
    spec: SpecFile,
    leaf: Option<Leaf>,
    main: Option<Pid>,
    status: Option<Status>,
    /// Is it on disk that the command has exited and left something?
    told: bool,
    streams: Vec<Stream>,
    children: UnixStream,
    terminate: UnixStream,
    phase: Phase,
    limit: Option<Instant>,
    timed_out: bool,
    stopped: bool,
    /// Why it is not on disk which process the command is.
    unrecorded: Option<io::Error>,
}

impl Keeper {
    /// Starts the command, as the last thing that may fail.
    ///
    /// # Errors
    /// Only if nothing was started. Who is told of an error forgets the run, so a command that lives then would be
    /// nobody's: whatever goes wrong after its start is met by killing it, which is an end like any other.
    fn prepare(dir: &Path) -> io::Result<Self> {
        let _ = rustix::thread::set_name(c"interlock-shim");
        rustix::process::setsid()?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (children, on_child) = UnixStream::pair()?;
        let (terminate, on_terminate) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(Signal::CHILD.as_raw(), on_child)?;
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
            signal_hook::low_level::pipe::register(signal.as_raw(), on_terminate.try_clone()?)?;
        }
        let spec: SpecFile = record::read(dir, record::SPEC)?.ok_or_else(|| {
            io::Error::other(format!("{} is missing in {}", record::SPEC, dir.display()))
        })?;
        if spec.format != FORMAT {
            let message = format!(
                "run format {} was asked for and this program knows {FORMAT}",
                spec.format
            );
            return Err(io::Error::other(message));
        }
        record::reserve(dir, record::EXIT)?;
        record::reserve(dir, record::MAIN)?;
        record::reserve_in_place(dir, record::STOP)?;
        let shim = ProcessRef::of(std::process::id())
            .ok_or_else(|| io::Error::other("cannot read /proc"))?;
        let mut keeper = Self {
            dir: dir.to_owned(),
            leaf: spec.cgroup.clone().map(Leaf::at),
            limit: spec
                .run
                .time_limit
                .map(|limit| deadline(Instant::now(), limit)),
            spec,
            main: None,
            status: None,
            told: false,
            streams: Vec::new(),
            children,
            terminate,
            phase: Phase::Running,
            timed_out: false,
            stopped: false,
            unrecorded: None,
        };
        let (started_at, started_boot) = (record::now(), Some(Clock.mono()));
        record::write(
            dir,
            record::RUN,
            &RunRecord {
                shim,
                child: None,
                started_at,
                started_boot,
            },
            false,
        )?;
        record::reserve(dir, record::RUN)?;
        let child = match keeper.spawn() {
            Ok(pid) => ProcessRef::of(pid),
            Err(error) => {
                keeper.status = Some(Status::NotStarted(keeper.why(&error)));
                None
            }
        };
        let run = RunRecord {
            shim,
            child,
            started_at,
            started_boot,
        };
        if let Err(error) = record::write(dir, record::RUN, &run, false) {
            keeper.unrecorded = Some(error);
            keeper.begin_stop(Stop {
                signal: StopSignal::Kill,
                grace: Duration::ZERO,
            });
        }
        Ok(keeper)
    }

    /// Starts the command, in its own process group and born inside its control group.
    fn spawn(&mut self) -> io::Result<u32> {
        let run = &self.spec.run;
        let (program, arguments) = run
            .command
            .split_first()
            .ok_or_else(|| io::Error::other("the command is empty"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.spec.environment())
            .current_dir(&run.cwd);
        command.process_group(0).stdin(Stdio::inherit());
        if let Some(user) = run.user {
            command.uid(user.uid).gid(user.gid);
        }
        let (out_read, out_write) = io::pipe()?;
        let streams = match &run.output {
            Output::Ends { bytes } => {
                let (err_read, err_write) = io::pipe()?;
                command.stdout(out_write).stderr(err_write);
                let out = Capture::ends(&self.dir, STDOUT, *bytes);
                let err = Capture::ends(&self.dir, STDERR, *bytes);
                vec![Stream::new(out_read, out), Stream::new(err_read, err)]
            }
            Output::Log { path, bytes } => {
                command.stdout(out_write.try_clone()?).stderr(out_write);
                vec![Stream::new(out_read, Capture::log(path, *bytes))]
            }
        };
        if let Some(leaf) = &self.leaf {
            leaf.leave()?;
            leaf.enter()?;
        }
        let spawned = command.spawn();
        if self.leaf.as_ref().is_some_and(|leaf| leaf.leave().is_err()) {
            // We would kill ourselves with it. It worked a moment ago, so somebody is removing our tree; the
            // subreaper's way is left.
            self.leaf = None;
        }
        let pid = spawned?.id();
        self.main = i32::try_from(pid).ok().and_then(Pid::from_raw);
        self.streams = streams;
        Ok(pid)
    }

    fn why(&self, error: &io::Error) -> String {
        let run = &self.spec.run;
        let program = run.command.first().map_or("", String::as_str);
        let user = run
            .user
            .map(|user| format!(" as user {}", user.uid))
            .unwrap_or_default();
        format!(
            "cannot start {program} in {}{user}: {error}",
            run.cwd.display()
        )
    }

    fn run(mut self) -> io::Result<()> {
        while !self.gone()? {
            self.meet_deadlines();
            self.await_something()?;
        }
        self.finish()
    }

    /// Takes leave of the processes that have exited; true if none is left, in the control group either.
    fn gone(&mut self) -> io::Result<bool> {
        let children = loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if Some(pid) == self.main => self.main_exited(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break true,
                Err(Errno::CHILD) => break false,
                Err(error) => return Err(error.into()),
            }
        };
        let left = children
            || match &self.leaf {
                // What cannot be read is not known to be empty.
                Some(leaf) => leaf.populated().unwrap_or(true),
                None => false,
            };
        if left && self.main.is_none() && !self.told {
            self.told = true;
            self.tell_main_exit();
        }
        Ok(!left)
    }

    fn main_exited(&mut self, status: WaitStatus) {
        self.status = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Status::Code(code)),
            (None, Some(signal)) => Some(Status::Signal(signal)),
            // Stopped or continued, which is not asked for.
            (None, None) => return,
        };
        self.limit = None;
        self.main = None;
    }

    /// The command is gone and something of it is left.
    fn tell_main_exit(&mut self) {
        let Some(status) = self.status.clone() else {
            return;
        };
        // Its output so far shall be there when its end is known.
        self.streams.iter_mut().for_each(Stream::drain);
        let main = MainRecord {
            status,
            timed_out: self.timed_out,
            stopped: self.stopped,
        };
        // A disk that fails only delays the news until the end of the run.
        let _ = record::write(&self.dir, record::MAIN, &main, false);
        if self.phase != Phase::Running || self.spec.run.leftovers == Leftovers::Kill {
            // The configured signal is the command's own; what it leaves behind knows SIGTERM.
            self.begin_stop(Stop {
                signal: StopSignal::Term,
                ..self.spec.run.stop
            });
        }
    }

    /// Sends the polite signal and sets the time of the other one. Asked again, it can only become sooner.
    fn begin_stop(&mut self, stop: Stop) {
        let kill_at = deadline(Instant::now(), stop.grace);
        match self.phase {
            Phase::Killing { .. } => return,
            Phase::Stopping { kill_at: before } => {
                self.phase = Phase::Stopping {
                    kill_at: before.min(kill_at),
                }
            }
            Phase::Running => self.phase = Phase::Stopping { kill_at },
        }
        match self.main {
            // As long as it is not waited for, its number and that of its group belong to nobody else.
            Some(main) => drop(kill_process_group(main, stop.signal.raw())),
            None => signal_all(stop.signal.raw()),
        }
    }

    fn meet_deadlines(&mut self) {
        let now = Instant::now();
        if self.limit.is_some_and(|limit| limit <= now) {
            self.limit = None;
            self.timed_out = true;
            self.begin_stop(self.spec.run.stop);
        }
        let kill = match self.phase {
            Phase::Running => false,
            Phase::Stopping { kill_at: at } | Phase::Killing { again_at: at } => at <= now,
        };
        if kill {
            // An error is met by doing it again.
            let _ = self.leaf.as_ref().map(Leaf::kill);
            signal_all(Signal::KILL);
            self.phase = Phase::Killing {
                again_at: now + KILL_AGAIN,
            };
        }
    }

    /// Waits for output, a signal, or the next deadline, and takes in what came.
    fn await_something(&mut self) -> io::Result<()> {
        let phase = match self.phase {
            Phase::Running => None,
            Phase::Stopping { kill_at: at } | Phase::Killing { again_at: at } => Some(at),
        };
        // Strangers in the control group send no SIGCHLD when they go.
        let look = self
            .leaf
            .as_ref()
            .filter(|_| self.status.is_some())
            .map(|_| Instant::now() + LOOK_AGAIN);
        let deadline = [self.limit, phase, look].into_iter().flatten().min();
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let ready = {
            let mut fds = vec![self.children.as_fd(), self.terminate.as_fd()];
            fds.extend(self.streams.iter().filter_map(Stream::fd));
            readable(&fds, timeout)?
        };
        let mut scratch = [0; 64];
        if ready[0] {
            let _ = self.children.read(&mut scratch)?;
        }
        if ready[1] {
            let _ = self.terminate.read(&mut scratch)?;
            self.stopped = true;
            // Half a request is being written over by the next one, of which we are told as well.
            let asked: Option<StopRequest> = record::read(&self.dir, record::STOP).ok().flatten();
            self.begin_stop(asked.unwrap_or(self.spec.run.stop));
        }
        let open = self
            .streams
            .iter_mut()
            .filter(|stream| stream.fd().is_some());
        for (stream, _) in open.zip(&ready[2..]).filter(|(_, ready)| **ready) {
            stream.read();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.streams.iter_mut().for_each(Stream::drain);
        let cut = |index: usize| self.streams.get(index).map_or(0, Stream::cut);
        let exit = Exit {
            status: self
                .status
                .clone()
                .unwrap_or_else(|| Status::NotStarted("it was never seen".to_owned())),
            ended_at: record::now(),
            group_empty: true,
            timed_out: self.timed_out,
            stopped: self.stopped,
            oom: self.leaf.as_ref().and_then(Leaf::oom),
            stdout_cut: cut(0),
            stderr_cut: cut(1),
        };
        let begun = Instant::now();
        loop {
            match record::write(&self.dir, record::EXIT, &exit, self.spec.run.durable) {
                // Whoever removed the run's directory wants no record of it.
                Err(_) if begun.elapsed() < WRITE_PATIENCE && self.dir.exists() => {
                    std::thread::sleep(Duration::from_secs(1))
                }
                result => return result,
            }
        }
    }
}

/// Signals every descendant. One that may not be signalled is met again at the next look.
fn signal_all(signal: Signal) {
    for process in procfs::descendants(std::process::id()).unwrap_or_default() {
        let _ = process.signal(signal);
    }
}
