//! An agent that fails on demand.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::{AttemptState, InstanceState};
use rustix::process::Signal;

use super::{does, permit};
use crate::lab::{Lab, content, signal};
use crate::scripted::{id, ocf};

/// An agent that does what the files in its directory say: `fail-ACTION` ends with the code in it, `hang-ACTION` waits
/// until it is gone, `fork-ACTION` leaves a `child`. It runs if `up` is there, and is broken if `broken` is. What it was told is kept in `told-ACTION`.
const THING: &str = r#"#!/bin/sh
here="$OCF_RESKEY_dir"
case "$1" in
meta-data)
    cat <<END
<resource-agent name="Thing" version="1.1"><shortdesc>Fails on demand</shortdesc><parameters>
<parameter name="dir" required="1"><shortdesc>Its directory</shortdesc><content type="string"/></parameter>
<parameter name="port"><content type="integer" default="80"/></parameter>
<parameter name="password"><content type="string"/></parameter>
</parameters><actions><action name="start" timeout="30s"/><action name="stop" timeout="30s"/>
<action name="monitor" timeout="30s" interval="1s"/><action name="validate-all" timeout="30s"/>
<action name="meta-data" timeout="5s"/></actions></resource-agent>
END
    exit 0 ;;
esac
echo "$1" >> "$here/calls"
{ env; echo "shim=$PPID"; echo "cwd=$(pwd)"; echo "stdin=$(readlink /proc/self/fd/0)"; tr '\0' ' ' < /proc/$$/cmdline; } > "$here/told-$1"
[ -e "$here/fork-$1" ] && { sleep 1000 & echo "$!" > "$here/child"; }
while [ -e "$here/hang-$1" ]; do sleep 0.05; done
[ -e "$here/fail-$1" ] && { echo "ocf-exit-reason:told to fail, $OCF_RESKEY_password" >&2; exit "$(cat "$here/fail-$1")"; }
case "$1" in
start) touch "$here/up" ;;
stop) rm -f "$here/up" "$here/broken" ;;
monitor) [ -e "$here/broken" ] && exit 1; [ -e "$here/up" ] || exit 7 ;;
validate-all) ;;
*) exit 3 ;;
esac
"#;

/// The agent that fails on demand, and where it looks.
pub(super) struct Thing {
    pub(super) lab: Lab,
    pub(super) dir: PathBuf,
}

impl Thing {
    pub(super) fn new() -> Self {
        let lab = Lab::new();
        let (agents, dir) = (lab.path("ocf.d/test"), lab.path("thing"));
        for made in [&agents, &dir] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(agents.join("Thing"), THING).unwrap();
        fs::set_permissions(agents.join("Thing"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { lab, dir }
    }

    pub(super) fn permit(&self) -> String {
        let secret = "dir = true, port = true, password = { secret = \"pass\" }";
        permit(&self.lab, "test:Thing", secret)
    }

    pub(super) fn command(&self) -> v1::InstanceCommand {
        ocf(
            "probe",
            "test:Thing",
            &[("dir", &self.dir.display().to_string())],
        )
    }

    /// Tells the agent what to do from now on.
    pub(super) fn set(&self, name: &str, text: &str) {
        // As a whole, for an agent that may look at any moment.
        fs::write(self.dir.join("new"), text).unwrap();
        fs::rename(self.dir.join("new"), self.dir.join(name)).unwrap();
    }

    pub(super) fn clear(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).unwrap();
    }

    /// How often an action was called.
    pub(super) fn calls(&self, action: &str) -> usize {
        let calls = fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        calls.lines().filter(|line| *line == action).count()
    }
}

#[tokio::test]
async fn a_resource_that_dies_or_breaks_is_started_again_within_its_budget_and_what_is_broken_is_stopped_first()
 {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 2).await;
    let done = does(&mut session, "start", Command::Start(thing.command())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert_eq!((thing.calls("validate-all"), thing.calls("start")), (1, 1));

    thing.clear("up");
    let back = |restarts| {
        move |seen: &v1::Instance| {
            seen.state() == InstanceState::Running && seen.restarts == restarts
        }
    };
    session.instance("probe", back(1)).await;
    assert_eq!(
        thing.calls("stop"),
        0,
        "what is not running is only started"
    );

    thing.set("broken", "");
    session.instance("probe", back(2)).await;
    assert_eq!(thing.calls("stop"), 1, "what is broken is stopped first");

    thing.clear("up");
    let given_up = session.instance("probe", |seen| seen.given_up).await;
    assert_eq!(given_up.state(), InstanceState::Failed);
    assert!(
        given_up.reason.contains("not running (7)"),
        "{}",
        given_up.reason
    );
}

#[tokio::test]
async fn a_start_that_fails_is_taken_back_and_tells_the_reason_of_the_agent() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 0).await;
    thing.set("fail-start", "1");
    // Something of it is there all the same, and does not work.
    thing.set("broken", "");
    let failed = does(&mut session, "start", Command::Start(thing.command())).await;
    assert_eq!(failed.state(), AttemptState::Failed, "{failed:?}");
    assert!(
        failed.evidence.contains("failure (1): told to fail"),
        "{}",
        failed.evidence
    );
    assert!(!thing.dir.join("broken").exists(), "nothing of it is left");

    thing.set("fail-validate-all", "6");
    let failed = does(&mut session, "invalid", Command::Start(thing.command())).await;
    assert_eq!(failed.state(), AttemptState::Failed, "{failed:?}");
    assert!(
        failed.evidence.contains("wrongly configured (6)"),
        "{}",
        failed.evidence
    );
    assert_eq!(thing.calls("start"), 1, "what is not valid is not started");
}

#[tokio::test]
async fn a_stop_that_fails_is_unknown_and_counts_as_no_stop_until_one_succeeds() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 0).await;
    does(&mut session, "start", Command::Start(thing.command())).await;

    thing.set("fail-stop", "1");
    let unknown = does(&mut session, "stop", Command::Stop(thing.command())).await;
    assert_eq!(unknown.state(), AttemptState::Unknown, "{unknown:?}");
    assert!(
        unknown.evidence.contains("told to fail"),
        "{}",
        unknown.evidence
    );
    // Its monitor says that it is stopped, after a stop that has failed.
    thing.clear("up");
    let doubtful = |seen: &v1::Instance| seen.reason.contains("does not count");
    let seen = session.instance("probe", doubtful).await;
    assert_eq!(seen.state(), InstanceState::Unknown, "{seen:?}");

    thing.clear("fail-stop");
    let done = does(&mut session, "again", Command::Stop(thing.command())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert_eq!(
        thing.calls("stop"),
        2,
        "it is stopped again, although it seems to be"
    );
    session
        .instance("probe", |seen| seen.state() == InstanceState::Stopped)
        .await;
}

#[tokio::test]
async fn what_has_not_ended_at_its_limit_is_killed_with_all_that_it_started() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut limited = thing.command();
    if let Some(v1::part::Part::Ocf(resource)) = &mut limited.parts[0].part {
        (resource.start_ms, resource.stop_ms) = (300, 300);
    }
    session.assign(std::slice::from_ref(&limited), 0).await;
    thing.set("fork-start", "");
    thing.set("hang-start", "");
    let failed = does(&mut session, "start", Command::Start(limited.clone())).await;
    assert_eq!(
        failed.state(),
        AttemptState::Failed,
        "its monitor says that it is stopped: {failed:?}"
    );
    assert!(
        failed.evidence.contains("time limit"),
        "{}",
        failed.evidence
    );
    let child = fs::read_to_string(thing.dir.join("child")).unwrap();
    let child = Path::new("/proc").join(child.trim());
    assert!(!child.exists() && !thing.lab.any_run_lives());
    let told = fs::read_to_string(thing.dir.join("told-start")).unwrap();
    assert!(told.contains("OCF_RESKEY_CRM_meta_timeout=300\n"), "{told}");

    thing.set("up", "");
    session
        .instance("probe", |seen| seen.state() == InstanceState::Running)
        .await;
    thing.set("hang-stop", "");
    let unknown = does(&mut session, "stop", Command::Stop(limited)).await;
    assert_eq!(unknown.state(), AttemptState::Unknown, "{unknown:?}");
    assert!(!thing.lab.any_run_lives());
}

#[tokio::test]
async fn an_agent_is_told_what_the_standard_says_and_a_secret_is_in_its_environment_alone() {
    const SECRET: &str = "hunter2-and-more";
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    fs::write(thing.lab.path("pass"), SECRET).unwrap();
    fs::set_permissions(thing.lab.path("pass"), fs::Permissions::from_mode(0o600)).unwrap();
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut command = thing.command();
    if let Some(v1::part::Part::Ocf(resource)) = &mut command.parts[0].part {
        let value = Some(v1::ocf_parameter::Value::Secret("pass".into()));
        resource
            .parameters
            .insert("password".into(), v1::OcfParameter { value });
    }
    session.assign(std::slice::from_ref(&command), 0).await;
    thing.set("hang-start", "");
    session
        .dispatch(id("start", 1), Command::Start(command.clone()))
        .await;
    let told = content(&thing.dir.join("told-start"), |text| {
        text.contains("Thing start")
    })
    .await;
    for line in [
        "OCF_ROOT=/usr/lib/ocf",
        "OCF_RA_VERSION_MAJOR=1",
        "OCF_RESOURCE_INSTANCE=probe",
        "OCF_RESOURCE_TYPE=Thing",
        "OCF_RESOURCE_PROVIDER=test",
        "OCF_RESKEY_CRM_meta_timeout=30000",
        "OCF_RESKEY_CRM_meta_interval=0",
        "OCF_RESKEY_CRM_meta_name=start",
        "OCF_RESKEY_CRM_meta_on_node=n1",
        "LC_ALL=C",
        "cwd=/",
        "stdin=/dev/null",
        &format!("OCF_RESKEY_password={SECRET}"),
    ] {
        assert!(told.lines().any(|has| has == line), "{line}: {told}");
    }
    for line in ["NOTIFY_SOCKET=", "INTERLOCK_LOG="] {
        assert!(!told.contains(line), "{told}");
    }
    let arguments = told.lines().last().unwrap();
    assert!(
        arguments.ends_with("Thing start ") && !arguments.contains(SECRET),
        "{arguments}"
    );
    // On the disk it is nowhere but in its own file and in what this agent has written down.
    let found = Program::new("grep")
        .args(["-rl", SECRET])
        .arg(thing.lab.path("state"))
        .output()
        .unwrap();
    assert!(
        found.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&found.stdout)
    );
    thing.clear("hang-start");
    session.outcome(&id("start", 1)).await;
    does(&mut session, "stop", Command::Stop(command.clone())).await;
    thing.set("fail-start", "1");
    let failed = does(&mut session, "again", Command::Start(command)).await;
    assert!(
        failed.evidence.contains("told to fail, [secret]"),
        "{}",
        failed.evidence
    );
    assert!(!thing.lab.log().contains(SECRET));
}

#[tokio::test]
async fn of_a_start_whose_shim_was_killed_nobody_says_that_nothing_is_left() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 0).await;
    thing.set("hang-start", "");
    session
        .dispatch(id("start", 1), Command::Start(thing.command()))
        .await;
    let told = thing.dir.join("told-start");
    let told = content(&told, |text| text.contains("Thing start")).await;
    let shim = told.lines().find_map(|line| line.strip_prefix("shim="));
    signal(shim.unwrap().parse().unwrap(), Signal::KILL);
    let unknown = session.outcome(&id("start", 1)).await;
    assert_eq!(unknown.state(), AttemptState::Unknown, "{unknown:?}");
    assert!(
        unknown.evidence.contains("is no proof"),
        "{}",
        unknown.evidence
    );
}

#[tokio::test]
async fn a_start_that_an_agent_was_killed_in_goes_on_and_is_not_begun_again() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let agent = thing.lab.start().await;
    let session = coordinator.session(1).await;
    session.assign(&[thing.command()], 0).await;
    thing.set("hang-start", "");
    session
        .dispatch(id("start", 1), Command::Start(thing.command()))
        .await;
    content(&thing.dir.join("told-start"), |text| {
        text.contains("Thing start")
    })
    .await;
    agent.kill().await;

    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let starting = |seen: &v1::Instance| seen.state() == InstanceState::Starting;
    let seen = session.instance("probe", starting).await;
    assert!(
        seen.reason.contains("`start` is running"),
        "{}",
        seen.reason
    );
    thing.clear("hang-start");
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(
        (done.state(), thing.calls("start")),
        (AttemptState::Done, 1),
        "{done:?}"
    );
    session
        .instance("probe", |seen| seen.state() == InstanceState::Running)
        .await;
}

#[tokio::test]
async fn what_does_not_fit_its_agent_is_told_at_once_and_refused_with_what_was_meant() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    let file = permit(&thing.lab, "test:Thing", "prot = true, port = [\"http\"]");
    thing.lab.configure(&coordinator.endpoint, &file);
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let installed = loop {
        if let Said::OcfAgents(agents) = session.next().await {
            break agents;
        }
    };
    assert!(
        installed.installed.contains(&"test:Thing".to_owned()),
        "{installed:?}"
    );
    let [known] = installed.types.as_slice() else {
        panic!("only what is permitted is asked what it is: {installed:?}");
    };
    let required: Vec<_> = known
        .parameters
        .iter()
        .filter(|it| it.required)
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(
        (known.about.as_str(), required.as_slice()),
        ("Fails on demand", &["dir"][..])
    );

    let wrong = ocf("probe", "test:Thing", &[("prot", "80"), ("port", "http")]);
    session.assign(std::slice::from_ref(&wrong), 0).await;
    let refused = loop {
        if let Said::Observed(observed) = session.next().await
            && let [refusal] = observed.refuses.as_slice()
        {
            break refusal.why.clone();
        }
    };
    for word in [
        "'prot': did you mean 'port'?",
        "'http' is no value",
        "'dir' must be given",
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    let start = does(&mut session, "start", Command::Start(wrong.clone())).await;
    assert_eq!(start.state(), AttemptState::Refused, "{start:?}");
    // What cannot be started may still be stopped.
    let stop = does(&mut session, "stop", Command::Stop(wrong)).await;
    assert_ne!(stop.state(), AttemptState::Refused, "{stop:?}");

    let other = ocf("probe", "test:Thing", &[("port", "81")]);
    let refused = does(&mut session, "other", Command::Start(other)).await;
    assert_eq!(refused.state(), AttemptState::Refused, "{refused:?}");
    assert!(
        refused.evidence.contains("[allow.services]"),
        "{}",
        refused.evidence
    );
}

#[tokio::test]
async fn what_comes_up_with_its_machine_is_started_once_after_a_boot() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let autostart = |instance: &mut v1::AssignedInstance| instance.autostart = true;
    session
        .assign_all(&[thing.command()], 0, Vec::new(), autostart)
        .await;
    does(&mut session, "start", Command::Start(thing.command())).await;
    agent.kill().await;

    fs::write(thing.lab.path("boot_id"), "boot-2\n").unwrap();
    thing.clear("up");
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let running = |seen: &v1::Instance| seen.state() == InstanceState::Running;
    session.instance("probe", running).await;
    assert_eq!(thing.calls("start"), 2);
}

#[tokio::test]
async fn a_monitor_that_does_not_answer_is_unknown_restarts_nothing_and_makes_way_for_a_stop() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut command = thing.command();
    if let Some(v1::part::Part::Ocf(resource)) = &mut command.parts[0].part {
        resource.monitor_ms = 300;
    }
    session.assign(std::slice::from_ref(&command), 5).await;
    does(&mut session, "start", Command::Start(command.clone())).await;
    let running = |seen: &v1::Instance| seen.state() == InstanceState::Running;
    session.instance("probe", running).await;

    thing.set("hang-monitor", "");
    let silent = |seen: &v1::Instance| seen.state() == InstanceState::Unknown;
    let seen = session.instance("probe", silent).await;
    assert!(seen.reason.contains("time limit"), "{}", seen.reason);
    thing.clear("hang-monitor");
    let seen = session.instance("probe", running).await;
    assert_eq!((seen.restarts, thing.calls("start")), (0, 1), "{seen:?}");

    thing.set("hang-monitor", "");
    session.instance("probe", silent).await;
    let mut unlimited = thing.command();
    if let Some(v1::part::Part::Ocf(resource)) = &mut unlimited.parts[0].part {
        resource.monitor_ms = 3_600_000;
    }
    session.assign(std::slice::from_ref(&unlimited), 5).await;
    let calls = thing.calls("monitor");
    let more = |text: &str| text.lines().filter(|line| *line == "monitor").count() > calls;
    content(&thing.dir.join("calls"), more).await;
    session
        .dispatch(id("stop", 1), Command::Stop(unlimited))
        .await;
    content(&thing.dir.join("calls"), |text| text.contains("stop")).await;
    thing.clear("hang-monitor");
    let done = session.outcome(&id("stop", 1)).await;
    assert_eq!(
        done.state(),
        AttemptState::Done,
        "a monitor makes way for it: {done:?}"
    );
}
