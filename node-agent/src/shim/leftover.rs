//! What is left of a run whose shim is gone without a word, and how to get rid of it.
//!
//! With a control group the answer is the kernel's. Without one it is a search for the run's marker in the
//! environments of all processes, which finds all descendants that kept their environment and may be read; it is
//! evidence, not proof, and therefore [`Proof::Searched`] is a value of its own.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cgroup::Leaf;
use super::procfs::{self, ProcessRef};
use super::record;
use super::spec::{MARKER, SpecFile, Stop};

/// Why nothing of a run is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The shim waited for every descendant until there was none.
    Waited,
    /// The kernel says that the control group is empty.
    ControlGroup,
    /// The machine was off since.
    OtherBoot,
    /// The command was never started.
    NeverStarted,
    /// The shim died; no process carries the run's marker. Does not cover a process that replaced its environment.
    Searched,
}

/// What is known about the processes of a run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// None is left.
    Empty(Proof),
    /// Some are, or may be.
    Left {
        /// Those that were found, by pid.
        pids: Vec<u32>,
    },
}

impl Group {
    /// Is none left?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty(_))
    }
}

/// The time between two looks while leftovers are killed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is left of a run that has no shim and no outcome, in this boot.
pub(crate) fn look(dir: &Path, spec: &SpecFile) -> io::Result<Group> {
    let found = search(dir, spec)?;
    let pids: Vec<u32> = found.iter().map(|process| process.pid).collect();
    match &spec.cgroup {
        Some(path) if Leaf::at(path.clone()).populated()? => Ok(Group::Left { pids }),
        Some(_) if pids.is_empty() => Ok(Group::Empty(Proof::ControlGroup)),
        None if pids.is_empty() => Ok(Group::Empty(Proof::Searched)),
        Some(_) | None => Ok(Group::Left { pids }),
    }
}

/// Stops what is left and returns why nothing is. Takes as long as it takes: a process in uninterruptible sleep ends
/// when its disk answers. Blocks, since reading `/proc` can as well.
pub(crate) fn kill(dir: &Path, spec: &SpecFile, stop: Stop) -> io::Result<Proof> {
    let begun = Instant::now();
    let mut asked = false;
    loop {
        if let Group::Empty(proof) = look(dir, spec)? {
            return Ok(proof);
        }
        if begun.elapsed() >= stop.grace {
            if let Some(path) = &spec.cgroup {
                Leaf::at(path.clone()).kill()?;
            }
            signal(&search(dir, spec)?, Signal::KILL)?;
        } else if !asked {
            signal(&search(dir, spec)?, stop.signal.raw())?;
            asked = true;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The processes that carry the marker or are in the control group, and the command itself if it can still be told.
fn search(dir: &Path, spec: &SpecFile) -> io::Result<Vec<ProcessRef>> {
    let mut found = procfs::marked(MARKER, &spec.marker)?;
    if let Some(path) = &spec.cgroup {
        let members = Leaf::at(path.clone()).pids()?;
        let members = members.into_iter().filter_map(ProcessRef::of);
        found.extend(members.filter(|process| process.runs()));
    }
    let run: Option<record::RunRecord> = record::read(dir, record::RUN).unwrap_or_default();
    if let Some(child) = run.and_then(|run| run.child).filter(|child| child.runs()) {
        let below = procfs::descendants(child.pid)?;
        // Its pid was its own before and after the look, so what was found below is below it.
        if child.runs() {
            found.extend(
                below
                    .into_iter()
                    .chain([child])
                    .filter(|process| process.runs()),
            );
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn signal(processes: &[ProcessRef], signal: Signal) -> io::Result<()> {
    processes
        .iter()
        .try_for_each(|process| process.signal(signal).map(|_| ()))
}
