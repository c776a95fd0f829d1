//! What an operator is told of services that wait for others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, shop};
use interlock_mesh::identity::Role;
use interlock_proto::v1;

/// Waits until the status says this of `web`, for all of these reasons.
fn web_is(cluster: &Cluster, state: &str, why: &[&str]) -> Result<v1::Status> {
    let operator = cluster.admin()?;
    eventually(
        &format!("web to be {state}"),
        Duration::from_secs(20),
        || {
            let status = operator.status()?;
            let web = status
                .services
                .iter()
                .find(|service| service.service == "web")
                .cloned()
                .context("no web")?;
            let is_told = why.iter().all(|why| web.reason.contains(why));
            ensure!(
                web.state == state && is_told,
                "it is {}: {}",
                web.state,
                web.reason
            );
            Ok(status)
        },
    )
}

#[test]
fn paused_instances_are_told_with_what_they_wait_for_and_nothing_restarts_them() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    cluster.admin()?.run(&shop::startup())?;
    web_is(&cluster, "ok", &[])?;
    let before = cluster.story().read()?.len();
    for node in ["web1", "web2", "web3"] {
        cluster.pause(&format!("web@{node}"), "db")?;
    }
    let why = [
        "web1 is paused: it waits for db; web2 is paused: it waits for db",
        "and 1 more",
    ];
    let status = web_is(&cluster, "paused", &why)?;
    ensure!(
        matches!(status.causes.as_slice(), [cause] if cause.subject == "web"),
        "{:?}",
        status.causes
    );
    let told = cluster.ctl("anna", Role::Reader, &["status"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    ensure!(told.contains("it waits for db"), "{told}");

    for node in ["web1", "web2", "web3"] {
        cluster.release(&format!("paused:web@{node}"))?;
    }
    web_is(&cluster, "ok", &[])?;
    let after = cluster.story().read()?.len();
    ensure!(
        before == after,
        "something was started or stopped meanwhile"
    );
    Ok(())
}

/// Waits until the causes are about such nodes and services, of those called `web...`.
fn causes(cluster: &Cluster, wanted: impl Fn(&[&str]) -> bool) -> Result<()> {
    eventually("causes", Duration::from_secs(20), || {
        let causes = cluster.admin()?.status()?.causes;
        let about = causes.iter().map(|cause| cause.subject.as_str());
        let about: Vec<&str> = about.filter(|it| it.starts_with("web")).collect();
        ensure!(wanted(&about), "{causes:?}");
        Ok(())
    })
}

#[test]
fn a_node_that_is_renamed_and_back_leaves_nothing_to_look_after() -> Result<()> {
    let mut cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    let spec = cluster.spec().to_owned();
    let nodes = spec.lines().find(|line| line.contains("\"web[1-3]\": "));
    let nodes = nodes.context("no web[1-3]")?;
    let others = nodes.replace("web[1-3]", "web[1-2]");
    let others = others.replace("[31-33]", "[31-32]");
    let other = nodes.replace("web[1-3]", "web9").replace("[31-33]", "33");
    let renamed = spec
        .replace(nodes, &format!("{others}\n{other}"))
        .replace("nodes: \"web[1-3]\"", "nodes: [web1, web2, web9]");
    operator.apply(&renamed, 1)?;
    // Its agent goes on under the old name, and nobody is heard by the new one.
    causes(&cluster, |about| about.contains(&"web3"))?;
    operator.apply(&spec, 2)?;
    causes(&cluster, |about| about.is_empty())?;
    drop(operator);
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    // Nor is anything left in the store.
    causes(&cluster, |about| about.is_empty())
}
