//! The death of the agent, of the shim and of the machine, with real processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../tests/skip.rs"]
mod skip;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use common::{Bed, Cgroup, alive, clean, kill_hard, line_of, open, open_with, script, soon};
use interlock_agent::shim::{
    Ended, Group, Lost, OpenError, Options, Outcome, Proof, Run, Runs, Status,
};

/// Names the directory for the agent that is a process of its own.
const DIR: &str = "INTERLOCK_TEST_DIR";

/// An agent as a process of its own: launches a run that waits for the file `go`, says so, and waits for its death.
#[test]
#[ignore = "other tests start it as a process of its own"]
fn an_agent_that_waits_to_be_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let runs = open(&dir, "boot");
        let text = format!(
            "echo begun; until [ -e {0}/go ]; do sleep 0.01; done; echo done; exit 5",
            dir.display()
        );
        runs.launch(script("a", &text)).await.unwrap();
        fs::write(dir.join("launched"), "yes\n").unwrap();
        std::future::pending::<()>().await;
    });
}

/// Starts that agent, lets it launch its run, and kills it.
async fn an_agent_launches_and_dies(dir: &Path) {
    let mut agent: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_agent_that_waits_to_be_killed", "--ignored"])
        .env(DIR, dir)
        .spawn()
        .unwrap();
    line_of(&dir.join("launched")).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
}

async fn adopt_one(runs: &Runs) -> Run {
    let mut adopted = runs.adopt_all().await.unwrap();
    assert_eq!(adopted.len(), 1);
    adopted.remove(0)
}

fn status(ended: &Ended) -> Option<&Status> {
    ended.outcome.status()
}

#[tokio::test]
async fn a_run_survives_the_death_of_its_agent_and_the_next_one_learns_the_outcome() {
    let dir = Bed::new();
    an_agent_launches_and_dies(dir.path()).await;
    let runs = open(dir.path(), "boot");
    let run = adopt_one(&runs).await;
    assert_eq!(run.state(), None);
    assert!(alive(run.pid().unwrap()));
    fs::write(dir.path().join("go"), "").unwrap();
    let ended = soon(run.wait()).await;
    assert_eq!(status(&ended), Some(&Status::Code(5)));
    assert_eq!(ended.group, Group::Empty(Proof::Waited));
    assert_eq!(
        run.output().await.unwrap().0.text(),
        "begun\ndone\n",
        "no output is lost"
    );
    runs.remove(&run).await.unwrap();
}

#[tokio::test]
async fn a_run_that_ends_while_no_agent_is_there_has_left_its_outcome() {
    let dir = Bed::new();
    an_agent_launches_and_dies(dir.path()).await;
    fs::write(dir.path().join("go"), "").unwrap();
    let exit = dir.path().join("runs/a/exit.json");
    soon(async {
        while !exit.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let run = adopt_one(&open(dir.path(), "boot")).await;
    let ended = soon(run.wait()).await;
    assert_eq!(status(&ended), Some(&Status::Code(5)));
    assert!(ended.group.is_empty());
}

#[tokio::test]
async fn an_adopted_run_can_be_stopped_with_proof() {
    let dir = Bed::new();
    an_agent_launches_and_dies(dir.path()).await;
    let runs = open(dir.path(), "boot");
    let run = adopt_one(&runs).await;
    let pid = run.pid().unwrap();
    let ended = soon(run.kill(Duration::from_secs(1000))).await.unwrap();
    assert_eq!(status(&ended), Some(&Status::Signal(15)));
    assert_eq!(ended.group, Group::Empty(Proof::Waited));
    assert!(!alive(pid));
}

#[tokio::test]
async fn two_agents_cannot_share_a_directory() {
    let dir = Bed::new();
    let first = open(dir.path(), "boot");
    let options = Options::new(dir.path().join("runs"), common::boot("boot"));
    assert!(matches!(
        Runs::open(options.clone()),
        Err(OpenError::InUse(_))
    ));
    drop(first);
    Runs::open(options).unwrap();
}

#[tokio::test]
async fn after_a_reboot_the_outcome_is_unknown_and_nothing_is_left() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs.launch(script("a", "exec sleep 1000")).await.unwrap();
    // A power cut spares nobody.
    kill_hard(run.shim_pid().unwrap());
    kill_hard(run.pid().unwrap());
    soon(run.wait()).await;
    drop(runs);
    let run = adopt_one(&open(dir.path(), "another boot")).await;
    let expected = Ended {
        outcome: Outcome::Unknown(Lost::OtherBoot),
        group: Group::Empty(Proof::OtherBoot),
    };
    assert_eq!(run.state(), Some(expected));
}

#[tokio::test]
async fn if_the_shim_is_killed_the_outcome_is_unknown_and_what_is_left_is_found_and_killed() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let pids = dir.path().join("pids");
    // The second one has left the process group and the session.
    let text = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 1000; done' & wait",
        pids.display()
    );
    let run = runs.launch(script("a", &text)).await.unwrap();
    let second: u32 = line_of(&pids).await.parse().unwrap();
    kill_hard(run.shim_pid().unwrap());
    let ended = soon(run.wait()).await;
    assert_eq!(ended.outcome, Outcome::Unknown(Lost::ShimKilled));
    let Group::Left { pids } = ended.group else {
        panic!("{ended:?}")
    };
    assert!(
        pids.contains(&second) && pids.contains(&run.pid().unwrap()),
        "{pids:?}"
    );
    assert!(
        runs.remove(&run).await.is_err(),
        "what is left must not be forgotten"
    );
    let ended = soon(run.kill(Duration::from_millis(50))).await.unwrap();
    assert_eq!(
        ended.outcome,
        Outcome::Unknown(Lost::ShimKilled),
        "killing makes nothing known"
    );
    assert_eq!(ended.group, Group::Empty(Proof::Searched));
    assert!(!alive(second));
    runs.remove(&run).await.unwrap();
}

#[tokio::test]
async fn if_everything_is_killed_the_next_agent_finds_nothing_left_but_still_no_outcome() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs.launch(script("a", "exec sleep 1000")).await.unwrap();
    kill_hard(run.shim_pid().unwrap());
    kill_hard(run.pid().unwrap());
    soon(run.wait()).await;
    drop(runs);
    let run = adopt_one(&open(dir.path(), "boot")).await;
    let expected = Ended {
        outcome: Outcome::Unknown(Lost::ShimKilled),
        group: Group::Empty(Proof::Searched),
    };
    assert_eq!(run.state(), Some(expected));
}

#[tokio::test]
async fn a_stranger_with_a_recorded_pid_is_neither_taken_for_the_run_nor_touched() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs.launch(script("a", "exec sleep 1000")).await.unwrap();
    kill_hard(run.shim_pid().unwrap());
    kill_hard(run.pid().unwrap());
    soon(run.wait()).await;
    drop(runs);
    let mut stranger = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let record = dir.path().join("runs/a/run.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    json["shim"]["pid"] = stranger.id().into();
    json["child"]["pid"] = stranger.id().into();
    // Start times are counted in hundredths of a second, and a test is faster than pids come round.
    json["child"]["start"] = (json["child"]["start"].as_u64().unwrap() - 1).into();
    fs::write(&record, json.to_string()).unwrap();
    let runs = open(dir.path(), "boot");
    let run = adopt_one(&runs).await;
    assert!(run.state().is_some_and(|ended| ended.group.is_empty()));
    clean(&runs, &run).await;
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn an_agent_that_died_before_the_shim_existed_has_started_nothing() {
    let dir = Bed::new();
    let runs = open(dir.path(), "boot");
    let run = runs.launch(script("b", "true")).await.unwrap();
    soon(run.wait()).await;
    drop(runs);
    // As far as the agent can get: a directory; a directory and a specification.
    fs::create_dir(dir.path().join("runs/a")).unwrap();
    fs::remove_file(dir.path().join("runs/b/run.json")).unwrap();
    fs::remove_file(dir.path().join("runs/b/exit.json")).unwrap();
    let run = adopt_one(&open(dir.path(), "boot")).await;
    assert_eq!(run.id().as_str(), "b");
    let ended = run.state().unwrap();
    assert!(matches!(status(&ended), Some(Status::NotStarted(_))));
    assert_eq!(ended.group, Group::Empty(Proof::NeverStarted));
    assert!(!dir.path().join("runs/a").exists());
}

#[tokio::test]
async fn a_control_group_proves_emptiness_even_if_the_shim_is_killed_and_the_environment_replaced()
{
    let Some(cgroup) = Cgroup::create("killed") else {
        let why = "no cgroup v2 tree with cgroup.kill can be written here";
        return skip::skip("runs in control groups", why);
    };
    let dir = Bed::new();
    let runs = open_with(dir.path(), "boot", Some(cgroup.path().to_owned()));
    let pids = dir.path().join("pids");
    let text = format!(
        "setsid env -i sh -c 'echo $$ > {}; while :; do /bin/sleep 1000; done' & exit 0",
        pids.display()
    );
    let mut spec = script("a", &text);
    spec.leftovers = interlock_agent::shim::Leftovers::Keep;
    let run = runs.launch(spec).await.unwrap();
    let daemon: u32 = line_of(&pids).await.parse().unwrap();
    soon(run.child_end()).await;
    kill_hard(run.shim_pid().unwrap());
    let ended = soon(run.wait()).await;
    assert!(!ended.group.is_empty(), "{ended:?}");
    let ended = soon(run.kill(Duration::ZERO)).await.unwrap();
    assert_eq!(ended.group, Group::Empty(Proof::ControlGroup));
    assert!(!alive(daemon));
    runs.remove(&run).await.unwrap();
    assert!(!cgroup.path().join("a").exists());
}

#[tokio::test]
async fn a_run_in_a_control_group_ends_as_one_without() {
    let Some(cgroup) = Cgroup::create("ended") else {
        let why = "no cgroup v2 tree with cgroup.kill can be written here";
        return skip::skip("runs in control groups", why);
    };
    let dir = Bed::new();
    let runs = open_with(dir.path(), "boot", Some(cgroup.path().to_owned()));
    let run = runs
        .launch(script("a", "grep -q /a$ /proc/self/cgroup && exit 3"))
        .await
        .unwrap();
    let ended = soon(run.wait()).await;
    assert_eq!(
        status(&ended),
        Some(&Status::Code(3)),
        "the command was born in its group"
    );
    clean(&runs, &run).await;
}
