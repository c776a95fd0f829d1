//! What `ocf-tester` of the package asks of an agent, asked of what runs one: the agents are those of the package, behind a
//! program that writes down how they are called.
//!
//! | `ocf-tester` | here |
//! |---|---|
//! | meta-data is XML, and never fails | of every agent that the package has |
//! | a monitor of what is stopped is 7, before the first start and after each stop | *stopped*, by a probe |
//! | a probe is 7 or 5 if all programs are missing | *stopped*, and a start says what is missing |
//! | start, start again; stop, stop again | done, each |
//! | a monitor of what runs is 0, and so is a probe | *running*, of this agent and of the next one |
//! | what an agent does not have ends with 3 | is not asked of it |

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use interlock_agent::ocf::Catalogue;
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::{AttemptState, InstanceState};

use super::thing::Thing;
use super::{AGENTS, does, is_apart, is_here, is_here_with, permit, run_apart};
use crate::lab::Lab;
use crate::scripted::{Coordinator, Session, ocf};

/// An agent of the package, called through a program that notes each call.
struct Noted {
    lab: Lab,
    coordinator: Coordinator,
    command: v1::InstanceCommand,
}

impl Noted {
    async fn new(agent: &str, permitted: &str, given: &[(&str, &str)]) -> Self {
        let lab = Lab::new();
        let here = lab.here();
        let program = format!(
            "#!/bin/sh\necho \"$# $1 $OCF_RESKEY_CRM_meta_interval\" >> {here}/calls\n[ -e {here}/absent ] && export \
             OCF_TESTER_FAIL_HAVE_BINARY=1\nexec {AGENTS}/{agent} \"$@\"\n"
        );
        let file = lab.path("ocf.d/test").join(agent);
        fs::create_dir_all(lab.path("ocf.d/test")).unwrap();
        fs::write(&file, program).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let name = format!("test:{agent}");
        let coordinator = lab.coordinator().await;
        lab.configure(&coordinator.endpoint, &permit(&lab, &name, permitted));
        Self {
            command: ocf("probe", &name, given),
            lab,
            coordinator,
        }
    }

    /// How it was called: how many arguments, the first, and the interval.
    fn calls(&self) -> Vec<(String, String, String)> {
        let calls = fs::read_to_string(self.lab.path("calls")).unwrap_or_default();
        let call = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            (next(), next(), next())
        };
        calls.lines().map(call).collect()
    }

    fn count(&self, action: &str) -> usize {
        let calls = self.calls();
        calls.iter().filter(|(_, it, _)| it == action).count()
    }

    fn probed_only(&self) -> bool {
        let monitors = self.calls();
        let mut monitors = monitors.iter().filter(|(_, it, _)| it == "monitor");
        monitors.all(|(_, _, interval)| interval == "0")
    }

    /// The order of `ocf-tester`.
    async fn passes(&mut self, is_up: impl Fn() -> bool) {
        let agent = self.lab.start().await;
        let mut session = self.coordinator.session(1).await;
        let advertised = loop {
            if let Said::OcfAgents(agents) = session.next().await {
                break agents.types.into_iter().next().expect("what it is").actions;
            }
        };
        let advertised: BTreeSet<String> = advertised.into_iter().map(|it| it.name).collect();
        session.assign(std::slice::from_ref(&self.command), 0).await;
        session.instance("probe", is(InstanceState::Stopped)).await;
        assert!(self.probed_only(), "{:?}", self.calls());

        let start = |step| (step, Command::Start(self.command.clone()));
        let stop = |step| (step, Command::Stop(self.command.clone()));
        done(&mut session, start("start")).await;
        assert!(is_up());
        session.instance("probe", is(InstanceState::Running)).await;
        done(&mut session, start("start-again")).await;
        assert!(is_up() && self.count("start") == 1, "{:?}", self.calls());
        done(&mut session, stop("stop")).await;
        assert!(!is_up());
        session.instance("probe", is(InstanceState::Stopped)).await;
        done(&mut session, start("restart")).await;
        assert!(is_up());

        // Probed by an agent that has not started it.
        drop(session);
        agent.kill().await;
        let _agent = self.lab.start().await;
        let mut session = self.coordinator.session(1).await;
        session.instance("probe", is(InstanceState::Running)).await;
        assert_eq!(self.count("start"), 2, "{:?}", self.calls());
        done(&mut session, stop("stop-it")).await;
        done(&mut session, stop("stop-again")).await;
        assert!(!is_up() && self.count("stop") == 3, "{:?}", self.calls());
        session.instance("probe", is(InstanceState::Stopped)).await;

        for (arguments, action, _) in self.calls() {
            assert_eq!(arguments, "1", "{action}");
            assert!(advertised.contains(&action), "{action} of {advertised:?}");
        }
    }
}

fn is(state: InstanceState) -> impl Fn(&v1::Instance) -> bool {
    move |seen| seen.state() == state
}

async fn done(session: &mut Session, (step, command): (&str, Command)) {
    let done = does(session, step, command).await;
    assert_eq!(done.state(), AttemptState::Done, "{step}: {done:?}");
}

/// A start that fails for this reason, begins nothing, and leaves what is seen as it was.
async fn fails(noted: &mut Noted, words: &[&str]) {
    let _agent = noted.lab.start().await;
    let mut session = noted.coordinator.session(1).await;
    session
        .assign(std::slice::from_ref(&noted.command), 3)
        .await;
    let start = Command::Start(noted.command.clone());
    let failed = does(&mut session, "in-vain", start).await;
    assert_eq!(failed.state(), AttemptState::Failed, "{failed:?}");
    for words in words {
        assert!(failed.evidence.contains(words), "{words}: {failed:?}");
    }
    assert_eq!(noted.count("start"), 0, "{:?}", noted.calls());
    let seen = session.instance("probe", is(InstanceState::Stopped)).await;
    assert_eq!(seen.restarts, 0, "{seen:?}");
}

#[tokio::test]
async fn every_agent_of_the_package_says_what_it_is() {
    if !is_here("Dummy") {
        return;
    }
    let names = fs::read_dir(AGENTS).unwrap().map(|entry| {
        let name = entry.unwrap().file_name();
        format!("heartbeat:{}", name.to_string_lossy())
    });
    let permitted: BTreeSet<_> = names.filter_map(|name| name.parse().ok()).collect();
    let root = Path::new(AGENTS).parent().unwrap().to_owned();
    let installed = Catalogue::new(vec![root], permitted.clone())
        .installed()
        .await;
    assert!(installed.mute.is_empty(), "{:?}", installed.mute);
    assert!(installed.types.len() >= 100, "{}", installed.types.len());
    for (name, known) in &installed.types {
        for action in ["start", "stop", "monitor"] {
            assert!(known.advice(action).is_some(), "{name} has no {action}");
        }
    }
}

#[tokio::test]
async fn dummy_is_up_when_it_is_up_and_down_when_it_is_down_however_often_it_is_asked_for() {
    if !is_here("Dummy") {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("dummy");
    let path = file.display().to_string();
    let given = [("state", &*path)];
    let mut noted = Noted::new("Dummy", "state = true", &given).await;
    noted.passes(|| file.exists()).await;
}

#[tokio::test]
async fn parameters_that_an_agent_of_the_package_does_not_take_fail_in_its_own_words() {
    if !is_here("Dummy") {
        return;
    }
    let given = [("state", "/nonexistent/dummy")];
    let mut noted = Noted::new("Dummy", "state = true", &given).await;
    let words = [
        "`validate-all` of probe: wrong on this node (2)",
        "not writable",
    ];
    fails(&mut noted, &words).await;

    if !is_here_with("nginx", "/usr/sbin/nginx", "nginx") {
        return;
    }
    let given = [("configfile", "/nonexistent/nginx.conf")];
    let mut noted = Noted::new("nginx", "configfile = true", &given).await;
    let words = ["wrongly configured (6)", "Cannot parse config file"];
    fails(&mut noted, &words).await;
}

#[test]
fn an_address_passes_too_and_is_stopped_where_its_programs_are_missing() {
    if is_here("IPaddr2") {
        run_apart("ocf::tester::an_address_passes");
    }
}

#[tokio::test]
#[ignore = "a part of an_address_passes_too_and_is_stopped_where_its_programs_are_missing"]
async fn an_address_passes() {
    is_apart();
    let permitted = "ip = true, nic = true, cidr_netmask = true";
    let lo = [("nic", "lo"), ("cidr_netmask", "32")];
    let given = [&[("ip", "10.77.0.9")], &lo[..]].concat();
    let mut noted = Noted::new("IPaddr2", permitted, &given).await;
    fs::write(noted.lab.path("absent"), "").unwrap();
    let words = ["not installed (5)", "couldn't find command"];
    fails(&mut noted, &words).await;
    fs::remove_file(noted.lab.path("absent")).unwrap();
    fs::remove_file(noted.lab.path("calls")).unwrap();
    noted
        .passes(|| TcpListener::bind("10.77.0.9:0").is_ok())
        .await;

    let given = [&[("ip", "10.77.0.999")], &lo[..]].concat();
    let mut noted = Noted::new("IPaddr2", permitted, &given).await;
    fails(&mut noted, &["wrongly configured (6)"]).await;
}

#[tokio::test]
async fn an_action_that_an_agent_advertises_and_does_not_have_is_told_with_its_code() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 3).await;
    let start = || Command::Start(thing.command());
    // That it is valid is then nobody's word; it is started all the same.
    thing.set("fail-validate-all", "3");
    done(&mut session, ("start", start())).await;
    done(&mut session, ("stop", Command::Stop(thing.command()))).await;
    for (code, words) in [
        ("2", "wrong on this node (2)"),
        ("3", "no such action (3)"),
        ("4", "not permitted (4)"),
        ("5", "not installed (5)"),
        ("6", "wrongly configured (6)"),
        ("77", "failure (77)"),
    ] {
        thing.set("fail-start", code);
        let step = format!("start-{code}");
        let failed = does(&mut session, &step, start()).await;
        assert_eq!(failed.state(), AttemptState::Failed, "{failed:?}");
        let told = failed
            .evidence
            .contains(&format!("`start` of probe: {words}"));
        assert!(
            told && failed.evidence.contains("told to fail"),
            "{failed:?}"
        );
    }
    assert_eq!(thing.calls("start"), 7, "each once, and nobody tries again");
    // A stop that cannot be is no stop, whatever the monitor says.
    thing.set("fail-stop", "3");
    let stop = Command::Stop(thing.command());
    let unknown = does(&mut session, "stop-3", stop).await;
    assert_eq!(unknown.state(), AttemptState::Unknown, "{unknown:?}");
    assert!(
        unknown.evidence.contains("no such action (3)"),
        "{unknown:?}"
    );
    // And one that cannot be monitored is not known to be anything.
    thing.clear("fail-stop");
    done(&mut session, ("stop-again", Command::Stop(thing.command()))).await;
    thing.set("fail-monitor", "3");
    let seen = session.instance("probe", is(InstanceState::Unknown)).await;
    assert!(seen.reason.contains("no such action (3)"), "{seen:?}");
}
