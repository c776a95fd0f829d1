//! What becomes of attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use interlock_proto::v1;
use interlock_proto::v1::AttemptState as State;
use interlock_proto::v1::coordinator_message::Message as Order;
use interlock_proto::v1::dispatch::Command;

use crate::lab::{Lab, content};
use crate::scripted::{exec, id, process};

const WEB: &str = "[allow.services]\nweb = { process = \"web\" }\n[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n";

#[tokio::test]
async fn a_process_is_started_seen_running_and_stopped_with_proof_each_time() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let _agent = lab.start().await;
    let mut session = coordinator.session(3).await;
    assert_eq!(
        (session.hello.node.as_str(), session.hello.boot_id.as_str()),
        ("n1", "boot-1")
    );
    assert!(
        session
            .hello
            .facts
            .as_ref()
            .is_some_and(|facts| !facts.hostname.is_empty())
    );
    session.assign(&[process("web")], 0).await;
    session
        .instance("web", |seen| seen.state() == v1::InstanceState::Stopped)
        .await;

    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(
        done.evidence.contains("running since") && done.evidence.contains("pid"),
        "{}",
        done.evidence
    );
    let seen = session
        .instance("web", |seen| seen.state() == v1::InstanceState::Running)
        .await;
    assert_eq!(seen.wanted(), v1::Wanted::Running);

    session
        .dispatch(id("again", 1), Command::Start(process("web")))
        .await;
    let done = session.outcome(&id("again", 1)).await;
    assert!(
        done.evidence.starts_with("already running since"),
        "{}",
        done.evidence
    );

    session
        .dispatch(id("stop", 1), Command::Stop(process("web")))
        .await;
    let done = session.outcome(&id("stop", 1)).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    assert!(
        done.evidence.contains("nothing of it is left"),
        "{}",
        done.evidence
    );
    let seen = session
        .instance("web", |seen| seen.state() == v1::InstanceState::Stopped)
        .await;
    assert_eq!(seen.wanted(), v1::Wanted::Stopped);
}

#[tokio::test]
async fn verify_restarts_what_ran_before_and_leaves_what_was_started_since() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(id("verify", 1), Command::Verify(process("web")))
        .await;
    let first = session.outcome(&id("verify", 1)).await;
    assert!(
        first.state() == State::Done && first.evidence.starts_with("running since"),
        "{first:?}"
    );
    // For another step it came up before.
    session
        .dispatch(id("once-more", 1), Command::Verify(process("web")))
        .await;
    let second = session.outcome(&id("once-more", 1)).await;
    assert!(
        second.state() == State::Done && second.evidence.starts_with("restarted (was running"),
        "{second:?}"
    );
}

/// A slow server would never come up if each attempt began by ending what the one before it has started.
#[tokio::test]
async fn a_verify_that_is_tried_again_leaves_what_its_earlier_attempt_has_started() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let slow = "[allow.services]\nweb = { process = \"web\" }\n[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n\
                ready = { after = \"3s\" }\n";
    lab.configure(&coordinator.endpoint, slow);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch_within(id("verify", 1), Command::Verify(process("web")), 500)
        .await;
    let first = session.outcome(&id("verify", 1)).await;
    assert_eq!(first.state(), State::Unknown, "{first:?}");
    session
        .dispatch(id("verify", 2), Command::Verify(process("web")))
        .await;
    let second = session.outcome(&id("verify", 2)).await;
    assert_eq!(second.state(), State::Done, "{second:?}");
    assert!(!second.evidence.contains("restarted"), "{second:?}");
}

#[tokio::test]
async fn an_older_term_is_refused_even_by_an_agent_that_was_killed_meanwhile() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, WEB);
    let agent = lab.start().await;
    let mut session = coordinator.session(5).await;
    session
        .order(Order::Query(v1::Query {
            term: 5,
            id: Some(id("other", 1)),
        }))
        .await;
    assert_eq!(
        session.outcome(&id("other", 1)).await.state(),
        State::NeverSeen
    );
    agent.kill().await;

    let _agent = lab.start().await;
    let mut session = coordinator.session(4).await;
    assert_eq!(session.hello.highest_term, 5);
    assert_eq!(session.hello.incarnation, "store-1");
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let refused = session.outcome(&id("start", 1)).await;
    assert_eq!(refused.state(), State::Refused);
    assert!(
        refused.evidence.contains("term 4 is over"),
        "{}",
        refused.evidence
    );
    assert!(
        !lab.path("state/runs/service.web").exists(),
        "nothing was started"
    );
}

#[tokio::test]
async fn what_the_allow_list_lacks_is_refused_with_the_line_to_add_and_recorded() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(
        &coordinator.endpoint,
        "[process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n",
    );
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let refused = session.outcome(&id("start", 1)).await;
    assert_eq!(refused.state(), State::Refused);
    assert!(
        refused.evidence.contains("web = { process = \"web\" }"),
        "{}",
        refused.evidence
    );

    let mut client = lab
        .node_service(&agent, "interlock://lab/operator/rita?role=reader")
        .await;
    let listed = client
        .list_attempts(v1::ListAttemptsRequest { limit: 0 })
        .await
        .unwrap()
        .into_inner()
        .entries;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].command, "start web");
    assert_eq!(
        listed[0].report.as_ref().unwrap().evidence,
        refused.evidence
    );
}

/// As after an upgrade from a version that did not look whether two services share something.
#[tokio::test]
async fn services_that_share_a_part_are_refused_alone_and_the_agent_does_the_rest() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let file = "[allow.services]\nweb = { process = \"web\" }\nsite = { process = \"web\" }\napi = { process = \"api\" }\n\
                [process.web]\ncommand = [\"/bin/sleep\", \"1000\"]\n[process.api]\ncommand = [\"/bin/sleep\", \"1000\"]\n";
    lab.configure(&coordinator.endpoint, file);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    for (service, other) in [("web", "site"), ("site", "web")] {
        let mut start = process(service);
        start.parts = process("web").parts;
        session
            .dispatch(id(service, 1), Command::Start(start))
            .await;
        let refused = session.outcome(&id(service, 1)).await;
        assert_eq!(refused.state(), State::Refused, "{refused:?}");
        let why = format!("process web is {other}'s as well");
        assert!(refused.evidence.contains(&why), "{refused:?}");
    }
    session
        .dispatch(id("api", 1), Command::Start(process("api")))
        .await;
    let done = session.outcome(&id("api", 1)).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    let allowed = lab.node(&agent, |_| true).await.allowed;
    let operated = allowed.iter().filter(|it| it.starts_with("start and stop"));
    assert!(
        operated.eq(["start and stop api: process api"]),
        "{allowed:?}"
    );
    assert!(lab.log().contains("is site's already"), "{}", lab.log());
}

#[tokio::test]
async fn a_repeated_attempt_is_answered_from_memory() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let count = lab.path("count");
    lab.configure(&coordinator.endpoint, &counting(&lab));
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    fs::write(lab.path("release"), "").unwrap();
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    let first = session.outcome(&id("start", 1)).await;
    assert_eq!(first.state(), State::Done, "{first:?}");
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    assert_eq!(session.outcome(&id("start", 1)).await, first);
    agent.stop().await;

    let _agent = lab.start().await;
    let mut session = coordinator.session(2).await;
    assert_eq!(session.hello.attempts, std::slice::from_ref(&first));
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    assert_eq!(session.outcome(&id("start", 1)).await, first);
    assert_eq!(fs::read_to_string(count).unwrap(), "x\n");
}

#[tokio::test]
async fn an_agent_killed_in_the_middle_of_a_command_learns_its_outcome_and_does_not_run_it_twice() {
    for ends_while_nobody_looks in [false, true] {
        let lab = Lab::new();
        let mut coordinator = lab.coordinator().await;
        let count = lab.path("count");
        lab.configure(&coordinator.endpoint, &counting(&lab));
        let agent = lab.start().await;
        let session = coordinator.session(1).await;
        session
            .dispatch(id("start", 1), Command::Start(exec("job")))
            .await;
        content(&count, |text| text == "x\n").await;
        agent.kill().await;

        if ends_while_nobody_looks {
            fs::write(lab.path("release"), "").unwrap();
            content(&lab.path("done"), |_| true).await;
        }
        let _agent = lab.start().await;
        let mut session = coordinator.session(2).await;
        assert_eq!(session.hello.attempts.len(), 1);
        session
            .dispatch(id("start", 1), Command::Start(exec("job")))
            .await;
        fs::write(lab.path("release"), "").unwrap();
        let done = session.outcome(&id("start", 1)).await;
        assert_eq!(done.state(), State::Done, "{done:?} {}", lab.log());
        assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");
    }
}

#[tokio::test]
async fn a_cancelled_command_is_killed_and_answered_when_nothing_of_it_is_left() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &counting(&lab));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    content(&lab.path("count"), |text| text == "x\n").await;
    session
        .order(Order::Cancel(v1::Cancel {
            term: 1,
            id: Some(id("start", 1)),
        }))
        .await;
    let cancelled = session.outcome(&id("start", 1)).await;
    assert_eq!(cancelled.state(), State::Failed, "{cancelled:?}");
    assert!(
        cancelled.evidence.contains("nothing of it is left"),
        "{}",
        cancelled.evidence
    );
    assert!(!lab.path("done").exists());
}

#[tokio::test]
async fn a_second_attempt_on_an_instance_is_refused_while_the_first_is_open() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &counting(&lab));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(id("start", 1), Command::Start(exec("job")))
        .await;
    session
        .dispatch(id("stop", 1), Command::Stop(exec("job")))
        .await;
    let refused = session.outcome(&id("stop", 1)).await;
    assert_eq!(refused.state(), State::Refused);
    assert!(
        refused
            .evidence
            .contains("op-7 start #1 is still open on job"),
        "{}",
        refused.evidence
    );
    fs::write(lab.path("release"), "").unwrap();
    assert_eq!(session.outcome(&id("start", 1)).await.state(), State::Done);
}

#[tokio::test]
async fn a_shutdown_is_told_going_down_and_done_when_the_way_down_reaches_the_agent() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let pressed = lab.path("pressed");
    let file = format!(
        "[allow]\nshutdown = true\n[shutdown]\ncommand = [\"/usr/bin/touch\", \"{}\"]\n",
        pressed.display()
    );
    lab.configure(&coordinator.endpoint, &file);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(
            id("off", 1),
            Command::Shutdown(v1::Shutdown { by_command: true }),
        )
        .await;
    session
        .report(&id("off", 1), |state| state == State::GoingDown)
        .await;
    assert!(pressed.exists());
    let off = id("off", 1);
    let (done, ()) = tokio::join!(session.outcome(&off), agent.stop());
    assert_eq!(done.state(), State::Done, "{done:?}");
}

#[tokio::test]
async fn after_a_reboot_a_shutdown_that_was_open_is_done() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(
        &coordinator.endpoint,
        "[allow]\nshutdown = true\n[shutdown]\ncommand = [\"/bin/true\"]\n",
    );
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(
            id("off", 1),
            Command::Shutdown(v1::Shutdown { by_command: true }),
        )
        .await;
    session
        .report(&id("off", 1), |state| state == State::GoingDown)
        .await;
    agent.kill().await;
    fs::write(lab.path("boot_id"), "boot-2\n").unwrap();
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    assert_eq!(session.hello.boot_id, "boot-2");
    session
        .order(Order::Query(v1::Query {
            term: 1,
            id: Some(id("off", 1)),
        }))
        .await;
    let done = session.outcome(&id("off", 1)).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
}

#[tokio::test]
async fn a_fence_agent_is_asked_and_switched_with_its_secret_from_this_node() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let fence = lab.path("fence_test");
    // Off once it was switched off; says so only to who knows the password.
    let script = format!(
        "#!/bin/sh\nwhile read line; do case $line in action=*) action=${{line#action=}};; \
         password=hunter2) known=1;; esac; done\n\
         [ \"$action\" = metadata ] && {{ cat <<XML\n<resource-agent name=\"fence_test\"><parameters><parameter name=\"plug\"/>\
         <parameter name=\"password\"/><parameter name=\"ssh_path\"/><parameter name=\"password_script\"/></parameters>\
         <actions><action name=\"on\"/><action name=\"off\"/><action name=\"list\"/><action \
         name=\"status\"/></actions></resource-agent>\nXML\nexit 0; }}\n\
         [ -n \"$known\" ] || exit 1\n\
         case $action in off) touch {0}/is-off;; list) echo 1,; echo 2,n2;; status) [ -e {0}/is-off ] && exit 2;; esac\nexit 0\n",
        lab.path("").display()
    );
    fs::write(&fence, script).unwrap();
    fs::set_permissions(&fence, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(lab.path("secrets")).unwrap();
    fs::write(lab.path("secrets/pdu"), "hunter2\n").unwrap();
    fs::set_permissions(lab.path("secrets/pdu"), fs::Permissions::from_mode(0o600)).unwrap();
    let here = lab.path("");
    let file = format!(
        "[secrets]\ndir = \"{0}/secrets\"\n[allow]\npower = [\"fence_test\"]\nfence_dir = [\"{0}\"]\n\
         fence_options = [\"ssh_path\"]\n",
        here.display().to_string().trim_end_matches('/')
    );
    lab.configure(&coordinator.endpoint, &file);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let secret = v1::FenceOption {
        value: Some(v1::fence_option::Value::Secret("pdu".into())),
    };
    let call = |action: &str| v1::FenceCall {
        device: "pdu1".into(),
        agent: "fence_test".into(),
        action: action.into(),
        node: "n2".into(),
        plug: "2".into(),
        options: [("password".to_owned(), secret.clone())].into(),
        limit_ms: 20_000,
    };
    session
        .order(Order::AskPower(v1::AskPower {
            ask: 1,
            call: Some(call("status")),
        }))
        .await;
    assert_eq!(power(&mut session, 1).await.power(), v1::Power::On);
    session
        .dispatch(id("fence", 1), Command::Fence(call("off")))
        .await;
    let done = session.outcome(&id("fence", 1)).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    session
        .order(Order::AskPower(v1::AskPower {
            ask: 2,
            call: Some(call("status")),
        }))
        .await;
    assert_eq!(power(&mut session, 2).await.power(), v1::Power::Off);
    // The device's list, which needs the secret too.
    session
        .order(Order::AskPower(v1::AskPower {
            ask: 4,
            call: Some(call("list")),
        }))
        .await;
    let v1::plug_list::List::Plugs(list) = plugs(&mut session, 4).await else {
        panic!("no list")
    };
    let listed: Vec<(&str, &str)> = list
        .plugs
        .iter()
        .map(|plug| (plug.plug.as_str(), plug.alias.as_str()))
        .collect();
    assert_eq!((listed, list.cut), (vec![("1", ""), ("2", "n2")], false));
    // A list is no command.
    session
        .dispatch(id("fence", 2), Command::Fence(call("list")))
        .await;
    let refused = session.outcome(&id("fence", 2)).await;
    assert_eq!(refused.state(), State::Refused, "{refused:?}");
    // An option that runs a program, permitted and not.
    for (ask, option, refused) in [(5, "ssh_path", false), (6, "password_script", true)] {
        let mut call = call("list");
        let plain = v1::fence_option::Value::Plain("/bin/true".into());
        let value = v1::FenceOption { value: Some(plain) };
        call.options.insert(option.into(), value);
        let call = Some(call);
        session
            .order(Order::AskPower(v1::AskPower { ask, call }))
            .await;
        match plugs(&mut session, ask).await {
            v1::plug_list::List::Failed(why) => {
                assert!(refused && why.contains("fence_options"), "{option}: {why}");
            }
            other => assert!(!refused, "{option}: {other:?}"),
        }
    }
    let other = v1::FenceCall {
        agent: "fence_other".into(),
        ..call("status")
    };
    session
        .order(Order::AskPower(v1::AskPower {
            ask: 3,
            call: Some(other),
        }))
        .await;
    let refused = power(&mut session, 3).await;
    assert_eq!(refused.power(), v1::Power::Unknown);
    assert!(
        refused
            .detail
            .contains("power = [\"fence_test\", \"fence_other\"]"),
        "{}",
        refused.detail
    );
    assert!(!lab.log().contains("hunter2"), "no secret is logged");
}

#[tokio::test]
async fn an_agent_with_too_many_questions_says_that_it_is_busy_and_answers_those_that_it_took() {
    const TAKEN: u64 = 32;
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let fence = lab.path("fence_test");
    let here = lab.path("").display().to_string();
    // It answers when it may.
    let script = format!(
        "#!/bin/sh\nwhile read line; do case $line in action=*) action=${{line#action=}};; esac; done\n\
         [ \"$action\" = metadata ] && {{ cat <<XML\n<resource-agent name=\"fence_test\"><parameters><parameter name=\"plug\"/>\
         </parameters><actions><action name=\"list\"/><action name=\"status\"/></actions></resource-agent>\nXML\nexit 0; }}\n\
         until [ -e {here}/may ]; do sleep 0.02; done\nexit 2\n"
    );
    fs::write(&fence, script).unwrap();
    fs::set_permissions(&fence, fs::Permissions::from_mode(0o755)).unwrap();
    let file = format!("[allow]\npower = [\"fence_test\"]\nfence_dir = [\"{here}\"]\n");
    lab.configure(&coordinator.endpoint, &file);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    for ask in 1..=TAKEN + 2 {
        let action = if ask == TAKEN + 2 { "list" } else { "status" };
        let call = v1::FenceCall {
            device: "pdu1".into(),
            agent: "fence_test".into(),
            action: action.into(),
            node: "n2".into(),
            plug: "2".into(),
            options: BTreeMap::new(),
            limit_ms: 60_000,
        };
        let call = Some(call);
        session
            .order(Order::AskPower(v1::AskPower { ask, call }))
            .await;
    }
    for ask in [TAKEN + 1, TAKEN + 2] {
        let busy = power(&mut session, ask).await;
        assert!(busy.busy && busy.power() == v1::Power::Unknown, "{busy:?}");
    }
    fs::write(lab.path("may"), "").unwrap();
    let mut open: BTreeSet<u64> = (1..=TAKEN).collect();
    while !open.is_empty() {
        if let v1::agent_message::Message::Power(answer) = session.next().await {
            assert!(open.remove(&answer.ask), "{answer:?}");
            assert!(
                answer.power() == v1::Power::Off && !answer.busy,
                "{answer:?}"
            );
        }
    }
}

async fn power(session: &mut crate::scripted::Session, ask: u64) -> v1::PowerAnswer {
    loop {
        if let v1::agent_message::Message::Power(answer) = session.next().await
            && answer.ask == ask
        {
            return answer;
        }
    }
}

async fn plugs(session: &mut crate::scripted::Session, ask: u64) -> v1::plug_list::List {
    loop {
        if let v1::agent_message::Message::Plugs(answer) = session.next().await
            && answer.ask == ask
        {
            return answer.list.expect("an answer says something");
        }
    }
}

/// An exec service whose start counts itself, waits for a file to be released, and is then running.
pub(crate) fn counting(lab: &Lab) -> String {
    let here = lab.path("");
    let here = here.display().to_string();
    let here = here.trim_end_matches('/');
    format!(
        "[allow.services]\njob = {{ exec = \"job\" }}\n[exec.job]\nstart = [\"/bin/sh\", \"-c\", \"echo x >> {here}/count; \
         while [ ! -e {here}/release ]; do sleep 0.05; done; touch {here}/done\"]\nstop = [\"/bin/rm\", \
         \"{here}/done\"]\ncheck = [\"/bin/sh\", \"-c\", \"[ -e {here}/done ] || exit 3\"]\n"
    )
}
