//! `ClusterService.VerifyPower`: whose the plugs are.

use std::time::Duration;

use interlock_engine::coordinator::{Finding, Proof, Standing};
use interlock_mesh::reason::{Because as _, Reason};
use interlock_model::names::NodeName;
use interlock_proto::convert::name;
use interlock_proto::v1;
use tokio::time::Instant;
use tonic::Status;

use crate::clock;
use crate::driver::{Desk, Handle};

/// How many nodes are asked about at a time. A device answers one question after the other, and what waits longer than
/// its limit is not answered at all.
const AT_ONCE: usize = 8;

/// How long the answers about those are waited for: some limits of a device (`timeout` in the spec).
const ANSWERS: Duration = Duration::from_secs(60);

/// How long all answers are waited for: the deadline of the contract (`cluster.proto`), less the time for the last.
const ALL_ANSWERS: Duration = Duration::from_secs(110);

/// How often it is looked whether an answer has come.
const LOOK: Duration = Duration::from_millis(50);

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
    let end = Instant::now() + ALL_ANSWERS;
    let mut matches = Vec::new();
    for some in nodes.chunks(AT_ONCE) {
        let begun = some.to_vec();
        let since = driver
            .begin(move |desk| {
                let now = clock::now();
                desk.coordinator.begin_verification(&begun, now);
                now.mono
            })
            .await?;
        let give_up = end.min(Instant::now() + ANSWERS);
        for node in some {
            matches.extend(one(driver, node, since, give_up, attest.clone(), by).await?);
        }
    }
    Ok(matches)
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

/// Waits for what is found out about one node; none if the spec has lost it meanwhile.
async fn one(
    driver: &Handle,
    node: &NodeName,
    since: Duration,
    give_up: Instant,
    attest: Option<String>,
    by: &str,
) -> Result<Option<v1::PowerMatch>, Status> {
    loop {
        let at_last = Instant::now() >= give_up;
        let (about, reason, by) = (node.clone(), attest.clone(), by.to_owned());
        let finding = driver
            .call_soon(move |desk| {
                let reason = reason.as_deref();
                let now = clock::now();
                desk.coordinator
                    .finding(&about, since, at_last, reason, &by, now)
            })
            .await?;
        if finding.is_some() || at_last {
            return Ok(finding.map(to_wire));
        }
        driver.can_write()?;
        tokio::time::sleep(LOOK).await;
    }
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
