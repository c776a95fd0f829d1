//! The `process` manager with real processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../tests/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{Bed, Cgroup, alive, kill_hard, line_of, open, open_with, soon};
use interlock_agent::config::{Listener, Process, Ready, Setting};
use interlock_agent::shim::{Group, Stop};
use interlock_agent::supervise::{Event, StartError, State, StopError, Supervisor};
use interlock_model::names::LocalName;
use tokio::sync::mpsc::Receiver;

fn web() -> LocalName {
    "web".parse().unwrap()
}

fn process(script: &str) -> Process {
    Process {
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        setting: Setting {
            env: BTreeMap::new(),
            cwd: "/".into(),
            user: None,
            stop: Stop::default(),
        },
        ready: Ready::Started,
        log_cap: 64 * 1024,
    }
}

fn supervisor(dir: &Path, process: Process) -> (Supervisor, Receiver<Event>) {
    let runs = open(dir, "boot");
    Supervisor::new(runs, BTreeMap::from([(web(), process)]), dir.join("logs"))
}

/// Waits for a state that fits.
async fn until(supervisor: &Supervisor, fits: impl FnMut(&State) -> bool) -> State {
    let mut watch = supervisor.watch(&web()).unwrap();
    soon(watch.wait_for(fits)).await.unwrap().clone()
}

#[tokio::test]
async fn a_process_is_started_observed_and_stopped_with_proof() {
    let dir = Bed::new();
    let (supervisor, mut events) = supervisor(dir.path(), process("echo hello; exec sleep 1000"));
    assert!(matches!(
        supervisor.state(&web()),
        Some(State::Stopped { since: None, .. })
    ));
    assert_eq!(
        supervisor.stop(&web()).await.unwrap(),
        None,
        "there was nothing to stop"
    );
    let State::Running { pid, .. } = supervisor.start(&web()).await.unwrap() else {
        panic!()
    };
    assert!(alive(pid));
    assert!(
        matches!(supervisor.start(&web()).await.unwrap(), State::Running { pid: same, .. } if same == pid)
    );
    line_of(&dir.path().join("logs/web.log")).await;
    let ended = soon(supervisor.stop(&web())).await.unwrap().unwrap();
    assert!(matches!(ended.group, Group::Empty(_)) && !alive(pid));
    assert!(matches!(
        supervisor.state(&web()),
        Some(State::Stopped { since: Some(_), .. })
    ));
    let mut seen = Vec::new();
    while seen.last() != Some(&"stopped".to_owned()) {
        let event = soon(events.recv()).await.unwrap();
        seen.push(event.state.instance().to_string());
    }
    // States that were passed through while nobody read may be left out, but none comes out of turn.
    let order = ["running", "stopping", "stopped"];
    let turns: Vec<_> = seen
        .iter()
        .map(|state| order.iter().position(|known| known == state))
        .collect();
    assert!(turns.is_sorted() && !turns.contains(&None), "{seen:?}");
}

#[tokio::test]
async fn a_crash_is_told_as_a_failure_with_its_reason_and_the_next_start_works() {
    let dir = Bed::new();
    let (supervisor, mut events) = supervisor(dir.path(), process("exec sleep 1000"));
    let State::Running { pid, .. } = supervisor.start(&web()).await.unwrap() else {
        panic!()
    };
    kill_hard(pid);
    let failed = soon(async {
        loop {
            if let state @ State::Failed { .. } = events.recv().await.unwrap().state {
                break state;
            }
        }
    })
    .await;
    assert_eq!(failed.to_string(), "failed: killed by SIGKILL");
    let State::Running { pid: next, .. } = supervisor.start(&web()).await.unwrap() else {
        panic!()
    };
    assert!(next != pid && alive(next));
    soon(supervisor.stop(&web())).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_process_leaves_behind_is_gone_before_it_counts_as_failed() {
    let dir = Bed::new();
    let mut orphan = process("");
    let pids = dir.path().join("pids");
    orphan.command[2] = format!(
        "sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 1000; done' & wait",
        pids.display()
    );
    orphan.setting.stop.grace = Duration::from_millis(50);
    let (supervisor, _events) = supervisor(dir.path(), orphan);
    let State::Running { pid, .. } = supervisor.start(&web()).await.unwrap() else {
        panic!()
    };
    let orphan: u32 = line_of(&pids).await.parse().unwrap();
    kill_hard(pid);
    until(&supervisor, |state| matches!(state, State::Failed { .. })).await;
    assert!(!alive(orphan));
}

#[tokio::test]
async fn an_end_that_is_no_failure_is_told_as_stopped() {
    let dir = Bed::new();
    let (supervisor, _events) = supervisor(dir.path(), process("exit 0"));
    supervisor.start(&web()).await.unwrap();
    let stopped = until(&supervisor, |state| {
        matches!(state, State::Stopped { since: Some(_), .. })
    })
    .await;
    assert_eq!(stopped.to_string(), "stopped: exit code 0");
}

#[tokio::test]
async fn a_process_that_cannot_be_started_has_failed_and_says_why() {
    let dir = Bed::new();
    let mut impossible = process("");
    impossible.command = vec!["/no/such/program".into()];
    let (supervisor, _events) = supervisor(dir.path(), impossible);
    let state = supervisor.start(&web()).await.unwrap();
    assert!(
        matches!(&state, State::Failed { why, .. } if why.contains("/no/such/program")),
        "{state}"
    );
    let nobody: LocalName = "nobody".parse().unwrap();
    assert!(matches!(
        supervisor.start(&nobody).await,
        Err(StartError::NoSuch(_))
    ));
}

#[tokio::test]
async fn it_is_ready_when_it_accepts_connections_and_not_before() {
    let dir = Bed::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let mut slow = process("exec sleep 1000");
    slow.ready = Ready::Tcp {
        address,
        listener: Listener::Any,
    };
    let (supervisor, _events) = supervisor(dir.path(), slow);
    assert!(matches!(
        supervisor.start(&web()).await.unwrap(),
        State::Starting { .. }
    ));
    let _listener = tokio::net::TcpListener::bind(address).await.unwrap();
    until(&supervisor, |state| matches!(state, State::Running { .. })).await;
    soon(supervisor.stop(&web())).await.unwrap();
}

#[tokio::test]
async fn a_process_that_dies_before_it_is_ready_has_failed() {
    let dir = Bed::new();
    let mut brief = process("exit 3");
    brief.ready = Ready::After(Duration::from_secs(1000));
    let (supervisor, _events) = supervisor(dir.path(), brief);
    supervisor.start(&web()).await.unwrap();
    let failed = until(&supervisor, |state| matches!(state, State::Failed { .. })).await;
    assert_eq!(failed.to_string(), "failed: exit code 3");
}

#[tokio::test]
async fn a_stop_that_takes_too_long_can_be_hastened() {
    let dir = Bed::new();
    let ready = dir.path().join("ready");
    let mut stubborn = process(&format!(
        "trap '' TERM; echo x > {}; while :; do sleep 1000; done",
        ready.display()
    ));
    stubborn.setting.stop.grace = Duration::from_secs(100_000);
    let (supervisor, _events) = supervisor(dir.path(), stubborn);
    supervisor.start(&web()).await.unwrap();
    line_of(&ready).await;
    let patient = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.stop(&web()).await }
    });
    until(&supervisor, |state| *state == State::Stopping).await;
    soon(supervisor.kill(&web(), Duration::ZERO)).await.unwrap();
    assert!(
        soon(patient)
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .group
            .is_empty()
    );
}

#[tokio::test]
async fn the_next_agent_goes_on_with_what_runs_and_learns_what_failed() {
    let dir = Bed::new();
    let (first, events) = supervisor(dir.path(), process("exec sleep 1000"));
    let State::Running {
        pid,
        since,
        started,
        note,
    } = first.start(&web()).await.unwrap()
    else {
        panic!()
    };
    // The agent goes without a word; its followers hold the runs, not the directory.
    drop((first, events));
    let runs = open(dir.path(), "boot");
    let (second, _events) = Supervisor::new(
        runs.clone(),
        BTreeMap::from([(web(), process(""))]),
        dir.path().join("logs"),
    );
    assert!(second.adopt(runs.adopt_all().await.unwrap()).is_empty());
    assert_eq!(
        second.state(&web()),
        Some(State::Running {
            pid,
            since,
            started,
            note,
        })
    );
    kill_hard(pid);
    until(&second, |state| matches!(state, State::Failed { .. })).await;
    drop((second, runs));
    let runs = open(dir.path(), "boot");
    let (third, _events) = Supervisor::new(
        runs.clone(),
        BTreeMap::from([(web(), process(""))]),
        dir.path().join("logs"),
    );
    third.adopt(runs.adopt_all().await.unwrap());
    assert_eq!(
        third.state(&web()).unwrap().to_string(),
        "failed: killed by SIGKILL"
    );
}

#[tokio::test]
async fn if_the_shim_is_killed_the_process_is_seen_until_it_is_gone_and_can_be_stopped() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let processes = BTreeMap::from([(web(), process("exec sleep 1000"))]);
    let (supervisor, _events) = Supervisor::new(runs.clone(), processes, dir.path().join("logs"));
    let orphaned = async || {
        let State::Running { pid, .. } = supervisor.start(&web()).await.unwrap() else {
            panic!()
        };
        let run = runs.get(&"service.web".parse().unwrap()).unwrap();
        kill_hard(run.shim_pid().unwrap());
        until(&supervisor, |state| matches!(state, State::Orphaned { .. })).await;
        // It lives: nothing is started beside it.
        let state = supervisor.start(&web()).await.unwrap();
        assert!(matches!(state, State::Orphaned { pid: same, .. } if same == pid));
        pid
    };
    let pid = orphaned().await;
    kill_hard(pid);
    until(&supervisor, |state| *state == State::Unproven).await;
    assert!(supervisor.take_word(&web()).await.unwrap());

    let pid = orphaned().await;
    assert!(
        !supervisor.take_word(&web()).await.unwrap(),
        "nobody's word stands against what is seen"
    );
    let stopped = soon(supervisor.stop(&web())).await;
    assert!(matches!(stopped, Err(StopError::Unproven(_))) && !alive(pid));
    assert!(supervisor.take_word(&web()).await.unwrap());

    let pid = orphaned().await;
    drop(supervisor);
    drop(runs);
    // The next agent sees the same.
    let runs = open(dir.path(), "boot");
    let processes = BTreeMap::from([(web(), process("exec sleep 1000"))]);
    let (next, _events) = Supervisor::new(runs.clone(), processes, dir.path().join("logs"));
    next.adopt(runs.adopt_all().await.unwrap());
    assert!(matches!(next.state(&web()), Some(State::Orphaned { .. })));
    kill_hard(pid);
    until(&next, |state| *state == State::Unproven).await;
}

/// A command that leaves a worker, with neither its session nor its environment, and goes on.
fn with_a_worker(dir: &Path) -> String {
    let worker = "echo $$ > worker; exec sleep 300";
    format!(
        "cd {}; (env -i setsid /bin/sh -c '{worker}' &); exec sleep 1000",
        dir.display()
    )
}

#[tokio::test]
async fn a_stop_without_a_shim_is_not_proven_while_a_worker_may_live_that_nothing_tells() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let processes = || BTreeMap::from([(web(), process(&with_a_worker(dir.path())))]);
    let (first, _events) = Supervisor::new(runs.clone(), processes(), dir.path().join("logs"));
    first.start(&web()).await.unwrap();
    let worker: u32 = line_of(&dir.path().join("worker")).await.parse().unwrap();
    kill_hard(
        runs.get(&"service.web".parse().unwrap())
            .unwrap()
            .shim_pid()
            .unwrap(),
    );
    until(&first, |state| matches!(state, State::Orphaned { .. })).await;
    let unproven = |stopped| matches!(stopped, Err(StopError::Unproven(_)));
    let lives = unproven(soon(first.stop(&web())).await) && alive(worker);
    let again = unproven(soon(first.stop(&web())).await);
    let beside = first.start(&web()).await;
    drop(first);
    drop(runs);

    // The next agent knows no more.
    let runs = open(dir.path(), "boot");
    let (next, _events) = Supervisor::new(runs.clone(), processes(), dir.path().join("logs"));
    next.adopt(runs.adopt_all().await.unwrap());
    let adopted = next.state(&web());
    kill_hard(worker);
    assert!(lives && again);
    assert!(matches!(beside, Err(StartError::Unproven(_))), "{beside:?}");
    assert_eq!(adopted, Some(State::Unproven));

    assert!(next.take_word(&web()).await.unwrap());
    assert!(matches!(next.state(&web()), Some(State::Stopped { .. })));
    next.start(&web()).await.unwrap();
    soon(next.stop(&web())).await.unwrap();
}

#[tokio::test]
async fn a_control_group_finds_a_worker_that_nothing_else_tells() {
    let Some(cgroup) = Cgroup::create("worker") else {
        let why = "no cgroup v2 tree with cgroup.kill can be written here";
        return skip::skip("runs in control groups", why);
    };
    let dir = Bed::new();
    let runs = open_with(dir.path(), "boot", Some(cgroup.path().to_owned()));
    // Nobody waits for the end of this: the worker is told to end with the others.
    let mut patient = process(&with_a_worker(dir.path()));
    patient.setting.stop.grace = Duration::from_secs(3600);
    let processes = BTreeMap::from([(web(), patient)]);
    let (supervisor, _events) = Supervisor::new(runs.clone(), processes, dir.path().join("logs"));
    supervisor.start(&web()).await.unwrap();
    let worker: u32 = line_of(&dir.path().join("worker")).await.parse().unwrap();
    let run = runs.get(&"service.web".parse().unwrap()).unwrap();
    kill_hard(run.shim_pid().unwrap());
    until(&supervisor, |state| matches!(state, State::Orphaned { .. })).await;
    soon(supervisor.stop(&web())).await.unwrap();
    assert!(!alive(worker));
    soon(supervisor.start(&web())).await.unwrap();
    soon(supervisor.stop(&web())).await.unwrap();
    runs.remove(&runs.get(&"service.web".parse().unwrap()).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_process_that_outlived_the_state_directory_is_not_called_stopped() {
    let dir = Bed::new();
    let (first, _events) = supervisor(dir.path(), process("exec sleep 1000"));
    let State::Running { pid, .. } = first.start(&web()).await.unwrap() else {
        panic!("it does not run")
    };
    drop(first);
    std::fs::rename(dir.path().join("runs"), dir.path().join("lost")).unwrap();

    let runs = open(dir.path(), "boot");
    let (second, _events) = Supervisor::new(
        runs.clone(),
        BTreeMap::from([(web(), process("exec sleep 1000"))]),
        dir.path().join("logs"),
    );
    second.adopt(runs.adopt_all().await.unwrap());
    second.forget(runs.forgotten().await.unwrap());
    let Some(State::Forgotten { shim }) = second.state(&web()) else {
        panic!("{:?}", second.state(&web()));
    };
    assert!(matches!(
        second.start(&web()).await,
        Err(StartError::Forgotten { .. })
    ));
    assert!(second.stop(&web()).await.is_err(), "nothing was stopped");
    assert!(alive(pid));

    // A shim that is killed takes its knowledge along, and not its command.
    kill_hard(shim);
    until(
        &second,
        |state| matches!(state, State::Unknown { pids } if pids.contains(&pid)),
    )
    .await;
    assert!(matches!(
        second.start(&web()).await,
        Err(StartError::Forgotten { .. })
    ));
    kill_hard(pid);
    until(&second, |state| matches!(state, State::Stopped { .. })).await;
    second.start(&web()).await.unwrap();
    second.stop(&web()).await.unwrap();
}

#[tokio::test]
async fn the_shim_of_a_forgotten_run_ends_it_when_it_is_told_to() {
    let dir = Bed::new();
    let (first, _events) = supervisor(dir.path(), process("exec sleep 1000"));
    let State::Running { pid, .. } = first.start(&web()).await.unwrap() else {
        panic!("it does not run")
    };
    drop(first);
    std::fs::rename(dir.path().join("runs"), dir.path().join("lost")).unwrap();
    let runs = open(dir.path(), "boot");
    let (second, _events) = Supervisor::new(
        runs.clone(),
        BTreeMap::from([(web(), process("exec sleep 1000"))]),
        dir.path().join("logs"),
    );
    second.forget(runs.forgotten().await.unwrap());
    let Some(State::Forgotten { shim }) = second.state(&web()) else {
        panic!("{:?}", second.state(&web()));
    };
    let shim = rustix::process::Pid::from_raw(i32::try_from(shim).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::TERM).unwrap();
    until(&second, |state| matches!(state, State::Stopped { .. })).await;
    assert!(!alive(pid));
    second.start(&web()).await.unwrap();
    second.stop(&web()).await.unwrap();
}
