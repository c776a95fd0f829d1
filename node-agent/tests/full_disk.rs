//! The shim on a disk that takes nothing more: a real one, small and full.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../tests/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Bed, alive, boot, clean, id, kill_hard, line_of, open, program, script, soon};
use interlock_agent::config::{Process, Ready, Setting};
use interlock_agent::shim::{
    Exit, Group, LaunchError, Options, Outcome, Output, RunSpec, Runs, Status, Stop, StopSignal,
};
use interlock_agent::supervise::{State, Supervisor};
use interlock_model::names::LocalName;

/// What a tmpfs hands out at a time (tmpfs(5)).
const PAGE: u64 = 4096;

/// A file system in memory of 64 pages, in a [`Bed`]'s place. Unmounted at the end.
struct Disk(Bed);

impl Disk {
    /// None where nothing may be mounted.
    fn mount() -> Option<Self> {
        let bed = Bed::new();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "small"])
            .arg(bed.path())
            .output();
        if mounted.is_ok_and(|ended| ended.status.success()) {
            return Some(Self(bed));
        }
        skip::skip("runs on a full disk", "cannot mount a tmpfs (needs root)");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room of the disk but this many pages.
    fn leave(&self, pages: u64) {
        let mut filler = File::create(self.path().join("filler")).unwrap();
        let page = [1; PAGE as usize];
        while filler.write_all(&page).is_ok() {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length - pages * PAGE).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: who is still ending has its files open.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .output();
    }
}

/// The living processes of the run with this name, found by what marks them.
fn processes_of(run: &str) -> Vec<u32> {
    let mark = format!("INTERLOCK_RUN={run}-");
    let pids = fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let marked = |pid: &u32| {
        environment(*pid)
            .split(|byte| *byte == 0)
            .any(|entry| entry.starts_with(mark.as_bytes()))
    };
    pids.filter(|pid| marked(pid) && alive(*pid)).collect()
}

/// Reads as empty in the middle of an execve(2), so it is read again before it is believed.
fn environment(pid: u32) -> Vec<u8> {
    for _ in 0..20 {
        match fs::read(format!("/proc/{pid}/environ")) {
            Ok(environ) if environ.is_empty() && alive(pid) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(environ) => return environ,
            Err(_) => break,
        }
    }
    Vec::new()
}

fn sleeper(name: &str) -> RunSpec {
    RunSpec::new(id(name), vec!["/bin/sleep".into(), "1000".into()])
}

const NONE: [u32; 0] = [];

/// A name that no other test on this machine uses at this time.
fn unique(name: &str) -> String {
    format!("{name}.{}", std::process::id())
}

#[tokio::test]
async fn however_little_room_is_left_a_start_is_kept_or_leaves_no_process() {
    let Some(disk) = Disk::mount() else {
        return;
    };
    let runs = open(disk.path(), "boot");
    let (mut kept, mut refused) = (0, 0);
    for pages in 0..12 {
        let name = unique(&format!("room{pages}"));
        disk.leave(pages);
        match runs.launch(sleeper(&name)).await {
            Ok(run) if run.pid().is_some() => {
                assert_eq!(processes_of(&name), [run.pid().unwrap()], "{pages}");
                // With no room at all it can be stopped, and what became of it is known.
                disk.leave(0);
                let ended = soon(run.kill(Duration::ZERO)).await.unwrap();
                assert!(
                    matches!(
                        ended.outcome,
                        Outcome::Exited(Exit {
                            status: Status::Signal(_),
                            ..
                        })
                    ),
                    "{pages}: {ended:?}"
                );
                runs.remove(&run).await.unwrap();
                kept += 1;
            }
            Ok(run) => {
                let ended = soon(run.wait()).await;
                assert!(
                    matches!(ended.outcome.status(), Some(Status::NotStarted(_))),
                    "{pages}: {ended:?}"
                );
                runs.remove(&run).await.unwrap();
                refused += 1;
            }
            Err(_) => refused += 1,
        }
        assert_eq!(processes_of(&name), NONE, "{pages} pages");
        disk.make_room();
        let run = runs.launch(sleeper(&name)).await.unwrap();
        assert!(run.pid().is_some_and(alive));
        clean(&runs, &run).await;
    }
    assert!(kept > 0 && refused > 0, "{kept} kept, {refused} refused");
}

#[tokio::test]
async fn a_process_that_died_is_not_started_invisibly_on_a_full_disk_and_starts_when_there_is_room()
{
    let Some(disk) = Disk::mount() else {
        return;
    };
    let name: LocalName = unique("web").replace('.', "-").parse().unwrap();
    let process = Process {
        command: vec!["/bin/sleep".into(), "1000".into()],
        setting: Setting {
            env: BTreeMap::new(),
            cwd: "/".into(),
            user: None,
            stop: Stop::default(),
        },
        ready: Ready::Started,
        log_cap: 64 * 1024,
    };
    let processes = BTreeMap::from([(name.clone(), process)]);
    let logs = disk.path().join("logs");
    let (supervisor, _events) = Supervisor::new(open(disk.path(), "boot"), processes, logs);
    for pages in 0..8 {
        let State::Running { pid, .. } = supervisor.start(&name).await.unwrap() else {
            panic!("{pages}")
        };
        disk.leave(pages);
        kill_hard(pid);
        let mut state = supervisor.watch(&name).unwrap();
        soon(state.wait_for(|state| matches!(state, State::Failed { .. })))
            .await
            .unwrap();
        // What the guard does.
        let started = supervisor.start(&name).await;
        let living = processes_of(&format!("service.{name}"));
        match started {
            Ok(State::Running { pid, .. }) => assert_eq!(living, [pid], "{pages} pages"),
            other => assert_eq!(living, NONE, "{pages} pages: {other:?}"),
        }
        disk.make_room();
        let running = supervisor.start(&name).await.unwrap();
        assert!(matches!(running, State::Running { .. }), "{running:?}");
        soon(supervisor.stop(&name)).await.unwrap();
    }
}

#[tokio::test]
async fn on_a_full_disk_a_run_is_stopped_by_the_rule_that_was_asked_for_and_sooner_when_asked_again()
 {
    let Some(disk) = Disk::mount() else {
        return;
    };
    let outside = Bed::new();
    let said = outside.path().join("said");
    let runs = open(disk.path(), "boot");
    let text = format!(
        "trap 'echo asked >> {0}' USR1; trap '' TERM; echo ready > {0}; while :; do sleep 0.1; done",
        said.display()
    );
    let run = runs.launch(script("a", &text)).await.unwrap();
    line_of(&said).await;
    disk.leave(0);
    let patient = tokio::spawn({
        let run = run.clone();
        let stop = Stop {
            signal: StopSignal::Usr1,
            grace: Duration::from_secs(1000),
        };
        async move { run.kill_by(stop).await }
    });
    soon(async {
        while !fs::read_to_string(&said).unwrap().contains("asked") {
            assert!(!patient.is_finished(), "it must have been asked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let ended = soon(run.kill(Duration::ZERO)).await.unwrap();
    assert!(matches!(ended.group, Group::Empty(_)), "{ended:?}");
    soon(patient).await.unwrap().unwrap();
    let Outcome::Exited(exit) = ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert!(exit.stopped, "{exit:?}");
}

#[tokio::test]
async fn a_run_whose_shim_was_killed_before_it_could_report_is_not_taken_for_one_that_never_began()
{
    let dir = Bed::new();
    // As the shim: a script that starts the true one without a way to report, and kills it when the command runs.
    let killer = dir.path().join("killer");
    let text = format!(
        "#!/bin/sh\n{} shim \"$2\" 2>/dev/null &\n\
         until grep -q '\"child\":{{' \"$2/run.json\" 2>/dev/null; do :; done\nkill -9 $!\n",
        program().display()
    );
    fs::write(&killer, text).unwrap();
    fs::set_permissions(&killer, fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options {
        program: killer,
        ..Options::new(dir.path().join("runs"), boot("boot"))
    };
    let runs = Runs::open(options).unwrap();
    let name = unique("unreported");
    let launched = runs.launch(sleeper(&name)).await;
    let left = processes_of(&name);
    if let Err(error) = &launched {
        left.iter().for_each(|pid| kill_hard(*pid));
        assert!(matches!(error, LaunchError::Shim(..)), "{error}");
        assert_eq!(left, NONE, "they live and nobody knows: {error}");
    }
    let run = launched.unwrap();
    assert_eq!(run.state().unwrap().group, Group::Left { pids: left });
    assert!(run.lives_without_shim());
    clean(&runs, &run).await;
    assert_eq!(processes_of(&name), NONE);
}

#[tokio::test]
async fn output_beyond_its_bound_is_read_and_dropped_without_a_write_for_each_piece_of_it() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let mut spec = script(
        "a",
        "head -c 14000000 /dev/zero; echo end; echo done >&2; exec sleep 1000",
    );
    spec.output = Output::Ends { bytes: 64 };
    let run = runs.launch(spec).await.unwrap();
    let shim = run.shim_pid().unwrap();
    line_of(&dir.path().join("runs/a/stderr.head")).await;
    let io = fs::read_to_string(format!("/proc/{shim}/io")).unwrap();
    let writes = io.lines().find_map(|line| line.strip_prefix("syscw: "));
    let writes: u64 = writes.unwrap().parse().unwrap();
    // A few for each of the pieces that a pipe gives, of which none is less than a page but the last.
    assert!(writes < 14_000_000 / PAGE * 4, "{writes}");
    soon(run.kill(Duration::ZERO)).await.unwrap();
    let out = run.output().await.unwrap().0;
    assert!(out.tail.ends_with(b"end\n"), "{out:?}");
    let kept = (out.head.len() + out.tail.len()) as u64;
    assert_eq!(out.cut, Some(14_000_004 - kept));
    runs.remove(&run).await.unwrap();
}
