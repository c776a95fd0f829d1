//! Services of OCF resource agents, run by the agents of a cluster as the package brings them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::keeper::kill;
use interlock_e2e::local::{Cluster, Layout, Machine, Operator, for_all, for_services};
use interlock_e2e::{eventually, skip};
use interlock_mesh::identity::Role;
use interlock_proto::v1::{self, InstanceState};
use rustix::process::Pid;

const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  store1: { address: NET.11 }
  web1: { address: NET.31 }
services:
  store:
    nodes: [store1]
    manager: { ocf: { agent: heartbeat:Dummy, every: 1s, parameters: { state: DIR/store } } }
  web:
    nodes: [web1]
    manager:
      ocf:
        agent: heartbeat:nginx
        every: 1s
        parameters: { configfile: DIR/web.conf, status10url: "http://NET.31:8080/" }
    requires: [store]
    guard: { budget: 3, window: 10m, backoff: 20ms }
"#;

/// The cluster with its agents and no service; none where the package or nginx is missing.
fn start() -> Result<Option<Cluster>> {
    for (file, package) in [
        ("/usr/lib/ocf/resource.d/heartbeat/nginx", "resource-agents"),
        ("/usr/sbin/nginx", "nginx"),
    ] {
        if !Path::new(file).exists() {
            let why = format!("{file} is missing; `cargo xtask test` installs {package}");
            skip("services of OCF resource agents", &why);
            return Ok(None);
        }
    }
    let dummy = "{ agent = \"heartbeat:Dummy\", parameters = { state = true } }";
    let nginx =
        "{ agent = \"heartbeat:nginx\", parameters = { configfile = true, status10url = true } }";
    let mut cluster = Cluster::prepare(&Layout {
        spec: SPEC,
        machines: vec![
            Machine::new("store1", 11).ocf("store", dummy),
            Machine::new("web1", 31).ocf("web", nginx),
        ],
    })?;
    fs::write(cluster.path("web.conf"), configuration(&cluster))?;
    cluster.start_coordinator()?;
    cluster.join()?;
    Ok(Some(cluster))
}

/// One process, so that nothing is left of it when that is killed.
fn configuration(cluster: &Cluster) -> String {
    let here = cluster.path("");
    let here = here.display();
    let temporary = |name: &str| format!(" {name}_temp_path {here}/{name};\n");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temporary);
    format!(
        "master_process off;\npid {here}/web.pid;\nerror_log {here}/web.log;\nevents {{}}\nhttp {{\n access_log off;\n{} \
         server {{ listen {}:8080; location / {{ return 200 'here'; }} }}\n}}\n",
        paths.concat(),
        cluster.address(31)
    )
}

/// Where in the journal a step came to this.
fn position(operator: &Operator, operation: &str, step: &str, what: &str) -> Result<usize> {
    let journal = operator.journal(operation)?;
    let found = journal
        .iter()
        .position(|it| it.step == step && it.what == what);
    found.with_context(|| format!("no {what} of {step} in {journal:#?}"))
}

fn nginx(cluster: &Cluster) -> Result<Pid> {
    let text = fs::read_to_string(cluster.path("web.pid"))?;
    Pid::from_raw(text.trim().parse()?).context("no process")
}

#[test]
fn services_of_resource_agents_go_up_and_down_in_order_and_what_dies_is_started_again() -> Result<()>
{
    let Some(mut cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    let up = operator.run(&for_all("startup"))?;
    let before = position(&operator, &up, "start:store@store1", "proven")?;
    let after = position(&operator, &up, "start:web@web1", "intent")?;
    ensure!(before < after, "web was started before its store");
    ensure!(cluster.path("store").exists(), "its agent has not worked");

    let is_restarted = |service: &str| -> Result<()> {
        let status = operator.status()?;
        let mut instances = status.nodes.into_iter().flat_map(|node| node.instances);
        let seen = instances.find(|seen| seen.service == service);
        let seen = seen.context("no instance")?;
        let runs = seen.state() == InstanceState::Running;
        ensure!(runs && seen.restarts == 1, "{seen:?}");
        Ok(())
    };
    let first = nginx(&cluster)?;
    kill(first)?;
    eventually("nginx is started again", Duration::from_secs(20), || {
        is_restarted("web")?;
        ensure!(nginx(&cluster)? != first);
        Ok(())
    })?;

    // What goes while no agent is there has died for the next one, and what runs is adopted.
    cluster.kill_agent("store1")?;
    cluster.kill_agent("web1")?;
    fs::remove_file(cluster.path("store"))?;
    let before = nginx(&cluster)?;
    cluster.start_agent("store1")?;
    cluster.start_agent("web1")?;
    eventually("so is the store", Duration::from_secs(20), || {
        is_restarted("store")?;
        ensure!(cluster.path("store").exists());
        is_restarted("web")
    })?;
    ensure!(nginx(&cluster)? == before, "nginx was started once more");

    let down = operator.run(&for_all("shutdown"))?;
    let before = position(&operator, &down, "stop:web@web1", "proven")?;
    let after = position(&operator, &down, "stop:store@store1", "intent")?;
    ensure!(before < after, "the store was stopped before what needs it");
    ensure!(!cluster.path("store").exists(), "it is not down");
    Ok(())
}

#[test]
fn what_agents_say_of_themselves_is_shown_and_a_spec_that_does_not_fit_is_not_applied() -> Result<()>
{
    let Some(cluster) = start()? else {
        return Ok(());
    };
    let operator = cluster.admin()?;
    let said = |arguments: &[&str]| -> Result<String> {
        let said = cluster.ctl("rita", Role::Reader, arguments)?;
        Ok(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
    };
    let all = said(&["agent-types"])?;
    let line = all.lines().find(|line| line.starts_with("heartbeat:nginx"));
    let line = line.with_context(|| all.clone())?;
    ensure!(
        line.contains("store1,web1") && line.contains("  web1  "),
        "{line}"
    );
    let one = said(&["agent-types", "web1"])?;
    for words in [
        "configfile",
        "nginx start options",
        "heartbeat:Dummy",
        "monitor",
    ] {
        ensure!(one.contains(words), "it does not say '{words}': {one}");
    }

    let wrong = cluster.spec().replacen("configfile:", "confgfile:", 1);
    let Err(refused) = operator.apply(&wrong, 1) else {
        anyhow::bail!("it is applied");
    };
    for words in [
        "heartbeat:nginx has no parameter 'confgfile'",
        "did you mean 'configfile'?",
        "services.web.manager.ocf.parameters.confgfile",
    ] {
        let said = refused.message();
        ensure!(said.contains(words), "it does not say '{words}': {said}");
    }
    Ok(())
}

const ROLES: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 5s }
nodes:
  mgmt: { address: NET.5 }
  n1: { address: NET.11 }
  n2: { address: NET.12 }
services:
  state:
    nodes: [n1, n2]
    active: one
    manager: { ocf: { agent: heartbeat:Stateful, promotable: true } }
    failover: { automatic: true, profile: fast }
"#;

/// Waits until the agent's own files say that one is promoted here, and none elsewhere.
fn wait_promoted(cluster: &Cluster, node: &str) -> Result<()> {
    eventually("a promoted one", Duration::from_secs(30), || {
        for it in ["n1", "n2"] {
            let state = fs::read_to_string(state_of(cluster, it)).unwrap_or_default();
            let expected = if it == node { "master" } else { "slave" };
            ensure!(state.trim() == expected, "{it} is {state:?}");
        }
        Ok(())
    })
}

fn state_of(cluster: &Cluster, node: &str) -> std::path::PathBuf {
    cluster.path(&format!("nodes/{node}/ocf/Stateful-state.state"))
}

#[test]
fn what_its_agent_promotes_moves_with_the_role_on_purpose_and_when_it_dies() -> Result<()> {
    let stateful = "/usr/lib/ocf/resource.d/heartbeat/Stateful";
    if !Path::new(stateful).exists() {
        let why = format!("{stateful} is missing; `cargo xtask test` installs resource-agents");
        skip("roles of OCF resource agents", &why);
        return Ok(());
    }
    let machine =
        |node, host| Machine::new(node, host).ocf("state", "{ agent = \"heartbeat:Stateful\" }");
    let mut cluster = Cluster::prepare(&Layout {
        spec: ROLES,
        machines: vec![machine("n1", 11), machine("n2", 12)],
    })?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&for_all("startup"))?;
    let first = match role_of(&operator, "n1")?.side() {
        v1::Side::Primary => "n1",
        _ => "n2",
    };
    let second = if first == "n1" { "n2" } else { "n1" };
    wait_promoted(&cluster, first)?;
    let types = cluster.ctl("rita", Role::Reader, &["agent-types"])?.stdout;
    let types = String::from_utf8_lossy(&types).into_owned();
    let line = |name: &str| types.lines().find(|line| line.starts_with(name));
    let promotes = |name: &str| line(name).map(|line| line.contains("  promotable  "));
    ensure!(
        promotes("heartbeat:Stateful") == Some(true) && promotes("heartbeat:Dummy") == Some(false),
        "{types}"
    );
    let mut epoch = role_of(&operator, first)?.epoch;
    for to in [second, first] {
        let request = v1::MakePlanRequest {
            to: to.to_owned(),
            ..for_services("switchover", &["state"])
        };
        operator.run(&request)?;
        wait_promoted(&cluster, to)?;
        let role = role_of(&operator, to)?;
        ensure!(role.epoch == epoch + 1, "{role:?} after {epoch}");
        epoch = role.epoch;
    }

    // It dies: its role goes, and it comes back as what it is everywhere.
    fs::remove_file(state_of(&cluster, first))?;
    wait_promoted(&cluster, second)?;
    Ok(())
}

fn role_of(operator: &Operator, node: &str) -> Result<v1::Role> {
    let status = operator.status()?;
    let seen = status.nodes.into_iter().find(|it| it.node == node);
    let roles = seen.into_iter().flat_map(|it| it.instances);
    roles.filter_map(|it| it.role).next().context("no role")
}
