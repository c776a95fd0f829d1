//! The by-hand door of an agent beside operations (invariant I8): shut while one holds the instance, with a way past it for
//! when no coordinator is left; and an operation that meets a person at work.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, Operator, for_services, shop};
use interlock_mesh::identity::Role;

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
    // No attempt is open on web2: the operation is between two of its steps there.
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
