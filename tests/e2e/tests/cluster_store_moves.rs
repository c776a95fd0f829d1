//! A cluster that moves from a file to a real etcd and back in the middle of its life: with an operation that waits, with a lease
//! that is held, and with the older line started by mistake (safety rule E11).

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::account::{proven_once, started_in_order};
use interlock_e2e::local::etcd::{Etcd, Version};
use interlock_e2e::local::pair::{Pair, Server};
use interlock_e2e::local::{Cluster, Operator, for_all, shop};
use interlock_mesh::identity::Role;
use interlock_proto::v1::Liveness;

/// The longest that anything takes here.
const SOON: Duration = Duration::from_secs(45);

/// The coordinator's file for the one store, and for the other.
struct Places {
    file: String,
    etcd: String,
}

impl Places {
    fn of(cluster: &Cluster, etcd: &Etcd) -> Result<Self> {
        let file = fs::read_to_string(cluster.path("coordinator.toml"))?;
        let etcd = format!("{file}{}", etcd.section(&[], ""));
        Ok(Self { file, etcd })
    }
}

/// Ends the coordinator, and starts the one of this file.
fn go_over(cluster: &mut Cluster, file: &str) -> Result<()> {
    cluster.kill_coordinator()?;
    fs::write(cluster.path("coordinator.toml"), file)?;
    cluster.start_coordinator()
}

fn run(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    let output = cluster.ctl("ada", Role::Admin, arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(())
}

fn export(cluster: &Cluster, name: &str) -> Result<String> {
    let file = cluster.path(name).display().to_string();
    run(cluster, &["store", "export", "--file", &file])?;
    Ok(file)
}

fn import(cluster: &Cluster, file: &str) -> Result<()> {
    run(cluster, &["store", "import", "--file", file])
}

/// Waits until the agents work for this store, under a term above all of the stores before; that term.
fn next_term(cluster: &Cluster, operator: &Operator, before: u64) -> Result<u64> {
    let agent = cluster.at_agent("web1")?;
    eventually("an agent knows the term", SOON, || {
        let (term, known) = (operator.status()?.term, agent.node()?.highest_term);
        ensure!(term > before && known == term, "{term}, {known}, {before}");
        Ok(term)
    })
}

#[test]
fn an_operation_goes_on_where_it_was_when_its_cluster_moves_to_etcd_and_back() -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let what = "moving a cluster to etcd and back";
    let Some(etcd) = Etcd::start(&cluster, Version::Newer, 1, &[], what)? else {
        return Ok(());
    };
    let places = Places::of(&cluster, &etcd)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    cluster.hold("start:db@db1")?;
    let operation = operator.begin(&shop::startup(), false)?;
    operator.until_step(&operation, "start:db@db1", "running")?;
    operator.control(&operation, "pause", "", "we move")?;
    cluster.release("start:db@db1")?;
    operator.until(&operation, "paused")?;
    let (generation, term) = (operator.status()?.generation, operator.status()?.term);
    let exported = export(&cluster, "to-etcd.store")?;

    // To etcd.
    go_over(&mut cluster, &places.etcd)?;
    let whole = fs::read(&exported)?;
    fs::write(cluster.path("short.store"), &whole[..whole.len() - 10])?;
    let short = cluster.path("short.store").display().to_string();
    let refused = import(&cluster, &short);
    ensure!(refused.is_err(), "one that is cut short was imported");
    import(&cluster, &exported)?;
    cluster.until_connected(&operator)?;
    let term = next_term(&cluster, &operator, term)?;
    let now = operator.status()?.generation;
    ensure!(now == generation, "the spec is not there");
    let state = operator.state(&operation)?;
    ensure!(state == "paused", "it was paused, and is {state}");
    let again = import(&cluster, &exported);
    ensure!(again.is_err(), "a store in use was imported into");

    // By mistake, the older line: an operation waits there as well.
    go_over(&mut cluster, &places.file)?;
    eventually("the agents are refused", SOON, || {
        let log = cluster.coordinator_log()?;
        let refused = log.matches("does not succeed it").count();
        ensure!(refused >= 3, "only {refused} refusals");
        Ok(())
    })?;
    let nodes = operator.status()?.nodes;
    let alive = nodes.iter().any(|it| it.liveness() == Liveness::Alive);
    ensure!(!alive, "the older line has agents: {nodes:?}");

    // And back while a step acts, into a file that is new.
    go_over(&mut cluster, &places.etcd)?;
    cluster.until_connected(&operator)?;
    let held = ["start:web@web1", "start:web@web2", "start:web@web3"];
    for point in held {
        cluster.hold(point)?;
    }
    operator.control(&operation, "resume", "", "we have moved")?;
    for point in held {
        operator.until_step(&operation, point, "running")?;
    }
    let exported = export(&cluster, "back.store")?;
    cluster.kill_coordinator()?;
    fs::rename(cluster.path("coordinator"), cluster.path("coordinator.old"))?;
    fs::write(cluster.path("coordinator.toml"), &places.file)?;
    cluster.start_coordinator()?;
    import(&cluster, &exported)?;
    next_term(&cluster, &operator, term)?;
    for point in held {
        cluster.release(point)?;
    }
    operator.until(&operation, "done")?;
    proven_once(&operator, &operation)?;
    started_in_order(&cluster.story().read()?, shop::ORDER)?;
    let next = operator.begin(&for_all("shutdown"), false)?;
    ensure!(next != operation, "{next} was used before");
    operator.until(&next, "done").map(drop)
}

#[test]
fn a_role_stays_where_it_is_when_its_cluster_moves_to_etcd_and_back_and_moves_there_by_itself()
-> Result<()> {
    let mut pair = Pair::begin(Server::StandIn)?;
    let what = "moving a pair to etcd and back";
    let Some(etcd) = Etcd::start(&pair.cluster, Version::Newer, 1, &[], what)? else {
        return Ok(());
    };
    let places = Places::of(&pair.cluster, &etcd)?;
    pair.operator.run(&for_all("startup"))?;
    let (mut primary, mut epoch) = pair.primary()?;
    for (name, file) in [
        ("to-etcd.store", &places.etcd),
        ("back.store", &places.file),
    ] {
        let other = Pair::other(&primary);
        pair.until_standby(other)?;
        let exported = export(&pair.cluster, name)?;
        let story = pair.cluster.story().read()?.len();
        let before = pair.cluster.path("coordinator");
        if file == &places.file {
            fs::rename(&before, pair.cluster.path("coordinator.old"))?;
        }
        go_over(&mut pair.cluster, file)?;
        import(&pair.cluster, &exported)?;
        eventually("the role is where it was", SOON, || {
            let found = pair.primary()?;
            ensure!(found == (primary.clone(), epoch), "{found:?}");
            Ok(())
        })?;
        pair.until_standby(other)?;
        let happened = &pair.cluster.story().read()?[story..];
        ensure!(happened.is_empty(), "{happened:?}");

        // And moves from there as it should: one epoch on.
        pair.kill_server(&primary)?;
        epoch += 1;
        eventually("the role is with the other one", SOON, || {
            let found = pair.primary()?;
            ensure!(found == (other.to_owned(), epoch), "{found:?}");
            Ok(())
        })?;
        other.clone_into(&mut primary);
    }
    Ok(())
}
