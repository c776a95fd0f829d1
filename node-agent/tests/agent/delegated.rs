//! An agent whose own control group is delegated to it, as its unit has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use interlock_proto::v1::AttemptState as State;
use interlock_proto::v1::dispatch::Command;
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::Signal;

use crate::lab::{Lab, lives, signal, skip};
use crate::orphans::pid_in;
use crate::scripted::{id, process};

/// A control group that is said to be delegated.
struct Group(PathBuf);

impl Group {
    fn create() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let tree = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
        })?;
        let path = tree.join(format!("interlock-test-unit-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self(path);
        setxattr(&group.0, "user.delegate", b"1", XattrFlags::empty()).ok()?;
        group.0.join("cgroup.kill").exists().then_some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        // What is killed leaves its group a little later.
        for _ in 0..100 {
            if remove(&self.0) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// Removes a group with those in it.
fn remove(group: &Path) -> bool {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.path().is_dir() {
            remove(&below.path());
        }
    }
    fs::remove_dir(group).is_ok()
}

#[tokio::test]
async fn a_worker_that_nothing_else_tells_is_ended_with_its_process_whose_shim_was_killed() {
    let Some(group) = Group::create() else {
        return skip("a delegated group", "no cgroup v2 tree can be written here");
    };
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    let worker = "env -i setsid /bin/sh -c 'echo $$ > worker; exec sleep 300'";
    let file = format!(
        "[allow.services]\nweb = {{ process = \"web\" }}\n[process.web]\ncommand = [\"/bin/sh\", \"-c\", \
         \"cd {here}; ({worker} &); echo $PPID > shim; exec sleep 1000\"]\n"
    );
    lab.configure(&coordinator.endpoint, &file);
    let agent = lab.start_in(Some(&group.0)).await;
    let mut session = coordinator.session(1).await;
    session.assign(&[process("web")], 0).await;
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let started = session.outcome(&id("start", 1)).await;
    assert_eq!(started.state(), State::Done, "{started:?} {}", lab.log());
    let worker = pid_in(&lab.path("worker")).await;

    // With its agent, and the next one is in the same group.
    let shim = pid_in(&lab.path("shim")).await;
    agent.kill().await;
    signal(shim, Signal::KILL);
    let _agent = lab.start_in(Some(&group.0)).await;
    let mut session = coordinator.session(2).await;
    session.assign(&[process("web")], 0).await;
    session
        .instance("web", |seen| seen.reason.contains("without its shim"))
        .await;
    assert!(lives(worker));
    session
        .dispatch(id("stop", 1), Command::Stop(process("web")))
        .await;
    let stopped = session.outcome(&id("stop", 1)).await;
    assert_eq!(stopped.state(), State::Done, "{stopped:?}");
    assert!(!lives(worker), "{stopped:?}");
    session
        .dispatch(id("start", 2), Command::Start(process("web")))
        .await;
    let started = session.outcome(&id("start", 2)).await;
    assert_eq!(started.state(), State::Done, "{started:?}");
}
