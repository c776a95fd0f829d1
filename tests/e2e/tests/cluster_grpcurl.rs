//! A person with grpcurl can do what interlockctl does: the real program, over mutual TLS, by reflection.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Life, for_all, shop};
use interlock_e2e::{eventually, run, skip, tools};
use interlock_mesh::identity::Role;
use serde_json::{Value, json};

/// grpcurl as an operator of this cluster.
struct Caller {
    arguments: Vec<String>,
    address: String,
}

impl Caller {
    fn new(cluster: &Cluster, address: String, role: Role) -> Result<Self> {
        let files = cluster.authority().operator("greta", role, Life::Now)?;
        let flags = [
            ("-cacert", &files.authority),
            ("-cert", &files.certificate),
            ("-key", &files.key),
        ];
        let arguments = flags
            .into_iter()
            .flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]);
        Ok(Self {
            arguments: arguments.collect(),
            address,
        })
    }

    fn list(&self) -> Result<String> {
        run(Command::new(tools::grpcurl()?)
            .args(&self.arguments)
            .arg(&self.address)
            .arg("list"))
    }

    fn call(&self, method: &str, request: &Value) -> Result<Value> {
        let mut command = Command::new(tools::grpcurl()?);
        command
            .args(&self.arguments)
            .args(["-d", &request.to_string(), &self.address, method]);
        let answer = run(&mut command)?;
        serde_json::from_str(&answer).with_context(|| format!("{method} answered: {answer}"))
    }
}

/// The server lists these services and what every server has, and nothing that it would not answer; by both versions of
/// reflection, of which older tools know only one.
fn must_list(server: &Caller, own: &[&str]) -> Result<()> {
    let common = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    let own = own.iter().map(|name| format!("interlock.v1.{name}"));
    let wanted: Vec<String> = common.map(String::from).into_iter().chain(own).collect();
    let listed = server.list()?;
    let listed: Vec<&str> = listed.lines().collect();
    ensure!(listed == wanted, "it lists {listed:?}");
    for version in ["v1", "v1alpha"] {
        let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = server.call(&method, &json!({ "list_services": "" }))?;
        let named = answer["listServicesResponse"]["service"].as_array();
        ensure!(
            named.map(Vec::len) == Some(wanted.len()),
            "{version} answers {answer}"
        );
    }
    for service in wanted.iter().map(String::as_str).chain([""]) {
        let request = json!({ "service": service });
        let health = server.call("grpc.health.v1.Health/Check", &request)?;
        ensure!(
            health["status"] == "SERVING",
            "health of '{service}': {health}"
        );
    }
    Ok(())
}

#[test]
fn grpcurl_lists_and_calls_the_coordinator_and_an_agent() -> Result<()> {
    if let Err(why) = tools::grpcurl() {
        skip("the servers with grpcurl", &why.to_string());
        return Ok(());
    }
    let cluster = Cluster::start(&shop::layout())?;
    let coordinator = Caller::new(&cluster, cluster.endpoint(), Role::Operator)?;
    must_list(
        &coordinator,
        &[
            "AgentService",
            "ClusterService",
            "EventService",
            "LogRelayService",
            "LogService",
            "OperationService",
            "PlanService",
            "StoreService",
        ],
    )?;
    let status = coordinator.call("interlock.v1.ClusterService/GetStatus", &json!({}))?;
    ensure!(
        status["cluster"] == "local" && status["nodes"].as_array().map(Vec::len) == Some(6),
        "{status}"
    );

    // A whole operation without any program of Interlock on the operator's side, looked at in the middle.
    cluster.hold("start:web@web1")?;
    let request = json!({ "kind": "startup", "all": true, "assume_active": { "db": "db1" } });
    let plan = coordinator.call("interlock.v1.PlanService/MakePlan", &request)?;
    let request =
        json!({ "digest": plan["digest"], "confirm_cluster": "local", "reason": "by hand" });
    let operation = coordinator.call("interlock.v1.OperationService/StartOperation", &request)?;
    let operation = operation["summary"]["operation"]
        .as_str()
        .context("no operation")?
        .to_owned();
    let agent = Caller::new(&cluster, cluster.agent_endpoint("web1")?, Role::Reader)?;
    eventually("the step is in the ledger", Duration::from_secs(20), || {
        let ledger = agent.call("interlock.v1.NodeService/ListAttempts", &json!({}))?;
        let id = &ledger["entries"][0]["report"]["id"];
        ensure!(id["step"] == "start:web@web1", "ledger: {ledger}");
        Ok(())
    })?;
    cluster.release("start:web@web1")?;
    cluster.admin()?.until(&operation, "done")?;
    let journal = coordinator.call(
        "interlock.v1.OperationService/GetJournal",
        &json!({ "operation": operation }),
    )?;
    ensure!(
        journal["entries"]
            .as_array()
            .is_some_and(|entries| entries.len() > 18),
        "journal: {journal}"
    );

    must_list(&agent, &["NodeService", "PeerService"])?;
    let request = json!({ "service": "interlock.v1.ClusterService" });
    let other = agent.call("grpc.health.v1.Health/Check", &request);
    ensure!(other.is_err(), "an agent is no coordinator: {other:?}");
    let node = agent.call("interlock.v1.NodeService/GetNode", &json!({}))?;
    ensure!(
        node["node"] == "web1" && node["instances"][0]["state"] == "INSTANCE_STATE_RUNNING",
        "node: {node}"
    );
    let refused = agent.call(
        "interlock.v1.NodeService/ControlInstance",
        &json!({ "service": "web", "verb": "stop" }),
    );
    let refused = format!("{:#}", refused.unwrap_err());
    ensure!(
        refused.contains("PermissionDenied") && refused.contains("greta"),
        "{refused}"
    );
    let nobody = Caller {
        arguments: vec!["-insecure".to_owned()],
        address: cluster.endpoint(),
    };
    ensure!(
        nobody.list().is_err(),
        "somebody without a certificate was answered"
    );
    cluster.admin()?.run(&for_all("shutdown"))?;
    Ok(())
}
