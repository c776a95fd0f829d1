//! What only a person at a terminal gets: to be asked, and a picture that is drawn over.
//!
//! Seen to fail with: any word, or none, taken for the cluster's name; an empty answer taken for a yes; Ctrl-C listened to
//! before the question instead of behind it; plain lines on a terminal; a tree that is drawn below the last one, and one that
//! Ctrl-C leaves there; a status that is drawn below the last one.

use std::os::unix::process::ExitStatusExt as _;

use interlock_model::plan::PlanKind;
use interlock_planner::Scope;
use interlock_proto::v1;
use tokio::sync::watch;

use crate::following::{response_for, script, web, word};
use crate::scripted::{Script, Scripted};
use crate::terminal::{CTRL_C, CTRL_D, Terminal};

/// A coordinator with a plan that takes every machine down.
fn everything() -> Scripted {
    let mut all = script(vec![vec![word("done", "done", "is stopped")]]);
    all.plan = response_for(PlanKind::Shutdown, Scope::All, "db1");
    Scripted::start(all, "operator")
}

const WHICH_CLUSTER: &str = "of shop down. Type the cluster's name to go on:";

#[test]
fn machines_go_down_when_the_clusters_name_is_typed() {
    let coordinator = everything();
    let mut terminal = Terminal::run(&coordinator.place, "shutdown --all");
    let seen = terminal.shows(WHICH_CLUSTER);
    assert!(seen.contains("power"), "shown before asked:\n{seen}");
    assert!(coordinator.script.started.lock().unwrap().is_empty());
    terminal.types("shop\r");
    let (status, seen) = terminal.ends();
    assert_eq!(status.code(), Some(0), "{seen}");
    let started = coordinator.script.started.lock().unwrap();
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].confirm_cluster, "shop");
}

#[test]
fn nothing_goes_down_on_any_other_answer() {
    for answer in ["shed\r", "yes\r", "y\r", "\r", "sho\r", CTRL_D] {
        let coordinator = everything();
        let mut terminal = Terminal::run(&coordinator.place, "shutdown --all");
        terminal.shows(WHICH_CLUSTER);
        terminal.types(answer);
        let (status, seen) = terminal.ends();
        assert_eq!(status.code(), Some(2), "{answer:?}: {seen}");
        assert!(
            seen.contains("not confirmed: nothing was done"),
            "{answer:?}: {seen}"
        );
        assert!(
            coordinator.script.started.lock().unwrap().is_empty(),
            "{answer:?}"
        );
    }
}

#[test]
fn ctrl_c_at_the_question_ends_at_once_and_starts_nothing() {
    let coordinator = everything();
    let mut terminal = Terminal::run(&coordinator.place, "shutdown --all");
    terminal.shows(WHICH_CLUSTER);
    terminal.types(CTRL_C);
    let (status, seen) = terminal.ends();
    let interrupt = rustix::process::Signal::INT.as_raw();
    assert_eq!(status.signal(), Some(interrupt), "{status:?}: {seen}");
    assert!(coordinator.script.started.lock().unwrap().is_empty());
}

#[test]
fn where_a_yes_is_enough_only_a_yes_is_one() {
    for (answer, code) in [
        ("y\r", 0),
        ("yes\r", 0),
        ("\r", 2),
        ("n\r", 2),
        ("web\r", 2),
    ] {
        let coordinator = Scripted::start(script(vec![vec![word("done", "done", "")]]), "operator");
        let mut terminal = Terminal::run(&coordinator.place, "shutdown --service web");
        terminal.shows("on shop? [y/N]");
        terminal.types(answer);
        let (status, seen) = terminal.ends();
        assert_eq!(status.code(), Some(code), "{answer:?}: {seen}");
        let started = coordinator.script.started.lock().unwrap().len();
        assert_eq!(started == 1, code == 0, "{answer:?}");
    }
}

/// A running `op-7` that is first as it began, then half done; its coordinator says no more after that.
fn half_done() -> Scripted {
    let mut half = word("running", "running", "");
    half.steps[0].state = "done".into();
    half.steps[0].ended_ms = 1_700_000_001_500;
    half.steps[1].waits_for = "stop sent to web2".into();
    half.summary.as_mut().unwrap().steps_done = 1;
    half.summary.as_mut().unwrap().ended_ms = 0;
    let begun = word("running", "running", "");
    let mut endless = script(vec![vec![begun, half]]);
    endless.patient = true;
    Scripted::start(endless, "operator")
}

#[test]
fn a_terminal_gets_the_tree_and_ctrl_c_takes_it_away_and_says_how_to_come_back() {
    let coordinator = half_done();
    let mut terminal = Terminal::run(&coordinator.place, "shutdown --service web --yes");
    let seen = terminal.shows("1/2 steps");
    let heads = |seen: &str| seen.matches("op-7 running").count();
    assert_eq!(heads(&seen), 1, "one picture, drawn over:\n{seen}");
    let seen = terminal.shows("waits for stop sent to web2");
    assert!(
        !seen.contains("2023-11-14"),
        "no line for a change, as a pipe gets them:\n{seen}"
    );
    terminal.types(CTRL_C);
    let (status, seen) = terminal.ends();
    assert_eq!(status.code(), Some(130), "{seen}");
    assert!(
        seen.contains(
            "detached: op-7 goes on. Come back with:\n  interlockctl operation watch op-7"
        ),
        "{seen}"
    );
    assert_eq!(heads(&seen), 0, "the picture would stay as it was:\n{seen}");
}

#[test]
fn a_pipe_gets_a_line_for_each_change_and_nothing_that_is_drawn() {
    let words = vec![
        word("running", "running", ""),
        word("done", "done", "is stopped"),
    ];
    let coordinator = Scripted::start(script(vec![words]), "operator");
    // What the environment says of a terminal makes none.
    let ran = coordinator
        .place
        .command("shutdown --service web --yes")
        .env("TERM", "xterm")
        .output();
    let said = String::from_utf8(ran.unwrap().stdout).unwrap();
    assert!(!said.contains('\u{1b}'), "{said:?}");
    for line in ["stop:web@web1", "stop:web@web2"] {
        let told = |state: &str| {
            let mut lines = said.lines();
            lines.any(|it| it.contains(line) && it.split_whitespace().any(|word| word == state))
        };
        assert!(told("running") && told("done"), "{line} in:\n{said}");
    }
}

/// A coordinator whose status a test changes, and the way to change it.
fn changing() -> (Scripted, watch::Sender<v1::Status>, v1::Status) {
    let mut status = v1::Status {
        cluster: "shop".into(),
        generation: 3,
        at_ms: 1_700_000_000_000,
        services: vec![v1::ServiceStatus {
            service: "web".into(),
            state: "ok".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let sender = watch::Sender::new(status.clone());
    let known = Script {
        changing: Some(sender.clone()),
        ..Script::default()
    };
    status.services[0].state = "down".into();
    status.services[0].reason = "web1 has failed".into();
    (Scripted::start(known, "reader"), sender, status)
}

#[test]
fn a_watched_status_is_drawn_over_when_it_changes() {
    let (coordinator, sender, changed) = changing();
    let mut terminal = Terminal::run(&coordinator.place, "status --watch");
    terminal.shows("everything is as it shall be");
    sender.send_replace(changed);
    let seen = terminal.shows("web1 has failed");
    let pictures = seen.matches("shop generation 3").count();
    assert_eq!(pictures, 1, "drawn over:\n{seen}");
    assert!(!seen.contains("as it shall be"), "{seen}");
    terminal.types(CTRL_C);
    let (status, seen) = terminal.ends();
    assert_eq!(status.code(), Some(0), "{status:?}: {seen}");
    assert!(seen.contains("web1 has failed"), "it stays:\n{seen}");
}

#[test]
fn a_watched_status_that_is_piped_is_told_again_when_it_changes() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    let (coordinator, sender, changed) = changing();
    let mut child = Command::new(env!("CARGO_BIN_EXE_interlockctl"))
        .args(["status", "--watch", "-o", "json"])
        .env_clear()
        .env("INTERLOCK_CONFIG", coordinator.place.path("config.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(next()["well"], true);
    sender.send_replace(changed);
    let told = next();
    assert_eq!(told["services"][0]["state"], "down", "{told}");
    assert_eq!(told["services"][0]["reason"], "web1 has failed");
    assert_eq!(told["well"], false);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The steps of an operation in single steps begin one by one, each with Enter.
#[test]
fn enter_lets_the_next_step_begin() {
    let mut single = word("running", "waiting", "");
    single.single_step = true;
    single.possible = ["next", "resume"].map(String::from).to_vec();
    single.steps[0].state = "gated".into();
    single.steps[0].awaits_next = true;
    let step = single.steps[0].step.clone();
    let mut waiting = script(vec![vec![single.clone()]]);
    waiting.operations = [("op-7".to_owned(), single)].into();
    waiting.patient = true;
    waiting.plan = response_for(PlanKind::Shutdown, web(), "db1");
    let coordinator = Scripted::start(waiting, "operator");
    let mut terminal = Terminal::run(&coordinator.place, "operation watch op-7");
    terminal.shows("Enter lets the next step begin");
    let asked = || coordinator.script.controlled.lock().unwrap().len();
    assert_eq!(asked(), 0);
    terminal.types("\r");
    terminal.until("the next step is asked for", || asked() > 0);
    terminal.types(CTRL_C);
    let (status, seen) = terminal.ends();
    assert_eq!(status.code(), Some(130));
    assert!(
        seen.contains("waits for `interlockctl operation next op-7`"),
        "{seen}"
    );
    let controlled = coordinator.script.controlled.lock().unwrap();
    let verbs: Vec<&str> = controlled.iter().map(|it| it.verb.as_str()).collect();
    assert_eq!(verbs, ["next"]);
    assert_eq!(controlled[0].step, step, "the one that was shown");
}

/// An Enter that is pressed while nothing waits for it lets nothing begin, then or later.
#[test]
fn enter_lets_nothing_begin_that_was_not_shown() {
    let mut single = word("running", "running", "");
    single.single_step = true;
    single.possible = ["next", "resume"].map(String::from).to_vec();
    let mut waiting = script(vec![vec![single.clone()]]);
    waiting.operations = [("op-7".to_owned(), single)].into();
    waiting.patient = true;
    waiting.plan = response_for(PlanKind::Shutdown, web(), "db1");
    let coordinator = Scripted::start(waiting, "operator");
    let mut terminal = Terminal::run(&coordinator.place, "operation watch op-7");
    terminal.shows("op-7");
    terminal.types("\r\r\r");
    terminal.types(CTRL_C);
    let (_, seen) = terminal.ends();
    assert!(!seen.contains("Enter lets"), "{seen}");
    let controlled = coordinator.script.controlled.lock().unwrap();
    assert!(controlled.is_empty(), "{controlled:?}");
}
