//! `cargo xtask demo --end DIRECTORY`: ends what `--keep` left running, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::vm::{Process, Vm};
use rustix::process::{Signal, kill_process};

/// The file that names the coordinator's process.
pub(crate) const COORDINATOR: &str = "coordinator.pid";

/// The file that names the process that keeps a whole system.
pub(super) const KEEPER: &str = "keeper.pid";

/// The file that ends that.
const END: &str = "end";

/// How long the coordinator gets for its end; it has nothing to finish.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the coordinator and the machines of a demo, and removes its directory with the keys in it. Nothing else: a process
/// that only has the pid of one of them is left alone.
pub(crate) fn end(directory: &Path) -> Result<()> {
    if let Some(keeper) = Process::read(&directory.join(KEEPER)) {
        return end_system(directory, &keeper);
    }
    let machines = directory.join("machines");
    ensure!(
        directory.join("cluster.yaml").is_file() && machines.join("owner").is_file(),
        "{} is not the directory of a demo: `cargo xtask demo --keep` tells its name",
        directory.display()
    );
    if let Some(coordinator) = Process::read(&directory.join(COORDINATOR)) {
        let give_up = Instant::now() + PATIENCE;
        let mut signal = Signal::TERM;
        while let Some(pid) = coordinator.pid() {
            // It may have ended by itself in between, which is as good.
            kill_process(pid, signal).ok();
            std::thread::sleep(Duration::from_millis(50));
            if Instant::now() > give_up {
                signal = Signal::KILL;
            }
        }
    }
    for entry in fs::read_dir(&machines)? {
        let machine = entry?.path();
        if machine.is_dir() {
            Vm::new(&machine).pull_plug()?;
        }
    }
    removed(directory)
}

/// The same of a whole system, whose keeper ends everything below itself.
fn end_system(directory: &Path, keeper: &Process) -> Result<()> {
    fs::write(directory.join(END), "").with_context(|| directory.display().to_string())?;
    let give_up = Instant::now() + PATIENCE;
    while let Some(pid) = keeper.pid() {
        ensure!(
            Instant::now() < give_up,
            "process {} keeps it, and does not end: kill it, and remove {}",
            pid.as_raw_nonzero(),
            directory.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    removed(directory)
}

fn removed(directory: &Path) -> Result<()> {
    fs::remove_dir_all(directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    println!("ended, and {} is removed", directory.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::Pid;

    use super::*;

    fn kept() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("machines")).unwrap();
        fs::write(directory.path().join("machines/owner"), "keep").unwrap();
        fs::write(directory.path().join("cluster.yaml"), "").unwrap();
        directory
    }

    #[test]
    fn the_process_that_was_started_is_ended_and_one_with_its_pid_is_not() {
        let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&other);
        let directory = kept();
        let file = directory.path().join(COORDINATOR);
        fs::write(&file, format!("{} 1", pid.as_raw_nonzero())).unwrap();
        end(directory.path()).unwrap();
        assert!(
            other.try_wait().unwrap().is_none(),
            "it began at another time"
        );
        assert!(!directory.path().exists());

        let directory = kept();
        Process::running(pid)
            .unwrap()
            .write(&directory.path().join(COORDINATOR))
            .unwrap();
        end(directory.path()).unwrap();
        assert!(other.wait().unwrap().code().is_none(), "ended by a signal");
        assert!(!directory.path().exists());
    }

    #[test]
    fn a_system_ends_with_the_process_that_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let wait = "while [ ! -e \"$0/end\" ]; do sleep 0.02; done";
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", wait])
            .arg(directory.path())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&keeper);
        let kept = Process::running(pid).unwrap();
        kept.write(&directory.path().join(KEEPER)).unwrap();
        // It is reaped as its parent would, which has ended by then.
        let reaped = std::thread::spawn(move || keeper.wait().unwrap());
        end(directory.path()).unwrap();
        assert!(reaped.join().unwrap().success());
        assert!(!directory.path().exists());
    }

    #[test]
    fn what_is_no_demo_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let refused = end(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("not the directory of a demo"), "{refused}");
        assert!(directory.path().exists());
    }
}
