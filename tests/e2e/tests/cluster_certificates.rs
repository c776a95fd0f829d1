//! Who is refused, what they are told, and what the server's log says (invariant I11).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Authority, Cluster, Life, Operator, for_all, shop};
use interlock_mesh::channel::Expected;
use interlock_mesh::credentials::Files;
use interlock_mesh::identity::{Kind, Role};
use interlock_proto::v1::Liveness;
use tonic::{Code, Status};

/// An error with its causes, as a person reads it.
fn told(status: &Status) -> String {
    let mut text = status.to_string();
    let mut next = std::error::Error::source(status);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn must_say(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "'{word}' is missing in: {text}");
    }
    Ok(())
}

/// Waits until the log of a server has one line with all of these words.
fn logged(log: impl Fn() -> Result<String>, words: &[&str]) -> Result<()> {
    eventually(
        &format!("a line with {words:?}"),
        Duration::from_secs(10),
        || {
            let text = log()?;
            ensure!(
                text.lines()
                    .any(|line| words.iter().all(|word| line.contains(word))),
                "the log says: {text}"
            );
            Ok(())
        },
    )
}

/// A certificate that another authority made. Its `ca.crt` holds both authorities, as during a rotation: so its holder
/// trusts this cluster, and it is the server that refuses.
fn of_another_authority(
    cluster: &Cluster,
    issue: impl Fn(&Authority) -> Result<Files>,
) -> Result<Files> {
    let files = issue(&Authority::new("local", &cluster.path("other-pki"))?)?;
    let own = cluster
        .authority()
        .operator("whoever", Role::Reader, Life::Now)?;
    let both =
        std::fs::read_to_string(&files.authority)? + &std::fs::read_to_string(own.authority)?;
    std::fs::write(&files.authority, both)?;
    Ok(files)
}

#[test]
fn an_operator_of_another_authority_is_refused_by_every_server() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let files = of_another_authority(&cluster, |other| {
        other.operator("mallory", Role::Admin, Life::Now)
    })?;
    let at_coordinator = cluster.operator_with(files.clone())?;
    let refused = at_coordinator.status().unwrap_err();
    must_say(&told(&refused), &["mallory", "another authority"])?;
    logged(
        || cluster.coordinator_log(),
        &["refused", "another authority"],
    )?;

    let at_agent = Operator::at(
        &cluster.agent_endpoint("web1")?,
        Expected::Agent("web1".parse()?),
        files,
    )?;
    let refused = at_agent.node().unwrap_err();
    must_say(&told(&refused), &["mallory", "another authority"])?;
    logged(|| cluster.agent_log("web1"), &["another authority"])
}

#[test]
fn an_expired_certificate_is_refused_before_and_after_it_is_shown() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let files = cluster
        .authority()
        .operator("ann", Role::Admin, Life::Past)?;
    let own = cluster.operator_with(files.clone()).unwrap_err();
    must_say(&format!("{own:#}"), &["ann.crt", "expired", "pki issue"])?;

    let late = |address: &str, expected| {
        Operator::with_a_late_clock(address, expected, files.clone(), Kind::Operator)
    };
    let refused = late(&cluster.endpoint(), Expected::Coordinator)?
        .status()
        .unwrap_err();
    must_say(&told(&refused), &["ann", "expired"])?;
    logged(|| cluster.coordinator_log(), &["its certificate expired"])?;
    let refused = late(
        &cluster.agent_endpoint("web1")?,
        Expected::Agent("web1".parse()?),
    )?
    .node()
    .unwrap_err();
    must_say(&told(&refused), &["ann", "expired"])?;
    logged(|| cluster.agent_log("web1"), &["its certificate expired"])?;

    let agent = cluster
        .authority()
        .agent("web9", &cluster.address(99), Life::Past)?;
    let session = Operator::with_a_late_clock(
        &cluster.endpoint(),
        Expected::Coordinator,
        agent,
        Kind::Agent,
    )?;
    let refused = session.hello("web9").unwrap_err();
    must_say(&told(&refused), &["web9", "expired"])
}

#[test]
fn an_agent_with_a_bad_certificate_does_not_join_and_says_why() -> Result<()> {
    let mut cluster = Cluster::start(&shop::layout())?;
    let admin = cluster.admin()?;
    let address = cluster.address(31);
    let good = cluster.authority().agent("web1", &address, Life::Now)?;
    let put = |files: &Files| -> Result<()> {
        for (from, to) in [
            (&files.authority, &good.authority),
            (&files.certificate, &good.certificate),
            (&files.key, &good.key),
        ] {
            std::fs::copy(from, to)?;
        }
        Ok(())
    };
    cluster.kill_agent("web1")?;

    cluster.authority().agent("web1", &address, Life::Past)?;
    cluster.start_agent("web1")?;
    logged(|| cluster.agent_log("web1"), &["web1.crt", "expired"])?;

    put(&cluster
        .authority()
        .agent("web2", &cluster.address(32), Life::Now)?)?;
    cluster.start_agent("web1")?;
    logged(|| cluster.agent_log("web1"), &["agent web2", "called web1"])?;

    put(&of_another_authority(&cluster, |other| {
        other.agent("web1", &address, Life::Now)
    })?)?;
    cluster.start_agent("web1")?;
    logged(|| cluster.agent_log("web1"), &["another authority"])?;
    logged(
        || cluster.coordinator_log(),
        &["refused", "another authority"],
    )?;

    eventually("web1 is lost", Duration::from_secs(20), || {
        let nodes = admin.status()?.nodes;
        let seen = nodes
            .iter()
            .find(|node| node.node == "web1")
            .context("no web1")?;
        ensure!(
            seen.liveness() == Liveness::Lost,
            "it is {:?}",
            seen.liveness()
        );
        Ok(())
    })?;
    cluster.kill_agent("web1")?;
    cluster.authority().agent("web1", &address, Life::Now)?;
    cluster.start_agent("web1")?;
    cluster.until_connected(&admin)
}

#[test]
fn a_certificate_of_one_node_speaks_for_no_other() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let files = cluster
        .authority()
        .agent("web2", &cluster.address(32), Life::Now)?;
    let session = Operator::with_a_late_clock(
        &cluster.endpoint(),
        Expected::Coordinator,
        files,
        Kind::Agent,
    )?;
    let refused = session.hello("web1").unwrap_err();
    ensure!(refused.code() == Code::PermissionDenied, "{refused}");
    must_say(refused.message(), &["web1", "web2"])?;
    logged(|| cluster.coordinator_log(), &["refused", "web1", "web2"])?;

    // And who calls one node is not content with another.
    let files = cluster
        .authority()
        .operator("ann", Role::Admin, Life::Now)?;
    let wrong = Operator::at(
        &cluster.agent_endpoint("web1")?,
        Expected::Agent("web2".parse()?),
        files,
    )?;
    must_say(
        &told(&wrong.node().unwrap_err()),
        &["not who was called", "web1", "web2"],
    )
}

#[test]
fn a_reader_looks_and_nothing_more() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let reader = cluster.operator("rita", Role::Reader)?;
    reader.status()?;
    let plan = reader.plan(&shop::startup())?;
    ensure!(
        !plan.digest.is_empty(),
        "a reader may plan: {}",
        plan.report_json
    );
    let refused = reader.start(&plan.digest, false).unwrap_err();
    ensure!(refused.code() == Code::PermissionDenied, "{refused}");
    must_say(refused.message(), &["rita", "reader", "operator"])?;
    logged(|| cluster.coordinator_log(), &["StartOperation", "rita"])?;
    let said = cluster.ctl(
        "rita",
        Role::Reader,
        &[
            "startup",
            "--all",
            "--assume-active",
            "db=db1",
            "--yes",
            "--cluster",
            "local",
        ],
    )?;
    let text = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.code() == Some(2), "{}: {text}", said.status);
    must_say(&text, &["rita", "reader"])?;
    ensure!(
        cluster.story().read()?.is_empty(),
        "something was started for a reader"
    );

    let agent = Operator::at(
        &cluster.agent_endpoint("web1")?,
        Expected::Agent("web1".parse()?),
        cluster
            .authority()
            .operator("rita", Role::Reader, Life::Now)?,
    )?;
    agent.node()?;
    ensure!(agent.by_hand("web", "start").unwrap_err().code() == Code::PermissionDenied);
    // An operator runs operations, and does not change the spec.
    let operator = cluster.operator("otto", Role::Operator)?;
    ensure!(operator.apply(cluster.spec(), 1).unwrap_err().code() == Code::PermissionDenied);
    operator.run(&shop::startup())?;
    operator.run(&for_all("shutdown"))?;
    Ok(())
}

#[test]
fn an_exclusive_service_is_not_started_by_hand() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let at_db = cluster.at_agent("db1")?;
    let refused = at_db.by_hand("db", "start").unwrap_err();
    must_say(refused.message(), &["db", "exclusive"])?;
    ensure!(cluster.story().read()?.is_empty(), "it was started");
    // What works everywhere may be started where it is.
    cluster.at_agent("web1")?.by_hand("web", "start")?;
    ensure!(cluster.story().count("up", "web@web1")? == 1);
    Ok(())
}
