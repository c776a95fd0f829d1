//! Running a program in a process group of its own, with an end that is certain.
//!
//! For short helpers whose outcome the caller waits for (fence agents, file probes), not for supervised services.
//!
//! * The program gets a new process group, so that a kill reaches everything that it started and did not detach.
//! * At its limit, when the caller drops the future, and also after a normal end, the **whole group** is killed.
//! * The leader is reaped only after that kill: until it is reaped its process id, and with it the group's, cannot
//!   be given to somebody else, so the kill cannot hit a stranger.
//! * A process in uninterruptible sleep (state D: a hung disk or NFS server) does not die of SIGKILL. It is left
//!   behind after [`REAP_LIMIT`] and handed back to the caller, who must bound how many of them there are.
//! * Output beyond the bound is read and thrown away: a program is never stopped by a full pipe.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::process::{Child, Command};

/// How long a killed process may take to die before it counts as hung in the kernel.
pub(crate) const REAP_LIMIT: Duration = Duration::from_secs(2);

/// How long the pipes are read on after the group is dead. Only a process that left the group can hold them open.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// The bounds of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From the start of the program to its end.
    pub(crate) time: Duration,
    /// Bytes of standard output that are kept.
    pub(crate) stdout: usize,
    /// Bytes of standard error that are kept.
    pub(crate) stderr: usize,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// It reached its limit and was killed.
    TimedOut,
    /// It reached its limit and does not die. Whoever holds the child may see it end later.
    Undead(
        #[expect(
            dead_code,
            reason = "held: as long as it is, its number is not given to another process"
        )]
        Box<Child>,
    ),
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: End,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs `command` with `stdin` as its whole input.
///
/// # Errors
/// Only if the program cannot be started.
pub(crate) async fn run(
    command: &mut Command,
    stdin: &[u8],
    bounds: Bounds,
) -> io::Result<Finished> {
    command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let group = Group::of(&child)?;
    let mut input = child.stdin.take();
    let (mut output, mut errors) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let timed_out = {
        let feed = async {
            if let Some(mut pipe) = input.take() {
                // A program that does not read its input is judged by how it ends.
                let _ = pipe.write_all(stdin).await;
            }
        };
        let talk = async {
            tokio::join!(
                feed,
                keep(output.as_mut(), &mut stdout, bounds.stdout),
                keep(errors.as_mut(), &mut stderr, bounds.stderr)
            )
        };
        let mut talk = std::pin::pin!(talk);
        let mut talking = true;
        let limit = tokio::time::sleep(bounds.time);
        let mut limit = std::pin::pin!(limit);
        let mut ended = std::pin::pin!(group.leader_ended());
        let timed_out = loop {
            tokio::select! {
                biased;
                () = &mut ended => break false,
                () = &mut limit => break true,
                _ = &mut talk, if talking => talking = false,
            }
        };
        group.kill();
        if talking {
            let _ = tokio::time::timeout(DRAIN_LIMIT, talk).await;
        }
        timed_out
    };
    let end = match (
        tokio::time::timeout(REAP_LIMIT, child.wait()).await,
        timed_out,
    ) {
        (Ok(_), true) => End::TimedOut,
        (Ok(status), false) => ended(status?),
        (Err(_), _) => End::Undead(Box::new(child)),
    };
    group.disarm();
    Ok(Finished {
        end,
        stdout,
        stderr,
    })
}

fn ended(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

/// Reads to the end, keeping the first `limit` bytes.
async fn keep(pipe: Option<&mut (impl AsyncRead + Unpin)>, kept: &mut Vec<u8>, limit: usize) {
    let Some(pipe) = pipe else { return };
    let mut chunk = [0_u8; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        let room = limit.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&chunk[..room]);
    }
}

/// A process group whose leader has not been reaped yet. Killed when dropped.
#[derive(Debug)]
struct Group {
    leader: Pid,
    pidfd: AsyncFd<OwnedFd>,
    armed: bool,
}

impl Group {
    fn of(child: &Child) -> io::Result<Self> {
        let leader = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .ok_or_else(|| io::Error::other("the program ended before it could be followed"))?;
        let pidfd = pidfd_open(leader, PidfdFlags::NONBLOCK)
            .map_err(io::Error::from)
            .and_then(readable)
            .inspect_err(|_| kill(leader))?;
        Ok(Self {
            leader,
            pidfd,
            armed: true,
        })
    }

    /// Resolves when the leader has ended; it stays unreaped.
    async fn leader_ended(&self) {
        let _ = self.pidfd.readable().await;
    }

    fn kill(&self) {
        kill(self.leader);
    }

    /// The leader has been reaped or handed over: its number may belong to somebody else from now on.
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.armed {
            self.kill();
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; OwnedFd's cannot"
)]
fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

fn kill(leader: Pid) {
    // The only expected error is that the group is empty already.
    let _ = kill_process_group(leader, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn bounds(time: Duration) -> Bounds {
        Bounds {
            time,
            stdout: 16,
            stderr: 16,
        }
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    /// Whether a process exists that is not a zombie.
    fn alive(pid: &str) -> bool {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }

    async fn gone(pid: &str) {
        while alive(pid) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn input_output_and_exit_code_go_through() {
        let done = run(
            &mut shell("cat; echo oops >&2; exit 7"),
            b"hello",
            bounds(LONG),
        )
        .await
        .unwrap();
        assert!(matches!(done.end, End::Exited(7)), "{done:?}");
        assert_eq!(
            (&*done.stdout, &*done.stderr),
            (&b"hello"[..], &b"oops\n"[..])
        );
    }

    #[tokio::test]
    async fn output_beyond_the_bound_is_dropped_and_does_not_block_the_program() {
        let done = run(&mut shell("head -c 1000000 /dev/zero"), b"", bounds(LONG))
            .await
            .unwrap();
        assert!(matches!(done.end, End::Exited(0)), "{done:?}");
        assert_eq!(done.stdout.len(), 16);
    }

    #[tokio::test]
    async fn at_the_limit_the_children_die_too() {
        let done = run(&mut shell("sleep 1000 & echo $!; wait"), b"", bounds(SHORT))
            .await
            .unwrap();
        assert!(matches!(done.end, End::TimedOut), "{done:?}");
        gone(&String::from_utf8(done.stdout).unwrap()).await;
    }

    #[tokio::test]
    async fn a_child_left_behind_by_a_normal_end_is_killed() {
        let done = run(&mut shell("sleep 1000 & echo $!"), b"", bounds(LONG))
            .await
            .unwrap();
        assert!(matches!(done.end, End::Exited(0)), "{done:?}");
        gone(&String::from_utf8(done.stdout).unwrap()).await;
    }

    #[tokio::test]
    async fn dropping_the_future_kills_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!(
            "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
            file.display()
        );
        let mut command = shell(&script);
        let mut running = Box::pin(run(&mut command, b"", bounds(LONG)));
        let pid = loop {
            tokio::select! {
                _ = &mut running => panic!("it must not end by itself"),
                () = tokio::task::yield_now() => {}
            }
            if let Ok(pid) = std::fs::read_to_string(&file) {
                break pid;
            }
        };
        drop(running);
        gone(&pid).await;
    }
}
