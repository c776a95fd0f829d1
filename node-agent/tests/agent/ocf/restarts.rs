//! This agent ends and another one begins, in the same boot: what was known of resources still is.

use std::fs;
use std::net::TcpListener;
use std::process::Command as Program;

use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::{AttemptState, InstanceState};

use super::thing::Thing;
use super::{does, is_apart, is_here, permit, run_apart};
use crate::lab::Lab;
use crate::scripted::{Session, ocf};

fn is_running(seen: &v1::Instance) -> bool {
    seen.state() == InstanceState::Running
}

/// The first thing that is said of the instance. Before its agent has been asked it is unknown, and nothing is said why.
async fn first(session: &mut Session) -> v1::Instance {
    let is_asked =
        |seen: &v1::Instance| seen.state() != InstanceState::Unknown || !seen.reason.is_empty();
    loop {
        if let Said::Observed(observed) = session.next().await
            && let Some(seen) = observed.instances.into_iter().find(is_asked)
        {
            return seen;
        }
    }
}

#[tokio::test]
async fn what_died_or_broke_while_no_agent_was_there_is_started_again_by_the_next_one() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 5).await;
    let done = does(&mut session, "start", Command::Start(thing.command())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    let back = |restarts| move |seen: &v1::Instance| is_running(seen) && seen.restarts == restarts;

    // What goes on is found, and nothing is done to it.
    agent.kill().await;
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    assert!(is_running(&first(&mut session).await), "it is adopted");
    assert_eq!((thing.calls("start"), thing.calls("stop")), (1, 0));

    agent.kill().await;
    thing.clear("up");
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.instance("probe", back(1)).await;
    assert_eq!((thing.calls("start"), thing.calls("stop")), (2, 0));

    // An agent that is told to end leaves no less behind.
    agent.stop().await;
    thing.set("broken", "");
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.instance("probe", back(2)).await;
    assert_eq!((thing.calls("start"), thing.calls("stop")), (3, 1));
}

#[tokio::test]
async fn what_was_stopped_or_never_ran_is_stopped_for_the_next_agent_and_no_death() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 5).await;
    let stopped = |seen: &v1::Instance| seen.state() == InstanceState::Stopped;
    session.instance("probe", stopped).await;
    agent.kill().await;
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    assert!(stopped(&first(&mut session).await), "it never ran");

    does(&mut session, "start", Command::Start(thing.command())).await;
    let done = does(&mut session, "stop", Command::Stop(thing.command())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    agent.kill().await;
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert!(stopped(&seen), "{seen:?}");
    does(&mut session, "again", Command::Start(thing.command())).await;
    agent.kill().await;

    // Nothing has died in this boot of what ran in the last one.
    fs::write(thing.lab.path("boot_id"), "boot-2\n").unwrap();
    thing.clear("up");
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert!(stopped(&seen), "{seen:?}");
    assert_eq!((seen.restarts, thing.calls("start")), (0, 2), "{seen:?}");
}

#[tokio::test]
async fn a_stop_that_failed_is_in_doubt_for_the_next_agent_too_until_one_succeeds_or_a_boot() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 5).await;
    does(&mut session, "start", Command::Start(thing.command())).await;
    thing.set("fail-stop", "1");
    let unknown = does(&mut session, "stop", Command::Stop(thing.command())).await;
    assert_eq!(unknown.state(), AttemptState::Unknown, "{unknown:?}");
    // Its monitor says that it is stopped.
    thing.clear("up");
    agent.kill().await;
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert_eq!(seen.state(), InstanceState::Unknown, "{seen:?}");
    for words in ["does not count after `stop`", "told to fail"] {
        assert!(seen.reason.contains(words), "{words}: {}", seen.reason);
    }

    thing.clear("fail-stop");
    let done = does(&mut session, "again", Command::Stop(thing.command())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    agent.kill().await;
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert_eq!(seen.state(), InstanceState::Stopped, "{seen:?}");

    thing.set("fail-stop", "1");
    does(&mut session, "once-more", Command::Stop(thing.command())).await;
    agent.kill().await;
    fs::write(thing.lab.path("boot_id"), "boot-2\n").unwrap();
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert_eq!(
        seen.state(),
        InstanceState::Stopped,
        "after a boot: {seen:?}"
    );
}

#[tokio::test]
async fn a_monitor_that_hangs_or_cannot_tell_is_unknown_to_the_next_agent_and_restarts_nothing() {
    let thing = Thing::new();
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &thing.permit());
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut command = thing.command();
    if let Some(v1::part::Part::Ocf(resource)) = &mut command.parts[0].part {
        resource.monitor_ms = 300;
    }
    session.assign(std::slice::from_ref(&command), 5).await;
    does(&mut session, "start", Command::Start(command)).await;
    agent.kill().await;
    thing.clear("up");
    thing.set("hang-monitor", "");
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert_eq!(seen.state(), InstanceState::Unknown, "{seen:?}");
    assert!(seen.reason.contains("time limit"), "{}", seen.reason);
    agent.kill().await;

    // To a probe of what never ran this would be *stopped*.
    thing.set("fail-monitor", "5");
    thing.clear("hang-monitor");
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert_eq!(seen.state(), InstanceState::Unknown, "{seen:?}");
    assert!(seen.reason.contains("not installed (5)"), "{}", seen.reason);
    assert_eq!((seen.restarts, thing.calls("start")), (0, 1));

    // As soon as it is known to be gone it is a death.
    thing.clear("fail-monitor");
    let back = |seen: &v1::Instance| is_running(seen) && seen.restarts == 1;
    session.instance("probe", back).await;
    assert_eq!(thing.calls("start"), 2);
}

#[test]
fn an_address_that_was_taken_away_while_no_agent_was_there_comes_back() {
    if is_here("IPaddr2") {
        run_apart("ocf::restarts::with_an_address");
    }
}

#[tokio::test]
#[ignore = "a part of an_address_that_was_taken_away_while_no_agent_was_there_comes_back"]
async fn with_an_address() {
    is_apart();
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let parameters = "ip = [\"10.77.0.9\"], nic = [\"lo\"], cidr_netmask = [\"32\"]";
    let file = permit(&lab, "heartbeat:IPaddr2", parameters);
    lab.configure(&coordinator.endpoint, &file);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let given = [("ip", "10.77.0.9"), ("nic", "lo"), ("cidr_netmask", "32")];
    let address = ocf("probe", "heartbeat:IPaddr2", &given);
    session.assign(std::slice::from_ref(&address), 5).await;
    let bind = || TcpListener::bind("10.77.0.9:0").is_ok();
    let done = does(&mut session, "start", Command::Start(address.clone())).await;
    assert_eq!(
        (done.state(), bind()),
        (AttemptState::Done, true),
        "{done:?}"
    );
    agent.kill().await;

    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert!(is_running(&seen) && seen.restarts == 0, "{seen:?}");
    agent.kill().await;
    let taken = Program::new("ip")
        .args(["address", "del", "10.77.0.9/32", "dev", "lo"])
        .status()
        .unwrap();
    assert!(taken.success() && !bind());

    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let back = |seen: &v1::Instance| is_running(seen) && seen.restarts == 1;
    session.instance("probe", back).await;
    assert!(bind(), "it is back");
    let done = does(&mut session, "stop", Command::Stop(address)).await;
    assert_eq!(
        (done.state(), bind()),
        (AttemptState::Done, false),
        "{done:?}"
    );
    agent.kill().await;
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let seen = first(&mut session).await;
    assert_eq!(seen.state(), InstanceState::Stopped, "{seen:?}");
}

#[tokio::test]
async fn a_doubt_of_what_ran_as_another_agent_type_stays_its_own() {
    let thing = Thing::new();
    let agents = thing.lab.path("ocf.d/test");
    fs::copy(agents.join("Thing"), agents.join("Other")).unwrap();
    let dir = thing.lab.path("other");
    fs::create_dir(&dir).unwrap();
    let dir = dir.display().to_string();
    let other = || ocf("probe", "test:Other", &[("dir", &dir)]);
    let both = thing.permit().replace(
        "ocf = [{",
        "ocf = [{ agent = \"test:Other\", parameters = { dir = true } }, {",
    );
    let mut coordinator = thing.lab.coordinator().await;
    thing.lab.configure(&coordinator.endpoint, &both);
    let agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[thing.command()], 5).await;
    does(&mut session, "start", Command::Start(thing.command())).await;
    thing.set("fail-stop", "1");
    let unknown = does(&mut session, "stop", Command::Stop(thing.command())).await;
    assert_eq!(unknown.state(), AttemptState::Unknown, "{unknown:?}");
    thing.clear("up");
    // It becomes another type, which is started and stopped as if nothing were.
    for (step, command) in [
        ("other", Command::Start(other())),
        ("end", Command::Stop(other())),
    ] {
        let done = does(&mut session, step, command).await;
        assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    }
    agent.kill().await;
    let _agent = thing.lab.start().await;
    let mut session = coordinator.session(1).await;
    // What it was is still in doubt, for this agent and the one before.
    session.assign(&[thing.command()], 5).await;
    let in_doubt = |seen: &v1::Instance| {
        seen.state() == InstanceState::Unknown && seen.reason.contains("does not count after")
    };
    session.instance("probe", in_doubt).await;
    thing.clear("fail-stop");
    let done = does(&mut session, "again", Command::Stop(thing.command())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
}
