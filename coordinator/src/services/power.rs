//! `ClusterService.VerifyPower`: whose the plugs are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_engine::coordinator::{Finding, Proof, Standing};
use interlock_mesh::reason::{Because as _, Reason};
use interlock_model::names::{NodeName, PowerName};
use interlock_proto::convert::name;
use interlock_proto::v1;
use tokio::time::Instant;
use tonic::Status;

use super::patience::Patience;
use crate::clock;
use crate::driver::{Desk, Handle};

/// How often it is looked whether an answer has come.
const LOOK: Duration = Duration::from_millis(100);

/// Asks about the nodes of the request, waits for the answers, and records what they prove.
pub(super) async fn verify(
    driver: &Handle,
    request: v1::VerifyPowerRequest,
    by: &str,
) -> Result<Vec<v1::PowerMatch>, Status> {
    let named: Vec<NodeName> = request
        .nodes
        .iter()
        .map(|node| name("nodes", node))
        .collect::<Result<_, _>>()?;
    let attest = Some(request.attest.trim().to_owned()).filter(|reason| !reason.is_empty());
    let nodes = driver.call(move |desk| chosen(desk, &named)).await??;
    let (asked, about) = (Instant::now(), nodes.clone());
    let (since, calls) = driver
        .begin(move |desk| {
            let now = clock::now();
            desk.coordinator.begin_verification(&about, now);
            (now.mono, calls(desk, &about))
        })
        .await?;
    let (mut found, mut patience) = (BTreeMap::new(), Patience::default());
    let mut open = nodes.clone();
    loop {
        let at_last = !patience.waits(asked.elapsed(), open.len(), calls.iter().copied());
        let (about, reason, by) = (open.clone(), attest.clone(), by.to_owned());
        let findings = driver
            .call_soon(move |desk| {
                let now = clock::now();
                let find = |node| {
                    let reason = reason.as_deref();
                    let coordinator = &mut desk.coordinator;
                    coordinator.finding(node, since, at_last, reason, &by, now)
                };
                about.iter().filter_map(find).collect::<Vec<Finding>>()
            })
            .await?;
        found.extend(findings.into_iter().map(|it| (it.node.clone(), it)));
        open.retain(|node| !found.contains_key(node));
        // What has nothing at last is what the spec has lost meanwhile.
        if open.is_empty() || at_last {
            break;
        }
        driver.can_write()?;
        tokio::time::sleep(LOOK).await;
    }
    let found = nodes.iter().filter_map(|node| found.remove(node));
    Ok(found.map(to_wire).collect())
}

/// The limits of all calls that it takes: one about each node, and the list of each device.
fn calls(desk: &Desk, nodes: &[NodeName]) -> Vec<Duration> {
    let Some(applied) = desk.coordinator.applied() else {
        return Vec::new();
    };
    let spec = &applied.spec;
    let powers = nodes.iter().filter_map(|node| {
        let power = spec.nodes.get(node)?.power.as_ref()?;
        Some(&power.by)
    });
    let lists: BTreeSet<&PowerName> = powers.clone().collect();
    let devices = powers.chain(lists);
    let devices = devices.filter_map(|device| spec.power.get(device));
    devices.map(|device| device.timeout).collect()
}

/// The nodes that are meant: those with power if none is named.
fn chosen(desk: &Desk, named: &[NodeName]) -> Result<Vec<NodeName>, Status> {
    let applied = desk
        .coordinator
        .applied()
        .ok_or_else(|| Status::failed_precondition("no spec is applied").because(Reason::NoSpec))?;
    if named.is_empty() {
        let nodes = applied.spec.nodes.values();
        return Ok(nodes
            .filter(|node| node.power.is_some())
            .map(|node| node.name.clone())
            .collect());
    }
    for node in named {
        match applied.spec.nodes.get(node) {
            None => return Err(Status::not_found(format!("the spec has no node {node}"))),
            Some(declared) if declared.power.is_none() => {
                return Err(Status::failed_precondition(format!(
                    "{node} has no power in the spec"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(named.to_vec())
}

fn to_wire(finding: Finding) -> v1::PowerMatch {
    let mut found = v1::PowerMatch {
        node: finding.node.to_string(),
        device: finding.device.to_string(),
        plug: finding.plug,
        power: v1::Power::from(finding.power).into(),
        detail: finding.detail,
        ..v1::PowerMatch::default()
    };
    let proof = match finding.standing {
        Standing::Proven(verified) => {
            found.matched_by = verified.how;
            found.since_ms = verified.at.0;
            found.by = verified.by;
            match verified.proof {
                Proof::Alias => v1::PlugProof::Alias,
                Proof::Uuid => v1::PlugProof::Uuid,
                Proof::Attested => v1::PlugProof::Attested,
            }
        }
        Standing::Contradicted {
            expected,
            found: says,
        } => {
            found.expected = expected;
            found.found = says;
            v1::PlugProof::Contradicted
        }
        Standing::Unproven => v1::PlugProof::Unproven,
    };
    found.set_proof(proof);
    found
}
