//! The `exec` manager with real commands.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::{Bed, alive, id, kill_hard, line_of, open, soon};
use interlock_agent::config;
use interlock_agent::exec::{Error, Exec, Verb};
use interlock_agent::shim::{Runs, Status, Stop};
use interlock_model::names::LocalName;
use interlock_model::observation::InstanceState;

fn db() -> LocalName {
    "db".parse().unwrap()
}

fn shell(script: &str) -> Option<Vec<String>> {
    Some(vec!["/bin/sh".into(), "-c".into(), script.into()])
}

fn commands(start: &str, stop: &str, check: &str) -> config::Exec {
    config::Exec {
        start: shell(start),
        stop: shell(stop),
        check: shell(check),
        time_limit: Duration::from_secs(60),
        idempotent: false,
        setting: config::Setting {
            env: BTreeMap::new(),
            cwd: "/".into(),
            user: None,
            stop: Stop::default(),
        },
    }
}

fn exec(runs: &Runs, commands: config::Exec) -> Exec {
    Exec::new(runs.clone(), BTreeMap::from([(db(), commands)]))
}

#[tokio::test]
async fn the_exit_status_of_a_check_is_a_state_and_no_answer_is_unknown() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    for (script, expected) in [
        ("exit 0", InstanceState::Running),
        ("exit 8", InstanceState::Running),
        ("exit 3", InstanceState::Stopped),
        ("exit 7", InstanceState::Stopped),
        ("exit 1", InstanceState::Failed),
        ("exit 2", InstanceState::Failed),
        ("exit 9", InstanceState::Failed),
        ("exit 4", InstanceState::Unknown),
        ("exit 127", InstanceState::Unknown),
        ("kill -9 $$", InstanceState::Unknown),
    ] {
        let checked = exec(&runs, commands("", "", script))
            .check(&db())
            .await
            .unwrap();
        assert_eq!(checked.state, expected, "{script}");
    }
    let mut slow = commands("", "", "echo before; sleep 1000");
    slow.time_limit = Duration::from_millis(100);
    let checked = soon(exec(&runs, slow).check(&db())).await.unwrap();
    assert_eq!(
        (checked.state, checked.output.as_str()),
        (InstanceState::Unknown, "before\n")
    );
    let mut absent = commands("", "", "");
    absent.check = Some(vec!["/no/such/check".into()]);
    assert_eq!(
        exec(&runs, absent).check(&db()).await.unwrap().state,
        InstanceState::Unknown
    );
    assert_eq!(
        fs::read_dir(dir.path().join("runs")).unwrap().count(),
        1,
        "a check leaves nothing behind"
    );
}

#[tokio::test]
async fn a_start_that_leaves_a_daemon_is_over_when_its_command_is_and_the_stop_ends_both() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let pids = dir.path().join("pid");
    let start = format!("sleep 1000 & echo $! > {}; echo started", pids.display());
    let exec = exec(
        &runs,
        commands(&start, &format!("kill $(cat {})", pids.display()), ""),
    );
    let started = exec
        .launch(&db(), Verb::Start, id("op-1.start.1"))
        .await
        .unwrap();
    let report = soon(exec.report(&started)).await;
    assert!(
        report.success() && report.output == "started\n",
        "{report:?}"
    );
    let daemon: u32 = line_of(&pids).await.parse().unwrap();
    assert!(alive(daemon), "a start leaves its service running");
    assert_eq!(started.state(), None);
    let stopped = exec
        .launch(&db(), Verb::Stop, id("op-2.stop.1"))
        .await
        .unwrap();
    assert!(soon(exec.report(&stopped)).await.success());
    assert!(
        soon(started.wait()).await.group.is_empty(),
        "nothing of the start is left"
    );
    assert!(!alive(daemon));
}

#[tokio::test]
async fn the_next_agent_gets_the_report_of_an_attempt_and_forgets_checks() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let go = dir.path().join("go");
    let start = format!(
        "until [ -e {} ]; do sleep 0.01; done; echo done; exit 4",
        go.display()
    );
    let before = exec(&runs, commands(&start, "", "sleep 1000"));
    before
        .launch(&db(), Verb::Start, id("op-1.start.1"))
        .await
        .unwrap();
    let check = tokio::spawn({
        let before = before.clone();
        async move { before.check(&db()).await }
    });
    let check_id = id("check.db.0");
    soon(async {
        while runs.get(&check_id).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let check_pid = runs.get(&check_id).unwrap().pid().unwrap();
    // A second set of handles on the same directory stands for the next agent.
    check.abort();
    let adopted = vec![
        runs.get(&check_id).unwrap(),
        runs.get(&id("op-1.start.1")).unwrap(),
    ];
    let others = exec(&runs, commands("", "", "exit 0")).adopt(adopted);
    let [attempt] = &others[..] else {
        panic!("{others:?}")
    };
    fs::write(&go, "").unwrap();
    let report = soon(before.report(attempt)).await;
    assert_eq!(
        report.end.as_ref().map(|end| &end.status),
        Some(&Status::Code(4))
    );
    assert_eq!(report.output, "done\n");
    soon(async {
        while dir.path().join("runs/check.db.0").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!alive(check_pid));
}

#[tokio::test]
async fn an_attempt_at_its_time_limit_says_so() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let mut slow = commands("", "trap '' TERM; while :; do sleep 1000; done", "");
    slow.time_limit = Duration::from_millis(100);
    slow.setting.stop.grace = Duration::from_millis(100);
    let exec = exec(&runs, slow);
    let run = exec.launch(&db(), Verb::Stop, id("a")).await.unwrap();
    let report = soon(exec.report(&run)).await;
    assert!(!report.success());
    assert_eq!(
        report.end.unwrap().to_string(),
        "stopped at its time limit (killed by SIGKILL)"
    );
}

#[tokio::test]
async fn what_is_not_in_the_file_is_refused_with_the_section_to_add() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let mut half = commands("", "", "");
    half.start = None;
    let exec = exec(&runs, half);
    let error = exec.launch(&db(), Verb::Start, id("a")).await.unwrap_err();
    assert!(
        matches!(error, Error::NoSuch { .. }) && error.to_string().contains("[exec.db]"),
        "{error}"
    );
    assert!(!exec.is_idempotent(&db()));
}

#[tokio::test]
async fn a_one_shot_command_runs_as_it_is_written() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let exec = exec(&runs, commands("", "", ""));
    let run = exec
        .one_shot(&["/bin/echo".into(), "a b".into()], id("shutdown"))
        .await
        .unwrap();
    assert_eq!(soon(exec.report(&run)).await.output, "a b\n");
}

#[tokio::test]
async fn what_is_to_be_forgotten_is_forgotten_also_where_a_killed_shim_has_left_something() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let pids = dir.path().join("pid");
    let start = format!("sleep 1000 & echo $! > {}", pids.display());
    let exec = exec(&runs, commands(&start, "", ""));
    let started = id("op-1.start.1");
    let run = exec
        .launch(&db(), Verb::Start, started.clone())
        .await
        .unwrap();
    assert!(soon(exec.report(&run)).await.success());
    kill_hard(run.shim_pid().unwrap());
    assert!(!soon(run.wait()).await.group.is_empty());
    exec.forget(run);
    tokio::task::yield_now().await;
    kill_hard(line_of(&pids).await.parse().unwrap());
    soon(async {
        while runs.get(&started).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_check_that_lost_its_shim_is_no_answer_and_is_ended() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let pids = dir.path().join("pids");
    let check = format!("echo $PPID $$ > {}; exec sleep 1000", pids.display());
    let exec = exec(&runs, commands("", "", &check));
    let killing = async {
        let line = line_of(&pids).await;
        let (shim, command) = line.split_once(' ').unwrap();
        kill_hard(shim.parse().unwrap());
        command.parse::<u32>().unwrap()
    };
    let name = db();
    let (checked, command) = soon(async { tokio::join!(exec.check(&name), killing) }).await;
    assert_eq!(checked.unwrap().state, InstanceState::Unknown);
    soon(async {
        while alive(command) || dir.path().join("runs/check.db.0").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
