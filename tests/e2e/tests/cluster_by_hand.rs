//! The by-hand door of an agent beside operations (invariant I8): shut while one holds the instance, with a way past it for
//! when no coordinator is left; an operation that meets a person at work; and what coordinators learn of it all (I11).

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, Operator, for_services, shop};
use interlock_mesh::identity::Role;
use interlock_proto::v1;

/// A cluster with everything started.
fn started() -> Result<(Cluster, Operator)> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    Ok((cluster, operator))
}

fn must_say(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "it does not say '{word}': {text}");
    }
    Ok(())
}

/// `interlockctl node VERB web --node web2`, as ben at a workstation types it: its exit status, and what it says.
fn types(cluster: &Cluster, verb: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
    let agent = format!("web2={}", cluster.agent_endpoint("web2")?);
    let line = ["node", verb, "web", "--node", &agent];
    let reason = ["--reason", "disk is full"];
    let arguments = [line.as_slice(), &reason, more].concat();
    let said = cluster.ctl("ben", Role::Operator, &arguments)?;
    let text = [said.stdout, said.stderr].concat();
    Ok((
        said.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

#[test]
fn nobody_acts_by_hand_on_what_an_operation_holds_without_naming_it() -> Result<()> {
    let (mut cluster, operator) = started()?;
    let ann = cluster.operator("ann", Role::Operator)?;
    cluster.hold("stop:web@web1")?;
    let restart = ann.begin(&for_services("restart", &["web"]), false)?;
    // No attempt is open on web2: the operation is between two of its steps there, and its agent has been told.
    let looking = cluster.at_agent("web2")?;
    eventually("web2 knows of it", Duration::from_secs(20), || {
        let claims = looking.node()?.claims;
        ensure!(!claims.is_empty(), "nothing is held");
        Ok(())
    })?;
    let (code, said) = types(&cluster, "stop", &[])?;
    ensure!(code == Some(2), "{code:?}: {said}");
    let wanted = [
        restart.as_str(),
        "ann",
        "interlockctl operation abort",
        "--override-operation",
    ];
    must_say(&said, &wanted)?;
    ensure!(
        cluster.story().count("stop", "web@web2")? == 0,
        "it was stopped"
    );
    // What is not held is free.
    cluster.at_agent("store1")?.by_hand("store", "start")?;

    // Nobody is there to end the operation, and the agent itself has been started again.
    cluster.kill_coordinator()?;
    cluster.kill_agent("web2")?;
    cluster.start_agent("web2")?;
    let agent = cluster.at_agent("web2")?;
    let node = eventually("the agent is back", Duration::from_secs(20), || {
        Ok(agent.node()?)
    })?;
    let claims = node.claims;
    ensure!(
        claims.len() == 1 && claims[0].what.contains("ann"),
        "{claims:?}"
    );
    let (code, said) = types(&cluster, "start", &[])?;
    ensure!(code == Some(2), "{code:?}: {said}");
    let named = ["--override-operation", restart.as_str()];
    let (code, said) = types(&cluster, "start", &named)?;
    ensure!(code == Some(0), "{code:?}: {said}");
    let ledger = agent.attempts()?;
    let overriding = format!("disk is full, overriding {restart}");
    ensure!(
        ledger.iter().any(|it| it.command.contains(&overriding)),
        "{ledger:?}"
    );

    cluster.start_coordinator()?;
    cluster.release("stop:web@web1")?;
    operator.until(&restart, "done")?;
    eventually("nothing is held", Duration::from_secs(20), || {
        let claims = agent.node()?.claims;
        ensure!(claims.is_empty(), "{claims:?}");
        Ok(())
    })?;
    agent.by_hand("web", "stop")?;
    agent.by_hand("web", "start")?;
    Ok(())
}

#[test]
fn an_operation_that_meets_a_person_at_work_halts_and_says_who() -> Result<()> {
    let (cluster, operator) = started()?;
    cluster.hold("stop:web@web2")?;
    let agent = cluster.at_agent("web2")?;
    let hand = std::thread::spawn(move || agent.by_hand("web", "stop"));
    let looking = cluster.at_agent("web2")?;
    eventually("it is in the ledger", Duration::from_secs(20), || {
        let ledger = looking.attempts()?;
        ensure!(
            ledger.iter().any(|it| it.command.contains("operator ada")),
            "{ledger:?}"
        );
        Ok(())
    })?;
    let shutdown = operator.begin(&for_services("shutdown", &["web"]), false)?;
    let halted = operator.until(&shutdown, "needs-attention")?;
    let words = ["stop:web@web2", "a person began", "ada", "a test"];
    must_say(&halted.attention, &words)?;

    cluster.release("stop:web@web2")?;
    hand.join()
        .map_err(|_| anyhow!("the act by hand panicked"))??;
    operator.control(&shutdown, "retry", "stop:web@web2", "they are through")?;
    operator.until(&shutdown, "done")?;
    ensure!(
        cluster.story().count("stop", "web@web2")? == 1,
        "it was stopped twice"
    );
    Ok(())
}

/// The events of acts by hand on web2, once there are `count`.
fn events_by_hand(operator: &Operator, count: usize) -> Result<Vec<v1::Event>> {
    let what = format!("{count} events of acts by hand");
    eventually(&what, Duration::from_secs(20), || {
        let all = operator.events()?;
        let by_hand = all.into_iter().filter(|event| event.kind == "by-hand");
        let by_hand: Vec<_> = by_hand.collect();
        ensure!(by_hand.len() == count, "{by_hand:?}");
        Ok(by_hand)
    })
}

/// The agent has told a coordinator all that it knows: what it says now comes after that.
fn act_and_see(cluster: &Cluster, operator: &Operator, verb: &str, count: usize) -> Result<()> {
    cluster.at_agent("web2")?.by_hand("web", verb)?;
    let events = events_by_hand(operator, count)?;
    let last = events.last().map(|event| event.text.as_str());
    let last = last.unwrap_or_default();
    must_say(last, &[verb, "web", "web2", "by hand", "done", "a test"])
}

#[test]
fn what_was_done_by_hand_while_no_coordinator_was_there_is_one_event_with_who_when_and_why()
-> Result<()> {
    let (mut cluster, operator) = started()?;
    cluster.kill_coordinator()?;
    let (code, said) = types(&cluster, "stop", &[])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    let attempts = cluster.at_agent("web2")?.attempts()?;
    let hand = attempts.iter().find(|entry| !entry.by.is_empty());
    let hand = hand.ok_or_else(|| anyhow!("no act by hand in {attempts:?}"))?;
    ensure!(
        hand.by.contains("ben") && hand.reason == "disk is full",
        "{hand:?}"
    );

    cluster.start_coordinator()?;
    let [event] = events_by_hand(&operator, 1)?
        .try_into()
        .map_err(|all| anyhow!("{all:?}"))?;
    ensure!(event.who == hand.by, "{event:?}");
    ensure!(event.node == "web2" && event.service == "web", "{event:?}");
    ensure!(
        event.happened_ms > 0 && event.happened_ms <= event.at_ms,
        "{event:?}"
    );
    must_say(
        &event.text,
        &["stop web", "web2", "by hand", "done", "disk is full"],
    )?;

    // Both again: nothing is told twice. What is done then is told after all that was known before.
    cluster.kill_agent("web2")?;
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.start_agent("web2")?;
    cluster.until_connected(&operator)?;
    act_and_see(&cluster, &operator, "start", 2)?;
    // The coordinator goes while the agent stays, and the other way round.
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    act_and_see(&cluster, &operator, "stop", 3)?;
    cluster.kill_agent("web2")?;
    cluster.start_agent("web2")?;
    eventually("the agent is back", Duration::from_secs(20), || {
        Ok(cluster.at_agent("web2")?.node()?)
    })?;
    act_and_see(&cluster, &operator, "start", 4)
}

#[test]
fn what_a_person_starts_again_under_a_shutdown_keeps_what_it_needs() -> Result<()> {
    let (cluster, operator) = started()?;
    cluster.hold("stop:web@web1")?;
    let down = operator.begin(&for_services("shutdown", &["db"]), false)?;
    operator.until_step(&down, "stop:web@web2", "done")?;
    let (code, said) = types(&cluster, "start", &["--override-operation", &down])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    cluster.release("stop:web@web1")?;

    let halted = operator.until(&down, "needs-attention")?;
    must_say(
        &halted.attention,
        &["web on web2 is running again", "stop:web@web2"],
    )?;
    for side in ["db@db1", "db@db2"] {
        ensure!(
            cluster.story().count("stop", side)? == 0,
            "{side} was stopped"
        );
    }

    let (code, said) = types(&cluster, "stop", &["--override-operation", &down])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    let blocked = halted.steps.iter().find(|step| step.state == "blocked");
    let blocked = blocked.ok_or_else(|| anyhow!("no step is blocked: {halted:?}"))?;
    eventually("the stop is seen", Duration::from_secs(20), || {
        operator.control(&down, "retry", &blocked.step, "it is down")?;
        ensure!(operator.state(&down)? != "needs-attention");
        Ok(())
    })?;
    operator.until(&down, "done")?;
    ensure!(cluster.story().count("stop", "db@db1")? == 1);
    Ok(())
}
