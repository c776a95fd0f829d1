//! Whose plugs are they? `power verify` with real fence agents: one that lists its plugs, one that cannot.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Containers, Layout, Machine};
use interlock_e2e::{eventually, skip};
use interlock_mesh::identity::Role;
use serde_json::Value;
use tempfile::TempDir;

/// `db1` and `db2` are plugs of a device with names, `web1` is that of one without, as with IPMI.
const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
power:
  host: { fence: fence_docker, via: [store1], options: { ip: 127.0.0.1, ipport: "PORT", ssl: "0", ssl_insecure: "1" } }
  bmc: { fence: fence_dummy, via: [store1], options: { status_file: "STATE" } }
nodes:
  store1: { address: NET.11 }
  db1: { address: NET.21, power: { by: host, plug: c1 } }
  db2: { address: NET.22, power: { by: host, plug: c2 } }
  web1: { address: NET.31, power: { by: bmc, plug: "1" } }
services:
  store: { nodes: [store1], manager: { process: { name: store } } }
  db: { nodes: [db1, db2], active: all, manager: { process: { name: db } } }
  web: { nodes: [web1], manager: { process: { name: web } } }
"#;

const RIGHT: &str = "c1 db1 on\nc2 db2 on\nc3 other on\n";

/// A cluster and its power devices.
struct Site {
    cluster: Cluster,
    host: Containers,
    _files: TempDir,
}

impl Site {
    /// None if the fence agents are not installed here.
    fn start() -> Result<Option<Self>> {
        for agent in ["fence_docker", "fence_dummy"] {
            if !Path::new("/usr/sbin").join(agent).exists() {
                skip(
                    "power verify",
                    &format!("{agent} is not installed (apt-get install fence-agents)"),
                );
                return Ok(None);
            }
        }
        let files = tempfile::Builder::new()
            .prefix("interlock-power-")
            .tempdir()?;
        let host = Containers::start(files.path(), RIGHT)?;
        let state = files.path().join("web1.power");
        fs::write(&state, "on")?;
        let spec = SPEC
            .replace("PORT", &host.port().to_string())
            .replace("STATE", &state.display().to_string());
        let machines = vec![
            Machine::new("store1", 11)
                .process("store")
                .allow("power = [\"fence_docker\", \"fence_dummy\"]")
                .allow("fence_options = [\"status_file\"]"),
            Machine::new("db1", 21)
                .process("db")
                .allow("shutdown = true"),
            Machine::new("db2", 22)
                .process("db")
                .allow("shutdown = true"),
            Machine::new("web1", 31)
                .process("web")
                .allow("shutdown = true"),
        ];
        let cluster = Cluster::start(&Layout {
            spec: &spec,
            machines,
        })?;
        Ok(Some(Self {
            cluster,
            host,
            _files: files,
        }))
    }

    fn ctl(&self, arguments: &[&str]) -> Result<Output> {
        self.cluster.ctl("ann", Role::Operator, arguments)
    }

    /// What `power verify` says of each node, after it has ended with this status.
    fn verify(&self, status: i32, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["power", "verify", "-o", "json"], arguments].concat();
        let said = self.ctl(&arguments)?;
        ensure!(
            said.status.code() == Some(status),
            "{arguments:?} ended with {}: {said:?}",
            said.status
        );
        Ok(serde_json::from_slice(&said.stdout)?)
    }

    /// Why no plan switches a node off.
    fn refusal(&self, node: &str) -> Result<String> {
        let said = self.ctl(&["plan", "shutdown", "--node", node])?;
        ensure!(said.status.code() == Some(5), "there is a plan: {said:?}");
        Ok(format!("{said:?}"))
    }
}

/// The proof of a node, and who asked for it.
fn proof<'a>(found: &'a Value, node: &str) -> Result<(&'a str, &'a str)> {
    let row = row(found, node)?;
    let proof = row["proof"].as_str().context("no proof")?;
    Ok((proof, row["by"].as_str().unwrap_or_default()))
}

fn row<'a>(found: &'a Value, node: &str) -> Result<&'a Value> {
    let rows = found.as_array().context("no list")?;
    let row = rows.iter().find(|row| row["node"] == node);
    row.with_context(|| format!("no {node} in {found}"))
}

#[test]
fn a_bare_verify_proves_what_the_device_names_and_a_person_the_rest() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    ensure!(site.refusal("db1")?.contains("power verify db1"));

    let found = site.verify(2, &[])?;
    ensure!(proof(&found, "db1")? == ("alias", "ann"), "{found}");
    ensure!(proof(&found, "db2")? == ("alias", "ann"), "{found}");
    ensure!(proof(&found, "web1")? == ("unproven", ""), "{found}");
    ensure!(row(&found, "web1")?["power"] == "on", "{found}");
    let said = site.ctl(&["power", "verify"])?;
    let (table, talk) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    ensure!(
        table.contains("host calls plug c1 db1, the node's name"),
        "{table}"
    );
    ensure!(
        talk.contains("interlockctl power verify web1 --attest REASON"),
        "{talk}"
    );

    let found = site.verify(0, &["web1", "--attest", "seen on its console"])?;
    ensure!(proof(&found, "web1")? == ("attested", "ann"), "{found}");
    let before = site.verify(0, &[])?;
    let planned = site.ctl(&["plan", "shutdown", "--node", "db1,web1"])?;
    ensure!(planned.status.success(), "{planned:?}");

    // All of it is durable.
    site.cluster.kill_coordinator()?;
    site.cluster.start_coordinator()?;
    site.cluster.until_connected(&site.cluster.admin()?)?;
    let planned = site.ctl(&["plan", "shutdown", "--node", "db1,web1"])?;
    ensure!(planned.status.success(), "{planned:?}");
    let after = site.verify(0, &[])?;
    for node in ["db1", "db2", "web1"] {
        let (was, is) = (row(&before, node)?, row(&after, node)?);
        ensure!(was["since"] == is["since"], "{was} {is}");
    }
    Ok(())
}

#[test]
fn another_machines_plug_is_refused_with_what_was_expected_and_found() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    site.verify(0, &["db1", "db2"])?;
    site.host.change("c1 other on\nc2 db2 on\nc3 db1 on\n")?;
    let found = site.verify(2, &["db1", "db2", "--attest", "I am sure"])?;
    ensure!(proof(&found, "db1")?.0 == "contradicted", "{found}");
    let db1 = row(&found, "db1")?;
    ensure!(
        db1["expected"] == "db1" && db1["found"] == "other",
        "{found}"
    );
    ensure!(proof(&found, "db2")?.0 == "alias", "{found}");
    ensure!(site.refusal("db1")?.contains("power verify db1"));

    // What the device calls this machine stands in the spec: then that is what it has to say.
    let admin = site.cluster.admin()?;
    let named = site
        .cluster
        .spec()
        .replace("plug: c1", "plug: c1, alias: other");
    admin.apply(&named, 1)?;
    let found = site.verify(0, &["db1"])?;
    ensure!(proof(&found, "db1")?.0 == "alias", "{found}");

    // Another host behind the same name is another host: nothing of it is verified.
    let moved = named.replace("ip: 127.0.0.1", "ip: localhost");
    admin.apply(&moved, 2)?;
    for node in ["db1", "db2"] {
        ensure!(site.refusal(node)?.contains("power verify"), "{node}");
    }
    let ended = admin
        .events()?
        .into_iter()
        .filter(|event| event.kind == "power-unverified")
        .count();
    ensure!(ended >= 3, "{ended} ends are told");
    Ok(())
}

#[test]
fn a_plug_that_is_off_while_the_agent_speaks_is_another_machines() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    site.host.change("c1 db1 off\nc2 db2 on\n")?;
    let found = site.verify(2, &["db1", "--attest", "I am sure"])?;
    ensure!(proof(&found, "db1")?.0 == "contradicted", "{found}");
    ensure!(row(&found, "db1")?["found"] == "off", "{found}");
    // The node that is well stays in the cluster.
    let admin = site.cluster.admin()?;
    eventually("db1 is there", Duration::from_secs(5), || {
        site.cluster.until_connected(&admin)
    })
}
