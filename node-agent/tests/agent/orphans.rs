//! Commands of exec services whose shim was killed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::AttemptState as State;
use interlock_proto::v1::dispatch::Command;
use rustix::process::Signal;

use crate::attempts::counting;
use crate::lab::{Lab, content, lives, signal};
use crate::scripted::{Session, exec, id, patiently, process};

#[tokio::test]
async fn a_command_is_not_begun_while_one_of_an_earlier_attempt_may_still_run() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let (count, shim) = (lab.path("count"), lab.path("shim"));
    let file = counting(&lab).replace(
        "\"echo x",
        &format!("\"echo $PPID > {}; echo x", shim.display()),
    );
    lab.configure(&coordinator.endpoint, &file);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    content(&count, |text| text == "x\n").await;
    is_on_record(&lab).await;
    let pid = fs::read_to_string(&shim).unwrap();
    signal(pid.trim().parse().unwrap(), Signal::KILL);
    let unseen = session.outcome(&id("start", 1)).await;
    assert_eq!(unseen.state(), State::Unknown, "{unseen:?}");

    // A person tries again.
    session
        .dispatch(id("start", 2), Command::Start(exec("job")))
        .await;
    let refused = session.outcome(&id("start", 2)).await;
    assert_eq!(refused.state(), State::Failed, "{refused:?}");
    let told = &refused.evidence;
    assert!(
        told.contains("may still run") && told.contains("pid "),
        "{told}"
    );
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");

    fs::write(lab.path("release"), "").unwrap();
    content(&lab.path("done"), |_| true).await;
    let mut attempt = 3;
    loop {
        session
            .dispatch(id("start", attempt), Command::Start(exec("job")))
            .await;
        let tried = session.outcome(&id("start", attempt)).await;
        if tried.state() == State::Done {
            break;
        }
        assert!(tried.evidence.contains("may still run"), "{tried:?}");
        attempt += 1;
    }
    // By then it runs, and is not started once more.
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");
}

#[tokio::test]
async fn what_a_start_left_after_its_shim_was_killed_can_be_stopped() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &leaving(&lab, "60s"));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    orphan(&lab, &mut session).await;
    fs::write(lab.path("release"), "").unwrap();
    let daemon = pid_in(&lab.path("daemon")).await;
    gone(pid_in(&lab.path("start")).await).await;

    session
        .dispatch(id("stop", 1), Command::Stop(exec("job")))
        .await;
    let stopped = session.outcome(&id("stop", 1)).await;
    assert_eq!(stopped.state(), State::Done, "{stopped:?} {}", lab.log());
    assert!(!lives(daemon));
    session
        .dispatch(id("start", 2), Command::Start(exec("job")))
        .await;
    let started = session.outcome(&id("start", 2)).await;
    assert_eq!(started.state(), State::Done, "{started:?}");
}

#[tokio::test]
async fn a_stop_is_not_proven_while_a_start_may_still_leave_something() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &leaving(&lab, "60s"));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[exec("job")], 0).await;
    session
        .instance("job", |seen| seen.state() == v1::InstanceState::Stopped)
        .await;
    orphan(&lab, &mut session).await;
    let seen = session
        .instance("job", |seen| seen.state() == v1::InstanceState::Unknown)
        .await;
    assert!(seen.reason.contains("without its shim"), "{seen:?}");

    session
        .dispatch(id("stop", 1), Command::Stop(exec("job")))
        .await;
    session
        .report(&id("stop", 1), |state| state == State::Accepted)
        .await;
    assert!(!lab.path("stopped").exists(), "{}", lab.log());
    fs::write(lab.path("release"), "").unwrap();
    let stopped = session.outcome(&id("stop", 1)).await;
    assert_eq!(stopped.state(), State::Done, "{stopped:?}");
    assert!(!lives(pid_in(&lab.path("daemon")).await), "{stopped:?}");
}

#[tokio::test]
async fn a_stop_ends_a_start_without_a_shim_that_passes_its_time_limit() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &leaving(&lab, "2s"));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    orphan(&lab, &mut session).await;
    let start = pid_in(&lab.path("start")).await;
    session
        .dispatch(id("stop", 1), Command::Stop(exec("job")))
        .await;
    let stopped = session.outcome(&id("stop", 1)).await;
    assert_eq!(stopped.state(), State::Done, "{stopped:?}");
    assert!(!lives(start) && !lab.path("daemon").exists());
}

#[tokio::test]
async fn a_stop_that_has_no_time_to_wait_for_a_start_is_refused_with_what_to_do() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &leaving(&lab, "60s"));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    orphan(&lab, &mut session).await;
    session
        .dispatch_within(id("stop", 1), Command::Stop(exec("job")), 2_000)
        .await;
    let refused = session.outcome(&id("stop", 1)).await;
    let told = &refused.evidence;
    assert_eq!(refused.state(), State::Failed, "{refused:?}");
    let start = pid_in(&lab.path("start")).await;
    assert!(
        told.contains("was not begun") && told.contains(&format!("pid {start}")),
        "{told}"
    );
    assert!(lives(start) && !lab.path("stopped").exists());
}

#[tokio::test]
async fn a_process_that_lost_its_shim_is_not_started_again_until_a_person_has_looked() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    let worker = "env -i setsid /bin/sh -c 'echo $$ > worker; exec sleep 300'";
    let file = format!(
        "[allow.services]\nweb = {{ process = \"web\" }}\n[process.web]\ncommand = [\"/bin/sh\", \"-c\", \
         \"cd {here}; ({worker} &); echo $PPID > shim; exec sleep 1000\"]\n"
    );
    lab.configure(&coordinator.endpoint, &file);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .assign_with(&[process("web")], 3, Vec::new(), true)
        .await;
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let started = session.outcome(&id("start", 1)).await;
    assert_eq!(started.state(), State::Done, "{started:?}");
    let worker = pid_in(&lab.path("worker")).await;
    let mut client = lab
        .node_service(&agent, "interlock://lab/operator/anna?role=operator")
        .await;
    let word = v1::ControlInstanceRequest {
        service: "web".into(),
        verb: "stop".into(),
        reason: "the worker was left, and is ended".into(),
        override_operations: Vec::new(),
    };
    let shut = client.control_instance(word.clone()).await.unwrap_err();
    assert!(shut.message().contains("exclusive"), "{shut}");
    signal(pid_in(&lab.path("shim")).await, Signal::KILL);
    let orphaned = session
        .instance("web", |seen| seen.reason.contains("without its shim"))
        .await;
    assert!(orphaned.orphaned && !started.evidence.contains("shim"));

    // Also a guard that may restart it does not, and the agent's own start is refused.
    session
        .dispatch(id("stop", 1), Command::Stop(process("web")))
        .await;
    let stopped = session.outcome(&id("stop", 1)).await;
    let unseen = session
        .instance("web", |seen| seen.state() == v1::InstanceState::Unknown)
        .await;
    session
        .dispatch(id("start", 2), Command::Start(process("web")))
        .await;
    let refused = session.outcome(&id("start", 2)).await;
    let lived = lives(worker);
    signal(worker, Signal::KILL);
    assert!(lived, "the one that nothing tells is there");
    assert_eq!(stopped.state(), State::Unknown, "{stopped:?}");
    assert_eq!(refused.state(), State::Failed, "{refused:?}");
    for told in [&stopped.evidence, &unseen.reason, &refused.evidence] {
        assert!(told.contains("interlockctl node stop"), "{told}");
    }

    let taken = client.control_instance(word).await.unwrap().into_inner();
    assert!(
        taken.evidence.contains("a person has said"),
        "{}",
        taken.evidence
    );
    fs::remove_file(lab.path("worker")).unwrap();
    session
        .dispatch(id("start", 3), Command::Start(process("web")))
        .await;
    let started = session.outcome(&id("start", 3)).await;
    assert_eq!(started.state(), State::Done, "{started:?}");
    signal(pid_in(&lab.path("worker")).await, Signal::KILL);
}

/// Starts it, and kills the shim while the start runs.
async fn orphan(lab: &Lab, session: &mut Session) {
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    let shim = pid_in(&lab.path("shim")).await;
    is_on_record(lab).await;
    signal(shim, Signal::KILL);
    let unseen = session.outcome(&id("start", 1)).await;
    assert_eq!(unseen.state(), State::Unknown, "{unseen:?}");
}

/// An exec service whose start waits for a file to be released, and leaves a daemon then.
fn leaving(lab: &Lab, limit: &str) -> String {
    let here = lab.here();
    let alive = format!("[ -e {here}/daemon ] && kill -0 $(cat {here}/daemon)");
    format!(
        "[allow.services]\njob = {{ exec = \"job\" }}\n[exec.job]\ntime_limit = \"{limit}\"\nstart = [\"/bin/sh\", \"-c\", \
         \"echo $$ > {here}/start; echo $PPID > {here}/shim; while [ ! -e {here}/release ]; do sleep 0.05; done; \
         sleep 1000 >/dev/null 2>&1 & echo $! > {here}/daemon\"]\n\
         stop = [\"/bin/sh\", \"-c\", \"touch {here}/stopped; {alive} && kill $(cat {here}/daemon); true\"]\n\
         check = [\"/bin/sh\", \"-c\", \"{alive} || exit 3\"]\n"
    )
}

pub(crate) async fn pid_in(file: &Path) -> u32 {
    let text = content(file, |text| text.ends_with('\n')).await;
    text.trim().parse().unwrap()
}

async fn gone(pid: u32) {
    patiently(async {
        while lives(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until the shim has written down which process its command is.
async fn is_on_record(lab: &Lab) {
    patiently(async {
        while !lab.any_run_lives() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
