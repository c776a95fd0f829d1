//! Who may change something, and what is left of it (invariant I11): every RPC that changes something is refused for a reader,
//! and leaves a record of who, when and why. The RPCs are those of the role table, which a test holds equal to the compiled
//! protos: a new one is among them, and this test fails until it says what it leaves.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{Cluster, FENCE, Layout, Life, Machine, Operator};
use interlock_mesh::authz::Table;
use interlock_mesh::channel::Expected;
use interlock_mesh::identity::{Identity, Role};
use interlock_proto::v1;
use tonic::Code;

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
  web: { nodes: [web1], manager: { process: { name: web } } }
"#;

/// What needs more than a reader and changes nothing.
const LOOKS: [&str; 2] = [
    "/interlock.v1.LogService/ReadLogs",
    "/interlock.v1.StoreService/ExportStore",
];

/// What this cluster cannot do: nothing of it moves by itself, so nothing is blocked. What it leaves is held by the engine's
/// own tests of budgets.
const UNBLOCK: &str = "/interlock.v1.ClusterService/UnblockFailover";

fn person(role: &str) -> Result<Identity> {
    Ok(format!("interlock://local/operator/ann?role={role}").parse()?)
}

/// What a person may call who is more than a reader, and a reader may not.
fn guarded() -> Result<BTreeSet<&'static str>> {
    let (reader, admin) = (person("reader")?, person("admin")?);
    let table = Table::interlock_v1();
    let rows = table
        .rows()
        .filter(|(_, access)| access.admits(&admin) && !access.admits(&reader));
    Ok(rows.map(|(method, _)| method).collect())
}

fn cluster() -> Result<Cluster> {
    let spec = SPEC.replace("FENCE", FENCE);
    Cluster::start(&Layout {
        spec: &spec,
        machines: vec![
            Machine::new("store1", 11).process("store").switches(),
            Machine::new("web1", 31).process("web").switched(),
        ],
    })
}

#[test]
fn every_rpc_that_needs_more_is_refused_for_a_reader_by_coordinator_and_agent() -> Result<()> {
    let cluster = cluster()?;
    let events = cluster.admin()?.events()?.len();
    let reader = |at: &str, expected| -> Result<Operator> {
        let files = cluster
            .authority()
            .operator("rita", Role::Reader, Life::Now)?;
        Operator::at(at, expected, files)
    };
    let doors = [
        reader(&cluster.endpoint(), Expected::Coordinator)?,
        reader(
            &cluster.agent_endpoint("web1")?,
            Expected::Agent("web1".parse()?),
        )?,
    ];
    let guarded = guarded()?;
    ensure!(guarded.len() >= 11, "{guarded:?}");
    for door in &doors {
        for method in &guarded {
            let refused = door
                .call_empty(method)
                .err()
                .with_context(|| format!("{method} is open"))?;
            ensure!(
                refused.code() == Code::PermissionDenied,
                "{method}: {refused}"
            );
            ensure!(refused.message().contains("rita"), "{method}: {refused}");
        }
    }
    ensure!(
        cluster.admin()?.events()?.len() == events,
        "something was changed"
    );
    // It is the role and nothing else.
    let admin = cluster.admin()?;
    for method in guarded
        .iter()
        .filter(|method| !method.contains("NodeService"))
    {
        if let Err(refused) = admin.call_empty(method) {
            ensure!(
                refused.code() != Code::PermissionDenied,
                "{method}: {refused}"
            );
        }
    }
    Ok(())
}

/// A person's command, and the record that it is to leave: the RPC behind it, and the kind of the event.
struct Act<'a> {
    method: &'static str,
    kind: &'static str,
    words: Vec<&'a str>,
}

#[test]
fn every_rpc_that_changes_something_leaves_who_when_and_why() -> Result<()> {
    let mut cluster = cluster()?;
    let spec = cluster.path("changed.yaml");
    fs::write(&spec, format!("{}\n# changed\n", cluster.spec()))?;
    let spec = spec.display().to_string();
    let web1 = format!("web1={}", cluster.agent_endpoint("web1")?);
    let export = cluster.path("all.store").display().to_string();
    let acts = [
        Act {
            method: "/interlock.v1.ClusterService/ApplySpec",
            kind: "spec-applied",
            words: vec!["spec", "apply", "--yes", &spec],
        },
        Act {
            method: "/interlock.v1.ClusterService/VerifyPower",
            kind: "power-verified",
            words: vec!["power", "verify", "web1"],
        },
        Act {
            method: "/interlock.v1.OperationService/StartOperation",
            kind: "operation-started",
            words: vec![
                "startup",
                "--all",
                "--yes",
                "--cluster",
                "local",
                "--no-wait",
            ],
        },
        Act {
            method: "/interlock.v1.OperationService/ControlOperation",
            kind: "operation-controlled",
            words: vec!["operation", "pause", "op-1"],
        },
        Act {
            method: "/interlock.v1.ClusterService/EnterMaintenance",
            kind: "maintenance-entered",
            words: vec!["maintenance", "enter", "--service", "web", "--for", "1h"],
        },
        Act {
            method: "/interlock.v1.ClusterService/LeaveMaintenance",
            kind: "maintenance-left",
            words: vec!["maintenance", "leave", "--service", "web"],
        },
        Act {
            method: "/interlock.v1.NodeService/ControlInstance",
            kind: "by-hand",
            words: vec!["node", "start", "web", "--node", &web1],
        },
        Act {
            method: "/interlock.v1.StoreService/AdoptAgents",
            kind: "agents-adopted",
            words: vec!["store", "adopt", "123e4567-e89b-12d3-a456-426614174000"],
        },
        // Into a store that is empty, so at the end.
        Act {
            method: "/interlock.v1.StoreService/ImportStore",
            kind: "store-imported",
            words: vec!["store", "import", "--file", &export],
        },
    ];
    let told: BTreeSet<&str> = acts
        .iter()
        .map(|act| act.method)
        .chain(LOOKS)
        .chain([UNBLOCK])
        .collect();
    let guarded = guarded()?;
    ensure!(
        told == guarded,
        "which of them change something, and what do they leave? {:?}",
        told.symmetric_difference(&guarded).collect::<Vec<_>>()
    );
    // An operation that is paused before its first step is in nobody's way.
    cluster.hold("start:store@store1")?;
    for (number, act) in acts.iter().enumerate() {
        if act.kind == "store-imported" {
            let exported =
                cluster.ctl("ada", Role::Admin, &["store", "export", "--file", &export])?;
            ensure!(exported.status.success(), "{exported:?}");
            cluster.kill_coordinator()?;
            fs::rename(cluster.path("coordinator"), cluster.path("coordinator.old"))?;
            cluster.start_coordinator()?;
        }
        if act.kind == "by-hand" {
            let operator = cluster.admin()?;
            // It may be over when its one step is let go.
            operator.control("op-1", "abort", "", "enough").ok();
            cluster.release("start:store@store1")?;
            eventually("the operation ends", Duration::from_secs(20), || {
                let state = operator.state("op-1")?;
                ensure!(state == "aborted" || state == "done", "it is {state}");
                Ok(())
            })?;
        }
        let (who, why) = (format!("ann{number}"), format!("because of {number}"));
        // What a device says needs no person's reason, and an import has the store that it is from.
        let has_reason = !matches!(act.kind, "power-verified" | "store-imported");
        let reason: &[&str] = if has_reason { &["--reason", &why] } else { &[] };
        let done = cluster.ctl(&who, Role::Admin, &[&act.words, reason].concat())?;
        ensure!(done.status.success(), "{:?}: {done:?}", act.words);
        let record = eventually(
            &format!("the record of {}", act.method),
            Duration::from_secs(20),
            || {
                let events = cluster.admin()?.events()?;
                let found = events.into_iter().find(|event| event.who.contains(&who));
                found.with_context(|| format!("{who} has left nothing"))
            },
        )?;
        let v1::Event {
            kind, text, at_ms, ..
        } = &record;
        ensure!(kind == act.kind && *at_ms > 0, "{}: {record:?}", act.method);
        ensure!(
            !has_reason || text.contains(&why),
            "{}: {record:?}",
            act.method
        );
    }
    Ok(())
}
