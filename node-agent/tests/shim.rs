//! The shim with real processes: what it proves about the end of a command.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Bed, alive, clean, id, kill_hard, line_of, open, script, soon};
use interlock_agent::shim::{
    Exit, Group, Input, KillError, LaunchError, Leftovers, Outcome, Output, Proof, RemoveError,
    RunSpec, Status, Stop, StopSignal,
};

fn exit_of(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Exited(exit) => exit,
        Outcome::Unknown(why) => panic!("unknown: {why:?}"),
    }
}

#[tokio::test]
async fn the_outcome_is_the_commands_own_exit_status_and_output() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs
        .launch(script("a", "echo out; echo err >&2; exit 7"))
        .await
        .unwrap();
    let ended = soon(run.wait()).await;
    assert_eq!(ended.group, Group::Empty(Proof::Waited));
    assert_eq!(exit_of(ended.outcome).status, Status::Code(7));
    let (stdout, stderr) = run.output().await.unwrap();
    assert_eq!(
        (stdout.text().as_str(), stderr.text().as_str()),
        ("out\n", "err\n")
    );
    runs.remove(&run).await.unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join("runs")).unwrap().count(),
        1,
        "only the lock stays"
    );
}

#[tokio::test]
async fn a_command_that_cannot_be_started_has_provably_done_nothing() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs
        .launch(RunSpec::new(id("a"), vec!["/no/such/program".into()]))
        .await
        .unwrap();
    let ended = soon(run.wait()).await;
    assert_eq!(ended.group, Group::Empty(Proof::NeverStarted));
    let Status::NotStarted(why) = exit_of(ended.outcome).status else {
        panic!("it started")
    };
    assert!(why.contains("/no/such/program"), "{why}");
}

#[tokio::test]
async fn a_program_that_is_no_shim_is_an_error_and_leaves_no_run() {
    let dir = Bed::new();
    let options = interlock_agent::shim::Options {
        program: "/bin/true".into(),
        ..interlock_agent::shim::Options::new(dir.path().join("runs"), common::boot("boot"))
    };
    let runs = interlock_agent::shim::Runs::open(options).unwrap();
    let error = runs.launch(script("a", "true")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Shim(..)), "{error}");
    assert!(runs.adopt_all().await.unwrap().is_empty());
}

#[tokio::test]
async fn two_runs_cannot_have_one_id_and_a_running_one_cannot_be_removed() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs.launch(script("a", "sleep 1000")).await.unwrap();
    assert!(matches!(
        runs.launch(script("a", "true")).await,
        Err(LaunchError::Exists(_))
    ));
    assert!(matches!(
        runs.remove(&run).await,
        Err(RemoveError::NotEmpty(_))
    ));
    clean(&runs, &run).await;
}

#[tokio::test]
async fn nothing_of_the_agents_environment_reaches_the_command() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    // Cargo sets variables in this process, and the harness's own supervisor may have set more.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    let mut spec = RunSpec::new(id("a"), vec!["/usr/bin/env".into()]);
    spec.env.insert("GREETING".into(), "hello".into());
    let run = runs.launch(spec).await.unwrap();
    soon(run.wait()).await;
    let text = run.output().await.unwrap().0.text();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    assert_eq!(names, ["GREETING", "INTERLOCK_RUN", "PATH"]);
}

#[tokio::test]
async fn input_reaches_the_command_and_no_file() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let mut spec = script("a", "wc -c");
    let secret = "s3cr3t-".repeat(9000);
    spec.input = Some(Input::new(secret.clone().into_bytes()).unwrap());
    let run = runs.launch(spec).await.unwrap();
    soon(run.wait()).await;
    assert_eq!(
        run.output().await.unwrap().0.text().trim(),
        secret.len().to_string()
    );
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path().join("runs/a")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cr3t"));
        files += 1;
    }
    assert!(files > 3);
}

#[tokio::test]
async fn a_grandchild_that_daemonised_is_killed_before_the_run_counts_as_ended() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let pids = dir.path().join("pids");
    let body = format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 1000; done",
        pids.display()
    );
    let file = dir.path().join("daemon.sh");
    std::fs::write(&file, body).unwrap();
    // Its own session, its own group, no parent, another environment: only the subreaper still finds it.
    let text = format!(
        "setsid env -i /bin/sh -c '/bin/sh {} & exit 0'; sleep 1000",
        file.display()
    );
    let run = runs.launch(script("a", &text)).await.unwrap();
    let daemon: u32 = line_of(&pids).await.parse().unwrap();
    assert!(alive(daemon));
    let ended = soon(run.kill(Duration::from_millis(50))).await.unwrap();
    assert_eq!(ended.group, Group::Empty(Proof::Waited));
    assert!(!alive(daemon));
    assert!(exit_of(ended.outcome).stopped);
}

#[tokio::test]
async fn what_outlives_an_attempt_is_stopped() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs
        .launch(script("a", "sleep 1000 & echo $!; exit 3"))
        .await
        .unwrap();
    let exit = exit_of(soon(run.wait()).await.outcome);
    assert_eq!((exit.status, exit.stopped), (Status::Code(3), false));
    let left: u32 = run.output().await.unwrap().0.text().trim().parse().unwrap();
    assert!(!alive(left));
}

#[tokio::test]
async fn what_a_start_command_leaves_behind_is_kept_and_still_belongs_to_the_run() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let spec = RunSpec {
        leftovers: Leftovers::Keep,
        ..script("a", "echo started; sleep 1000 & echo $!")
    };
    let run = runs.launch(spec).await.unwrap();
    assert_eq!(soon(run.child_end()).await.unwrap().status, Status::Code(0));
    assert_eq!(run.state(), None, "the daemon runs");
    let text = run.output().await.unwrap().0.text();
    let daemon: u32 = text.lines().last().unwrap().parse().unwrap();
    assert!(text.starts_with("started\n") && alive(daemon));
    let ended = soon(run.kill(Duration::from_secs(20))).await.unwrap();
    assert!(ended.group.is_empty() && !alive(daemon));
    assert_eq!(exit_of(ended.outcome).status, Status::Code(0));
}

#[tokio::test]
async fn who_ignores_the_polite_signal_is_killed_after_the_grace() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let ready = dir.path().join("ready");
    let text = format!(
        "trap '' TERM; echo x > {}; while :; do sleep 1000; done",
        ready.display()
    );
    let run = runs.launch(script("a", &text)).await.unwrap();
    line_of(&ready).await;
    let ended = soon(run.kill(Duration::from_millis(100))).await.unwrap();
    assert_eq!(exit_of(ended.outcome).status, Status::Signal(9));
}

#[tokio::test]
async fn a_second_request_with_less_grace_wins() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let (ready, asked) = (dir.path().join("ready"), dir.path().join("asked"));
    let text = format!(
        "trap 'echo x > {}' TERM; echo x > {}; while :; do sleep 1000 & wait; done",
        asked.display(),
        ready.display()
    );
    let run = runs.launch(script("a", &text)).await.unwrap();
    line_of(&ready).await;
    let patient = tokio::spawn({
        let run = run.clone();
        async move { run.kill(Duration::from_secs(100_000)).await }
    });
    line_of(&asked).await;
    soon(run.kill(Duration::ZERO)).await.unwrap();
    let ended = soon(patient).await.unwrap().unwrap();
    assert_eq!(exit_of(ended.outcome).status, Status::Signal(9));
}

#[tokio::test]
async fn the_stop_signal_is_the_one_that_was_configured() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let ready = dir.path().join("ready");
    let text = format!(
        "trap 'exit 42' INT; echo x > {}; while :; do sleep 1000 & wait; done",
        ready.display()
    );
    let mut spec = script("a", &text);
    spec.stop = Stop {
        signal: StopSignal::Int,
        grace: Duration::from_secs(1000),
    };
    let run = runs.launch(spec).await.unwrap();
    line_of(&ready).await;
    assert_eq!(
        exit_of(soon(run.stop()).await.unwrap().outcome).status,
        Status::Code(42)
    );
}

#[tokio::test]
async fn the_time_limit_holds_without_the_agent_and_is_told() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let spec = RunSpec {
        time_limit: Some(Duration::from_millis(50)),
        ..script("a", "sleep 1000")
    };
    let run = runs.launch(spec).await.unwrap();
    let exit = exit_of(soon(run.wait()).await.outcome);
    assert!(exit.timed_out && !exit.stopped && !exit.is_clean());
    assert_eq!(exit.status, Status::Signal(15));
}

#[tokio::test]
async fn output_is_bounded_on_disk_and_the_cut_is_told() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let spec = RunSpec {
        output: Output::Ends { bytes: 4000 },
        ..script("a", "echo first; seq 200000; echo last")
    };
    let run = runs.launch(spec).await.unwrap();
    let exit = exit_of(soon(run.wait()).await.outcome);
    let (stdout, _) = run.output().await.unwrap();
    assert!(stdout.head.len() + stdout.tail.len() <= 4000);
    assert!(exit.stdout_cut > 1_000_000, "{}", exit.stdout_cut);
    let text = stdout.text();
    assert!(
        text.starts_with("first\n1\n2\n") && text.ends_with("200000\nlast\n"),
        "{text}"
    );
    assert!(text.contains(&format!("{} bytes cut", exit.stdout_cut)));
}

#[tokio::test]
async fn the_death_of_the_command_is_noticed_while_its_children_live_on() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let mut spec = script(
        "a",
        "sh -c 'trap \"\" TERM; echo x; while :; do sleep 1000; done' & wait",
    );
    spec.stop.grace = Duration::from_secs(100_000);
    let run = runs.launch(spec).await.unwrap();
    common::kill_hard(run.pid().unwrap());
    soon(run.child_exited()).await;
    assert_eq!(
        soon(run.child_end()).await.unwrap().status,
        Status::Signal(9)
    );
    let ended = soon(run.kill(Duration::ZERO)).await.unwrap();
    assert_eq!(exit_of(ended.outcome).status, Status::Signal(9));
}

#[tokio::test]
async fn a_shim_whose_directory_is_gone_ends_with_its_command() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs.launch(script("a", "exec sleep 1000")).await.unwrap();
    let shim = run.shim_pid().unwrap();
    std::fs::remove_dir_all(dir.path().join("runs")).unwrap();
    kill_hard(run.pid().unwrap());
    // Well within the patience that a full disk is met with.
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while alive(shim) {
        assert!(std::time::Instant::now() < limit, "it still tries to write");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_run_whose_directory_is_gone_is_not_taken_for_one_that_never_began() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs.launch(script("a", "exec sleep 1000")).await.unwrap();
    let pid = run.pid().unwrap();
    std::fs::remove_dir_all(dir.path().join("runs/a")).unwrap();
    kill_hard(run.shim_pid().unwrap());
    let ended = soon(run.wait()).await;
    assert_eq!(
        ended.group,
        Group::Left { pids: vec![pid] },
        "{:?}",
        ended.outcome
    );
    let stopped = soon(run.stop()).await;
    assert!(
        matches!(stopped, Err(KillError::Unproven(_))),
        "{stopped:?}"
    );
    assert!(!alive(pid));
    runs.remove(&run).await.unwrap();
    runs.launch(script("a", "true")).await.unwrap();
}
