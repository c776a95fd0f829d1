//! A cluster that moves from a file to a real etcd and back in the middle of its life: with an operation that waits, with a lease
//! that is held, and with the older line started by mistake. And an etcd that is put back as it was earlier, under agents that have
//! seen more (safety rule E11).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::account::{proven_once, started_in_order};
use interlock_e2e::local::etcd::{Etcd, Version};
use interlock_e2e::local::pair::{Pair, Server};
use interlock_e2e::local::{Cluster, Operator, for_all, for_services, shop};
use interlock_e2e::printed::as_on_the_page;
use interlock_mesh::identity::Role;
use interlock_proto::v1::Liveness;
use serde_json::Value;

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

/// What a command prints.
fn run(cluster: &Cluster, verb: &str, file: &str) -> Result<Value> {
    let arguments = ["store", verb, "--file", file, "-o", "json"];
    let output = cluster.ctl("ada", Role::Admin, &arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The file, and what is told of it.
fn export(cluster: &Cluster, name: &str) -> Result<(String, Value)> {
    let file = cluster.path(name).display().to_string();
    let told = run(cluster, "export", &file)?;
    Ok((file, told))
}

fn import(cluster: &Cluster, file: &str) -> Result<Value> {
    run(cluster, "import", file)
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
    let (exported, told) = export(&cluster, "to-etcd.store")?;

    // To etcd.
    go_over(&mut cluster, &places.etcd)?;
    let whole = fs::read(&exported)?;
    fs::write(cluster.path("short.store"), &whole[..whole.len() - 10])?;
    let short = cluster.path("short.store").display().to_string();
    let refused = import(&cluster, &short);
    ensure!(refused.is_err(), "one that is cut short was imported");
    let taken = import(&cluster, &exported)?;
    as_on_the_page("store", &[told, taken])?;
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
    let (exported, _) = export(&cluster, "back.store")?;
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
        let (exported, _) = export(&pair.cluster, name)?;
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

/// Copies the only member of an etcd that does not run, or puts it back.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let copied = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(copied.success(), "cp: {copied}");
    Ok(())
}

/// Ends coordinator and etcd, copies the data of etcd from the one place to the other, and starts both again.
fn with_data(cluster: &mut Cluster, etcd: &mut Etcd, from: &str, to: &str) -> Result<()> {
    cluster.kill_coordinator()?;
    etcd.kill(0)?;
    copy(&cluster.path(from), &cluster.path(to))?;
    etcd.launch(0)?;
    cluster.start_coordinator()
}

#[test]
fn an_etcd_that_was_put_back_under_its_agents_goes_above_all_that_they_have_seen() -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let what = "an etcd that is put back under its agents";
    let Some(mut etcd) = Etcd::start(&cluster, Version::Newer, 1, &[], what)? else {
        return Ok(());
    };
    let places = Places::of(&cluster, &etcd)?;
    fs::write(cluster.path("coordinator.toml"), &places.etcd)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    with_data(&mut cluster, &mut etcd, "m0.data", "m0.backup")?;

    // What it knows nothing of later: two leaders, and an operation whose attempts agents remember by its number.
    cluster.until_connected(&operator)?;
    let lost = operator.run(&for_services("restart", &["web"]))?;
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    let term = operator.status()?.term;

    with_data(&mut cluster, &mut etcd, "m0.backup", "m0.data")?;
    let known = operator.operation(&lost);
    ensure!(known.is_err(), "this is no older copy: {known:?}");
    next_term(&cluster, &operator, term)?;
    cluster.until_connected(&operator)?;
    let from = cluster.story().read()?.len();
    let operation = operator.run(&for_services("restart", &["web"]))?;
    proven_once(&operator, &operation)?;
    // Nobody takes what was done for the lost one to be done for this one.
    let story = &cluster.story().read()?[from..];
    for node in ["web1", "web2", "web3"] {
        let who = format!("web@{node}");
        for what in ["term", "up"] {
            let times = story.iter().filter(|it| it.what == what && it.who == who);
            ensure!(times.count() == 1, "{what} of {who}: {story:?}");
        }
    }
    Ok(())
}

#[test]
fn a_role_that_has_moved_since_etcd_was_copied_stays_where_its_node_says_that_it_is() -> Result<()>
{
    let mut pair = Pair::begin(Server::StandIn)?;
    let what = "an etcd that is put back under a role";
    let Some(mut etcd) = Etcd::start(&pair.cluster, Version::Newer, 1, &[], what)? else {
        return Ok(());
    };
    let places = Places::of(&pair.cluster, &etcd)?;
    pair.operator.run(&for_all("startup"))?;
    let (first, epoch) = pair.primary()?;
    let (exported, _) = export(&pair.cluster, "to-etcd.store")?;
    go_over(&mut pair.cluster, &places.etcd)?;
    import(&pair.cluster, &exported)?;
    let second = Pair::other(&first);
    pair.until_standby(second)?;
    // A lease may end while nobody leads: then the same one has the role again, in the next epoch.
    let with = |pair: &Pair, node: &str, at_least: u64| {
        let other = Pair::other(node);
        let epoch = eventually(&format!("the role is with {node}"), SOON, || {
            let (found, epoch) = pair.primary()?;
            ensure!(found == node && epoch >= at_least, "{found}, {epoch}");
            Ok(epoch)
        })?;
        pair.until_standby(other).map(|()| epoch)
    };
    with_data(&mut pair.cluster, &mut etcd, "m0.data", "m0.backup")?;
    let epoch = with(&pair, &first, epoch)?;
    pair.kill_server(&first)?;
    let epoch = with(&pair, second, epoch + 1)?;

    // By its word the first one is primary, in an epoch that is over.
    let story = pair.cluster.story().read()?.len();
    with_data(&mut pair.cluster, &mut etcd, "m0.backup", "m0.data")?;
    let epoch = with(&pair, second, epoch)?;
    let happened = &pair.cluster.story().read()?[story..];
    let first_is_up = happened.iter().any(|it| it.who == format!("db@{first}"));
    ensure!(!first_is_up, "{happened:?}");
    pair.kill_server(second)?;
    with(&pair, &first, epoch + 1).map(drop)
}
