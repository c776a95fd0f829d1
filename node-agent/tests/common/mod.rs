//! What the tests with real processes share.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interlock_agent::shim::{Options, Run, RunId, RunSpec, Runs};
use interlock_model::ids::BootId;

/// How long something that must happen may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test, which the shims are.
pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_interlock-agent").into()
}

pub(crate) fn boot(name: &str) -> BootId {
    BootId(name.to_owned())
}

/// A directory for one test. A test that fails leaves nothing running: the shims in it are told to kill at once.
pub(crate) struct Bed(tempfile::TempDir);

impl Bed {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let Ok(runs) = fs::read_dir(self.path().join("runs")) else {
            return;
        };
        for run in runs.filter_map(|entry| Some(entry.ok()?.path())) {
            let lock = fs::File::open(run.join("lock"));
            if !lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
            {
                continue;
            }
            let record = fs::read(run.join("run.json")).unwrap_or_default();
            let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
            let shim = record["shim"]["pid"]
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(shim) = shim.and_then(rustix::process::Pid::from_raw) {
                let _ = fs::write(run.join("stop.json"), r#"{"signal":"KILL","grace":"0s"}"#);
                let _ = rustix::process::kill_process(shim, rustix::process::Signal::TERM);
            }
        }
    }
}

/// The runs of `dir` as an agent of this boot would open them.
pub(crate) fn open(dir: &Path, boot_id: &str) -> Runs {
    open_with(dir, boot_id, None)
}

pub(crate) fn open_with(dir: &Path, boot_id: &str, cgroup: Option<PathBuf>) -> Runs {
    let options = Options {
        program: program(),
        cgroup,
        ..Options::new(dir.join("runs"), boot(boot_id))
    };
    Runs::open(options).unwrap()
}

pub(crate) fn id(text: &str) -> RunId {
    text.parse().unwrap()
}

/// A run of a shell script.
pub(crate) fn script(name: &str, text: &str) -> RunSpec {
    RunSpec::new(id(name), vec!["/bin/sh".into(), "-c".into(), text.into()])
}

/// Bounds a wait; a test that needs it has failed.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it must have happened by now")
}

/// Waits until a file has a whole line, and returns it.
pub(crate) async fn line_of(path: &Path) -> String {
    soon(async {
        loop {
            match fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

/// Does a process with this pid run? A zombie does not.
pub(crate) fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| !rest.starts_with(['Z', 'X']))
        })
        .unwrap_or(false)
}

/// Kills a process by its number, as a test may that has just started it.
pub(crate) fn kill_hard(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Ends a run and its directory, whatever state a test left it in.
pub(crate) async fn clean(runs: &Runs, run: &Run) {
    soon(run.kill(Duration::ZERO)).await.unwrap();
    runs.remove(run).await.unwrap();
}

/// A control group of this test, where the machine has a cgroup v2 tree that may be written.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    pub(crate) fn create(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
        })?;
        let path = mount.join(format!("interlock-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        path.join("cgroup.kill").exists().then_some(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for leaf in fs::read_dir(&self.0)
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.path()))
        {
            if leaf.is_dir() {
                let _ = fs::remove_dir(leaf);
            }
        }
        let _ = fs::remove_dir(&self.0);
    }
}
