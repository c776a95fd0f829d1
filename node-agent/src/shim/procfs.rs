//! Processes as `/proc` shows them (proc(5), proc_pid_stat(5)).
//!
//! A pid alone is never trusted: it may belong to somebody else by now. Everything here names a process by pid *and*
//! start time, and signals go through a pidfd whose owner was compared after it was opened.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process that cannot be mistaken for a later one with the same pid in the same boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ProcessRef {
    pub(crate) pid: u32,
    /// In clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub(crate) start: u64,
}

/// The flag of kernel threads in the ninth field (include/linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;

/// The fields of `/proc/<pid>/stat` that are used here.
struct Stat {
    /// Has it exited, with only its parent's wait missing?
    dead: bool,
    /// Is it a thread of the kernel, which has no environment?
    kernel: bool,
    parent: u32,
    start: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the name in parentheses and may hold anything, so fields are counted from the last `)`.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let flags: u64 = fields.nth(4)?.parse().ok()?;
        let start = fields.nth(12)?.parse().ok()?;
        Some(Self {
            dead,
            kernel: flags & PF_KTHREAD != 0,
            parent,
            start,
        })
    }
}

impl ProcessRef {
    /// The process that has this pid now, zombies included.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            start: Stat::read(pid)?.start,
        })
    }

    /// Does exactly this process still run? A zombie does not.
    pub(crate) fn runs(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.start == self.start && !stat.dead)
    }

    /// Is nothing of it left that could run? A zombie is gone when it is the last of its threads: the others may be in an
    /// uninterruptible sleep, and write when they wake.
    pub(crate) fn is_gone(self) -> bool {
        match Stat::read(self.pid) {
            Some(stat) if stat.start == self.start => {
                let threads = fs::read_dir(format!("/proc/{}/task", self.pid));
                stat.dead && threads.map_or(true, |threads| threads.count() <= 1)
            }
            Some(_) | None => true,
        }
    }

    /// A pidfd of exactly this process; none if it is gone.
    pub(crate) fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The pidfd is fixed to one process; if the pid still shows our start time, it is ours.
        Ok((Self::of(self.pid) == Some(self)).then_some(fd))
    }

    /// Signals exactly this process; false if it is gone.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<bool> {
        let Some(fd) = self.open()? else {
            return Ok(false);
        };
        match pidfd_send_signal(&fd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// All pids.
pub(super) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    Ok(fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Whose child a process is.
pub(crate) fn parent(of: u32) -> Option<u32> {
    Some(Stat::read(of)?.parent)
}

/// The children of a process that still run.
pub(crate) fn children(of: u32) -> io::Result<Vec<ProcessRef>> {
    let child = |pid| {
        let stat = Stat::read(pid)?;
        let start = stat.start;
        (stat.parent == of && !stat.dead).then_some(ProcessRef { pid, start })
    };
    Ok(pids()?.filter_map(child).collect())
}

/// All living descendants of a process, zombies included. Complete if the process is a subreaper, apart from those
/// born while this runs: call it again until nothing is left.
pub(crate) fn descendants(of: u32) -> io::Result<Vec<ProcessRef>> {
    let mut children: BTreeMap<u32, Vec<ProcessRef>> = BTreeMap::new();
    for pid in pids()? {
        if let Some(stat) = Stat::read(pid) {
            children.entry(stat.parent).or_default().push(ProcessRef {
                pid,
                start: stat.start,
            });
        }
    }
    let mut found = children.remove(&of).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let below = children.remove(&process.pid).unwrap_or_default();
        found.extend(below);
        next += 1;
    }
    Ok(found)
}

/// How often, and how long apart, an empty environment is read again.
const EMPTY_AGAIN: (u32, Duration) = (4, Duration::from_millis(5));

/// All processes whose initial environment has `name=value`.
///
/// Misses a process that was given another environment and, without privileges, one whose environment may not be read.
/// An environment reads as empty in the middle of an execve(2), so those are read again before they are believed.
pub(crate) fn marked(name: &str, value: &str) -> io::Result<Vec<ProcessRef>> {
    let wanted = format!("{name}={value}");
    let mut found = Vec::new();
    let mut looked_at: Vec<ProcessRef> = pids()?.filter_map(ProcessRef::of).collect();
    for round in 0..=EMPTY_AGAIN.0 {
        if round > 0 && !looked_at.is_empty() {
            std::thread::sleep(EMPTY_AGAIN.1);
        }
        looked_at.retain(|process| {
            let Ok(environ) = fs::read(format!("/proc/{}/environ", process.pid)) else {
                return false;
            };
            let has_it = environ
                .split(|byte| *byte == 0)
                .any(|entry| entry == wanted.as_bytes());
            if has_it && process.runs() {
                found.push(*process);
            }
            environ.is_empty()
                && Stat::read(process.pid).is_some_and(|stat| !stat.dead && !stat.kernel)
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.start), (7, 987_654));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = ProcessRef::of(std::process::id()).unwrap();
        assert!(me.open().unwrap().is_some());
        assert!(
            ProcessRef {
                start: me.start + 1,
                ..me
            }
            .open()
            .unwrap()
            .is_none()
        );
        assert!(
            !ProcessRef {
                start: me.start + 1,
                ..me
            }
            .signal(Signal::KILL)
            .unwrap(),
            "would have been fatal"
        );
    }
}
