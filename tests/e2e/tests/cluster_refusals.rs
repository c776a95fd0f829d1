//! What is refused, and why: held claims, plans that are no longer true, capacity, unknown checks (invariants I5, I8,
//! I9). And what only looks, changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, Layout, Machine, Operator, for_all, for_services, shop};
use interlock_mesh::identity::Role;
use interlock_proto::v1::MakePlanRequest;
use tonic::Code;

/// A cluster with everything started, and `db1` as the active side.
fn started() -> Result<(Cluster, Operator)> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    Ok((cluster, operator))
}

fn text(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The plan's digest; it is an error if there is no plan.
fn digest(operator: &Operator, request: &MakePlanRequest) -> Result<String> {
    let plan = operator.plan(request)?;
    ensure!(!plan.digest.is_empty(), "no plan: {}", plan.report_json);
    Ok(plan.digest)
}

#[test]
fn the_second_operator_is_told_who_holds_what() -> Result<()> {
    let (cluster, _) = started()?;
    let (ann, ben) = (
        cluster.operator("ann", Role::Operator)?,
        cluster.operator("ben", Role::Operator)?,
    );
    let bens = digest(&ben, &for_services("restart", &["web"]))?;
    let everything = digest(&ben, &for_all("shutdown"))?;
    cluster.hold("stop:web@web1")?;
    let anns = ann.begin(&for_services("shutdown", &["web"]), false)?;
    for digest in [bens, everything] {
        let refused = ben.start(&digest, false).unwrap_err();
        // The cluster has changed as well; who changes it is what he has to know.
        ensure!(refused.code() == Code::Aborted, "{refused}");
        for word in [anns.as_str(), "ann", "web"] {
            ensure!(
                refused.message().contains(word),
                "it does not name {word}: {}",
                refused.message()
            );
        }
    }
    let said = cluster.ctl(
        "ben",
        Role::Operator,
        &["shutdown", "--service", "web", "--yes"],
    )?;
    ensure!(
        !said.status.success() && text(&said).contains("ann"),
        "interlockctl: {}",
        text(&said)
    );
    let status = ben.status()?;
    let web = status
        .services
        .iter()
        .find(|service| service.service == "web")
        .context("no web")?;
    ensure!(
        web.held_by.contains(&anns),
        "the status does not say who holds it: {web:?}"
    );

    cluster.release("stop:web@web1")?;
    ann.until(&anns, "done")?;
    ben.run(&for_services("startup", &["web"]))?;
    Ok(())
}

#[test]
fn a_plan_of_an_older_spec_is_refused() -> Result<()> {
    let (cluster, operator) = started()?;
    let old = digest(&operator, &for_all("shutdown"))?;
    let story = cluster.story().read()?;
    operator.apply(&cluster.spec().replace("budget: 2", "budget: 3"), 1)?;
    let refused = operator.start(&old, false).unwrap_err();
    ensure!(refused.code() == Code::FailedPrecondition, "{refused}");
    ensure!(
        refused.message().contains("plan again"),
        "{}",
        refused.message()
    );
    ensure!(cluster.story().read()? == story, "a refused plan has acted");
    Ok(())
}

#[test]
fn a_spec_that_is_applied_already_makes_no_generation_for_any_caller() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let plan = digest(&operator, &shop::startup())?;
    let again = operator.apply(cluster.spec(), 1)?;
    ensure!(
        again.unchanged && again.generation == 1 && again.changes.is_empty(),
        "{again:?}"
    );
    let stale = operator.apply(cluster.spec(), 0).unwrap_err();
    ensure!(stale.code() == Code::Aborted, "{stale}");
    // So a plan of before is still good, and while it is carried out there is nothing to refuse.
    cluster.hold("start:web@web1")?;
    operator.start(&plan, false)?;
    ensure!(operator.apply(cluster.spec(), 1)?.unchanged);
    cluster.release("start:web@web1")?;
    operator.until("op-1", "done")?;
    let commented = operator.apply(&format!("{}\n# more\n", cluster.spec()), 1)?;
    ensure!(
        !commented.unchanged && commented.generation == 2,
        "another text is another generation: {commented:?}"
    );
    Ok(())
}

#[test]
fn a_plan_is_not_known_after_a_restart_of_the_coordinator() -> Result<()> {
    let (mut cluster, operator) = started()?;
    let old = digest(&operator, &for_all("shutdown"))?;
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    let refused = operator.start(&old, false).unwrap_err();
    ensure!(refused.code() == Code::NotFound, "{refused}");
    ensure!(
        refused.message().contains("plan again"),
        "{}",
        refused.message()
    );
    // Made again it is the same plan, byte for byte, and starts.
    ensure!(
        digest(&operator, &for_all("shutdown"))? == old,
        "the same cluster gives another plan"
    );
    operator.start(&old, false)?;
    operator.until("op-2", "done")?;
    Ok(())
}

/// Moves the active side of `db`, and waits until the coordinator has seen it.
fn move_active(cluster: &Cluster, operator: &Operator, to: &str) -> Result<()> {
    fs::write(cluster.active_file("db"), to)?;
    eventually("the move is seen", Duration::from_secs(20), || {
        let services = operator.status()?.services;
        let db = services
            .iter()
            .find(|service| service.service == "db")
            .context("no db")?;
        ensure!(db.active == to, "{db:?}");
        Ok(())
    })
}

#[test]
fn an_active_side_that_moved_after_the_plan_was_shown_refuses_its_start() -> Result<()> {
    let (cluster, operator) = started()?;
    let shown = digest(&operator, &for_all("shutdown"))?;
    move_active(&cluster, &operator, "db2")?;
    let refused = operator.start(&shown, false).unwrap_err();
    ensure!(refused.code() == Code::FailedPrecondition, "{refused}");
    ensure!(
        refused.message().contains("changed"),
        "{}",
        refused.message()
    );
    // The plan of now stops the other side first.
    let operation = operator.run(&for_all("shutdown"))?;
    let journal = operator.journal(&operation)?;
    let intent = |step: &str| {
        journal
            .iter()
            .position(|entry| entry.what == "intent" && entry.step == step)
    };
    ensure!(
        intent("stop:db@db1") < intent("stop:db@db2"),
        "the active side went before the standby"
    );
    Ok(())
}

#[test]
fn an_active_side_that_moves_under_way_halts_before_the_step_that_assumes_it() -> Result<()> {
    let (cluster, operator) = started()?;
    cluster.hold("stop:web@web1")?;
    let operation = operator.begin(&for_all("shutdown"), false)?;
    eventually("the stop is under way", Duration::from_secs(10), || {
        cluster.story().pid("term", "web@web1")
    })?;
    move_active(&cluster, &operator, "db2")?;
    cluster.release("stop:web@web1")?;
    let seen = operator.until(&operation, "needs-attention")?;
    for who in ["db@db1", "db@db2", "store@store1"] {
        ensure!(
            cluster.story().count("term", who)? == 0,
            "{who} was stopped although db has moved"
        );
    }
    let step = operator.step(&operation, "stop:db@db2")?;
    ensure!(step.state == "gated" || step.state == "blocked", "{step:?}");
    ensure!(
        seen.attention.contains("db2"),
        "the reason does not say where db is: {}",
        seen.attention
    );

    // Moved back, the plan is true again.
    move_active(&cluster, &operator, "db1")?;
    operator.control(&operation, "retry", "stop:db@db2", "moved back")?;
    operator.until(&operation, "done")?;
    Ok(())
}

#[test]
fn a_batch_that_leaves_too_few_is_refused_with_the_arithmetic() -> Result<()> {
    let (cluster, operator) = started()?;
    let mut request = for_services("restart", &["web"]);
    request.batch = 2;
    let refused = operator.plan(&request)?;
    ensure!(refused.digest.is_empty(), "a plan below capacity was made");
    let report: serde_json::Value = serde_json::from_str(&refused.report_json)?;
    let entries = report.as_array().context("no report")?;
    let short = entries
        .iter()
        .find(|entry| entry["entry"] == "capacity-short")
        .context(refused.report_json.clone())?;
    ensure!(
        short["have"] == 3 && short["would_leave"] == 1 && short["at_least"] == 2,
        "{short}"
    );
    let said = cluster.ctl(
        "ann",
        Role::Operator,
        &["plan", "restart", "--service", "web", "--batch", "2"],
    )?;
    ensure!(
        said.status.code() == Some(5),
        "interlockctl ended with {}: {}",
        said.status,
        text(&said)
    );
    ensure!(
        text(&said).contains("3 in service, the plan would leave 1, at least 2"),
        "{}",
        text(&said)
    );

    // One at a time leaves two.
    operator.run(&for_services("restart", &["web"]))?;
    Ok(())
}

/// What can be changed: the store, every agent's ledger, the processes, the stand-ins.
fn world(cluster: &Cluster, operator: &Operator) -> Result<BTreeMap<String, String>> {
    let mut world = BTreeMap::new();
    // Pages are rewritten by every commit, so equal bytes mean that nothing was committed.
    world.insert(
        "store".to_owned(),
        format!("{:?}", fs::read(cluster.path("coordinator/store.redb"))?),
    );
    world.insert("story".to_owned(), format!("{:?}", cluster.story().read()?));
    world.insert("events".to_owned(), format!("{:?}", operator.events()?));
    world.insert(
        "generation".to_owned(),
        operator.status()?.generation.to_string(),
    );
    for node in ["store1", "db1", "db2", "web1", "web2", "web3"] {
        let agent = cluster.at_agent(node)?;
        world.insert(
            format!("ledger of {node}"),
            format!("{:?}", agent.attempts()?),
        );
        let instances = agent.node()?.instances;
        world.insert(format!("instances of {node}"), format!("{instances:?}"));
    }
    Ok(world)
}

#[test]
fn plans_and_dry_runs_touch_nothing() -> Result<()> {
    let (cluster, operator) = started()?;
    let before = world(&cluster, &operator)?;
    for kind in ["shutdown", "startup", "restart"] {
        operator.plan(&for_all(kind))?;
        let said = cluster.ctl("ann", Role::Reader, &["plan", kind, "--all"])?;
        // There may be nothing to start; a plan or none, it was looked at.
        ensure!(
            matches!(said.status.code(), Some(0 | 5)),
            "{}: {}",
            said.status,
            text(&said)
        );
    }
    let changed = cluster.path("changed.yaml");
    fs::write(
        &changed,
        cluster.spec().replace("at_least: 2", "at_least: 1"),
    )?;
    let file = changed.display().to_string();
    let said = cluster.ctl("ada", Role::Admin, &["spec", "apply", "--dry-run", &file])?;
    ensure!(
        said.status.success() && text(&said).contains("at_least"),
        "{}",
        text(&said)
    );
    let after = world(&cluster, &operator)?;
    for (what, was) in &before {
        ensure!(after.get(what) == Some(was), "{what} has changed");
    }
    Ok(())
}

/// A service that requires something outside of the cluster, seen by checks of which one is bad and one unknown.
const OUTSIDE: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  web1: { address: NET.31 }
services:
  share:
    external: true
    checks:
      port: { tcp: "NET.250:2049", every: 300ms, timeout: 300ms, fresh: 10s, fail: 1 }
      alive: { marker: /var/empty/never-permitted, every: 300ms, timeout: 300ms, fresh: 10s }
  web:
    nodes: [web1]
    manager: { process: { name: web } }
    requires: [share]
"#;

#[test]
fn an_unknown_check_refuses_as_a_bad_one_does_until_each_is_forced_by_name() -> Result<()> {
    let machines = vec![Machine::new("web1", 31).process("web")];
    let cluster = Cluster::start(&Layout {
        spec: OUTSIDE,
        machines,
    })?;
    let operator = cluster.operator("ann", Role::Operator)?;
    let refusals = |force: &[&str]| -> Result<Vec<(String, String)>> {
        let mut request = for_all("startup");
        request.force = force.iter().map(|check| (*check).to_owned()).collect();
        let plan = operator.plan(&request)?;
        let report: serde_json::Value = serde_json::from_str(&plan.report_json)?;
        let entries = report.as_array().context("no report")?.iter();
        let refusals =
            entries.filter(|entry| matches!(entry["entry"].as_str(), Some("blocked" | "unknown")));
        let told: Vec<(String, String)> = refusals
            .map(|entry| {
                (
                    entry["entry"].to_string(),
                    format!("{}.{}", entry["force"]["service"], entry["force"]["check"]),
                )
            })
            .map(|(entry, force)| (entry.replace('"', ""), force.replace('"', "")))
            .collect();
        ensure!(
            told.is_empty() != plan.digest.is_empty(),
            "{told:?} with the plan '{}'",
            plan.digest
        );
        Ok(told)
    };
    let pair = |entry: &str, force: &str| (entry.to_owned(), force.to_owned());
    eventually(
        "both checks have been looked at",
        Duration::from_secs(10),
        || {
            let told = refusals(&[])?;
            ensure!(told.contains(&pair("blocked", "share.port")), "{told:?}");
            ensure!(
                told.contains(&pair("unknown", "share.alive")),
                "unknown was taken for OK: {told:?}"
            );
            Ok(())
        },
    )?;
    ensure!(refusals(&["share.port"])? == [pair("unknown", "share.alive")]);
    ensure!(cluster.story().read()?.is_empty());

    let said = cluster.ctl(
        "ann",
        Role::Operator,
        &[
            "startup",
            "--all",
            "--yes",
            "--cluster",
            "local",
            "--reason",
            "the share is late",
            "--force",
            "share.port,share.alive",
        ],
    )?;
    // Done, and not everything is proven.
    ensure!(said.status.code() == Some(7), "{}", text(&said));
    ensure!(cluster.story().count("up", "web@web1")? == 1);
    let events = operator.events()?;
    let audited = events
        .iter()
        .find(|event| event.kind == "operation-started")
        .context("the start is not audited")?;
    ensure!(audited.who == "ann", "{audited:?}");
    for word in ["share.port", "share.alive", "the share is late"] {
        ensure!(
            audited.text.contains(word),
            "the audit does not say {word}: {audited:?}"
        );
    }
    Ok(())
}

#[test]
fn a_spec_that_gives_what_runs_another_manager_is_refused_until_it_is_stopped() -> Result<()> {
    let (cluster, operator) = started()?;
    let other = cluster
        .spec()
        .replace("process: { name: web }", "process: { name: web9 }");
    let refused = operator.apply(&other, 1).unwrap_err();
    ensure!(refused.code() == Code::FailedPrecondition, "{refused}");
    for word in ["web runs on web1, web2, web3 by process web", "web9"] {
        ensure!(refused.message().contains(word), "{refused}");
    }
    ensure!(operator.status()?.generation == 1);
    operator.run(&for_services("shutdown", &["web"]))?;
    operator.apply(&other, 1)?;
    Ok(())
}
