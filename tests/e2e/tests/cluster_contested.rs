//! Two agents that speak as one node are both not believed (`docs/decisions/0015-contested-nodes.md`).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, for_all, for_services, keeper, shop};
use interlock_proto::v1::Liveness;

/// Longer than a contest lasts after one of the two fell silent.
const SETTLED: Duration = Duration::from_secs(60);

#[test]
fn a_copy_of_a_machine_proves_nothing_and_the_operation_ends_when_it_is_gone() -> Result<()> {
    let mut cluster = Cluster::start(&shop::layout())?;
    let admin = cluster.admin()?;
    let up = admin.run(&shop::startup())?;
    admin.until(&up, "done")?;
    let web1 = cluster.story().pid("start", "web@web1")?;

    cluster.hold("stop:web@web1")?;
    let down = admin.begin(&for_all("shutdown"), false)?;
    admin.until_step(&down, "stop:web@web2", "done")?;
    let copy = cluster.start_copy("web1")?;
    eventually("web1 is contested", SETTLED, || {
        let told = admin
            .events()?
            .into_iter()
            .any(|event| event.kind == "node-contested" && event.node == "web1");
        ensure!(told, "no event says so");
        let status = admin.status()?;
        let node = status.nodes.iter().find(|node| node.node == "web1");
        let node = node.context("no web1 in the status")?;
        ensure!(node.liveness() != Liveness::Alive, "{node:?}");
        let caused = status.causes.iter().any(|cause| cause.subject == "web1");
        ensure!(caused, "no cause names it: {:?}", status.causes);
        Ok(())
    })?;

    let refused = admin.plan(&for_services("startup", &["web"]))?;
    ensure!(refused.digest.is_empty(), "a plan over what nobody knows");

    // The copy sees no `web`, and would prove the stop at once; the real agent sees the end of it, and is not believed.
    let stop = admin.step(&down, "stop:web@web1")?;
    ensure!(stop.state == "running", "proven by whom? {stop:?}");
    ensure!(keeper::lives(web1), "it is held");
    cluster.release("stop:web@web1")?;
    keeper::gone(web1)?;
    let stop = admin.step(&down, "stop:web@web1")?;
    ensure!(stop.state == "running", "proven by whom? {stop:?}");

    cluster.kill_agent(&copy)?;
    admin.until(&down, "done")?;
    ensure!(cluster.story().count("stop", "web@web1")? == 1);
    ensure!(cluster.story().count("stop", "db@db1")? == 1);
    Ok(())
}
