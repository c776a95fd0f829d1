//! What an agent's own file forbids is known before a plan is shown, and is no surprise at its seventh step.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, FENCE, Layout, Machine, Operator, for_services, shop};
use interlock_mesh::identity::Role;
use interlock_proto::v1;

/// Writes the agent's own file of a machine anew, and starts the agent with it.
fn edit(cluster: &mut Cluster, node: &str, edit: impl FnOnce(String) -> String) -> Result<()> {
    let path = cluster.path("nodes").join(node).join("agent.toml");
    let text = fs::read_to_string(&path)?;
    fs::write(&path, edit(text))?;
    cluster.kill_agent(node)?;
    cluster.start_agent(node)?;
    Ok(())
}

/// What the agent of a node would refuse, once it has told `count` things.
fn refused(operator: &Operator, node: &str, count: usize) -> Result<Vec<v1::Refusal>> {
    let what = format!("{node} tells {count} refusals");
    eventually(&what, Duration::from_secs(20), || {
        let status = operator.status()?;
        let seen = status.nodes.into_iter().find(|seen| seen.node == node);
        let seen = seen.context("it is not in the status")?;
        ensure!(
            !seen.instances.is_empty() && seen.refuses.len() == count,
            "{seen:?}"
        );
        Ok(seen.refuses)
    })
}

/// What `interlockctl` says.
fn says(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let said = cluster.ctl("ann", Role::Operator, arguments)?;
    let text = [said.stdout, said.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn must_say(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "it does not say '{word}': {text}");
    }
    Ok(())
}

#[test]
fn a_plan_that_an_agent_would_refuse_is_not_shown_and_says_which_line_of_which_file_to_change()
-> Result<()> {
    const LINE: &str = "web = { process = \"web\" }\n";
    let mut cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    edit(&mut cluster, "web3", |file| file.replacen(LINE, "", 1))?;
    // Beside that it may not be restarted, which no plan asks for here.
    let refusals = refused(&operator, "web3", 2)?;
    let of_web = |it: &&v1::Refusal| it.why.contains(LINE.trim());
    let refusal = refusals.iter().find(of_web).context("not of web")?;
    let named = ["web", LINE.trim(), "[allow.services]", "agent.toml"];
    must_say(&refusal.why, &named)?;

    let request = for_services("shutdown", &["web"]);
    let plan = operator.plan(&request)?;
    ensure!(plan.digest.is_empty(), "it is shown: {plan:?}");
    let told = [
        "web3",
        "would refuse stop",
        "[allow.services]",
        "interlockctl spec agent-config web3",
    ];
    must_say(&plan.report_json, &told)?;
    let said = says(&cluster, &["shutdown", "--service", "web", "--yes"])?;
    must_say(&said, &told)?;
    ensure!(cluster.story().count("stop", "web@web1")? == 0, "it began");
    must_say(
        &says(&cluster, &["status"])?,
        &["the agent of web3 would refuse"],
    )?;
    let shown = says(&cluster, &["node", "show", "web3"])?;
    must_say(
        &shown,
        &["refuses", "start and stop web", "[allow.services]"],
    )?;
    let at = format!("web3={}", cluster.agent_endpoint("web3")?);
    let shown = says(&cluster, &["node", "show", "--node", &at])?;
    must_say(
        &shown,
        &["refuses", "start and stop web", "[allow.services]"],
    )?;

    let services = "[allow.services]\n";
    edit(&mut cluster, "web3", |file| {
        file.replacen(services, &format!("{services}{LINE}"), 1)
    })?;
    refused(&operator, "web3", 1)?;
    let status = says(&cluster, &["status"])?;
    ensure!(!status.contains("would refuse"), "{status}");
    operator.run(&request)?;
    Ok(())
}

#[test]
fn what_is_not_permitted_of_machines_and_power_sources_is_told_by_who_would_have_to_do_it()
-> Result<()> {
    const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
power:
  box: { fence: fence_dummy, via: [store1], options: { status_file: DIR/box } }
nodes:
  store1: { address: NET.11 }
  web1: { address: NET.31, power: { by: box, plug: one, shutdown: agent } }
  app1: { address: NET.41, power: { by: box, plug: two, shutdown: command } }
services:
  app: { nodes: [app1], manager: { process: { name: app } } }
  store: { nodes: [store1], manager: { process: { name: store } }, files: { config: {} } }
  web: { nodes: [web1], manager: { process: { name: web } }, requires: [store] }
"#;
    let cluster = Cluster::start(&Layout {
        spec: SPEC,
        machines: vec![
            Machine::new("store1", 11).process("store"),
            Machine::new("web1", 31).process("web"),
            Machine::new("app1", 41)
                .process("app")
                .allow("shutdown = true"),
        ],
    })?;
    let operator = cluster.admin()?;
    let by = |node, count| -> Result<String> {
        let all = refused(&operator, node, count)?;
        Ok(all.into_iter().map(|refusal| refusal.why + "\n").collect())
    };
    let store = by("store1", 3)?;
    let named = [
        "fence_dummy",
        "power = [\"fence_dummy\"]",
        // It has no power source, and plans restart it by its agent all the same.
        "reboot = true",
        "to write the file config of service store",
        "store = { process = \"store\", files = [\"config\"] }",
    ];
    must_say(&store, &named)?;
    must_say(&by("web1", 2)?, &["shutdown = true", "reboot = true"])?;
    let no_command = [
        "by a command, and there is none",
        "under [shutdown]",
        "agent.toml",
    ];
    must_say(&by("app1", 1)?, &no_command)?;
    let shown = says(&cluster, &["node", "show", "web1"])?;
    must_say(&shown, &["shut the machine down", "restart the machine"])?;

    operator.run(&for_services("startup", &["store"]))?;
    let mut change = for_services("restart", &["store"]);
    change.change = Some(v1::FileChange {
        template: "new".to_owned(),
        ..v1::FileChange::default()
    });
    let mut reboot = for_services("reboot", &[]);
    reboot.nodes = vec!["store1".to_owned()];
    for (request, refused) in [
        (
            change,
            "the agent of store1 would refuse try-file and write-file",
        ),
        (reboot, "the agent of store1 would refuse reboot"),
    ] {
        let plan = operator.plan(&request)?;
        ensure!(plan.digest.is_empty(), "it is shown: {plan:?}");
        let told = [refused, "interlockctl spec agent-config store1"];
        must_say(&plan.report_json, &told)?;
    }
    Ok(())
}

#[test]
fn a_machine_that_only_its_own_commands_take_down_is_restarted_by_one_of_them_or_not_at_all()
-> Result<()> {
    const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
power:
  rack: { fence: FENCE, via: [store1], options: { machines: "DIR/nodes" } }
nodes:
  store1: { address: NET.11 }
  web1: { address: NET.31, power: { by: rack, plug: web1 } }
services:
  store: { nodes: [store1], manager: { process: { name: store } } }
  web: { nodes: [web1], manager: { process: { name: web } }, requires: [store] }
"#;
    let cluster = Cluster::start(&Layout {
        spec: &SPEC.replace("FENCE", FENCE),
        machines: vec![
            Machine::new("store1", 11).process("store").switches(),
            Machine::new("web1", 31)
                .process("web")
                .switched()
                .allow("reboot = true"),
        ],
    })?;
    let operator = cluster.admin()?;
    operator.run(&for_services("startup", &["store", "web"]))?;
    refused(&operator, "web1", 1)?;
    let mut request = for_services("reboot", &[]);
    request.nodes = vec!["web1".to_owned()];
    let told = [
        "the agent of web1 would refuse reboot",
        "set `reboot_command`",
        "[shutdown]",
        "agent.toml",
        "restart the agent",
    ];
    let plan = operator.plan(&request)?;
    ensure!(plan.digest.is_empty(), "it is shown: {plan:?}");
    must_say(&plan.report_json, &told)?;
    must_say(
        &says(&cluster, &["reboot", "--node", "web1", "--yes"])?,
        &told,
    )?;
    ensure!(cluster.story().count("stop", "web@web1")? == 0, "it began");

    let path = cluster.path("nodes/web1/agent.toml");
    let file = fs::read_to_string(&path)?;
    let command = |line: &&str| line.starts_with("command = ") && line.contains("\"press\"");
    let command = file.lines().find(command).context("no command")?;
    let reboot = format!(
        "reboot_{}, \"--again\"]",
        command.strip_suffix(']').context("no list")?
    );
    fs::write(
        &path,
        file.replacen(command, &format!("{command}\n{reboot}"), 1),
    )?;
    cluster.vm("web1").pull_plug()?;
    cluster.vm("web1").switch_on()?;
    refused(&operator, "web1", 0)?;
    eventually("web is up", Duration::from_secs(20), || {
        operator.run(&for_services("startup", &["web"]))
    })?;
    operator.run(&request)?;
    let done = cluster.vm("web1").done();
    ensure!(
        done.ends_with(&["restart".into(), "boot".into()]),
        "{done:?}"
    );
    Ok(())
}

#[test]
fn an_abort_takes_back_what_is_so_already_where_the_file_no_longer_permits_it() -> Result<()> {
    const LINE: &str = "web = { process = \"web\" }\n";
    const STOP: &str = "stop:web@web3";
    let mut cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    let shutdown = operator.begin(&for_services("shutdown", &["web"]), true)?;
    eventually("its turn", Duration::from_secs(20), || {
        Ok(operator.control(&shutdown, "next", STOP, "")?)
    })?;
    operator.until_step(&shutdown, STOP, "done")?;
    // A person starts it again, and then it is nothing that the node's owner permits.
    let at = format!("web3={}", cluster.agent_endpoint("web3")?);
    let by_hand = ["node", "start", "web", "--node", &at, "--reason", "a test"];
    let named = ["--override-operation", shutdown.as_str()];
    let said = says(&cluster, &[by_hand.as_slice(), &named].concat())?;
    edit(&mut cluster, "web3", |file| file.replacen(LINE, "", 1))?;
    refused(&operator, "web3", 2)?;
    operator.control(&shutdown, "unwind", "", "a test")?;
    operator.until(&shutdown, "unwound").context(said)?;
    let stop = operator.step(&shutdown, STOP)?;
    must_say(&stop.evidence, &["1 check is green"])?;
    let journal = format!("{:?}", operator.journal(&shutdown)?);
    must_say(
        &journal,
        &[
            "web on web3 is running already, says its agent",
            "[allow.services]",
        ],
    )
}
