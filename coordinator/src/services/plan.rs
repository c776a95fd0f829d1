//! `PlanService`: what would be done.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use interlock_model::check::CheckId;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::Liveness;
use interlock_model::plan::PlanKind;
use interlock_planner::{Request as PlanRequest, Scope};
use interlock_proto::convert::{Invalid, name};
use interlock_proto::v1;
use interlock_proto::v1::plan_service_server::PlanService;
use tonic::{Request, Response, Status};

use crate::clock;
use crate::driver::Handle;

/// How long a plan waits for power sources to say how silent nodes are. One question takes a fence agent one to some
/// seconds, and a device answers one after the other; without an answer by then the planner sees *unknown*, and says so.
const ANSWERS: Duration = Duration::from_secs(90);

/// How old the answer of a power source may be for a plan.
const FRESH: Duration = Duration::from_secs(60);

/// Serves `PlanService`.
#[derive(Debug, Clone)]
pub struct Plans {
    driver: Handle,
}

impl Plans {
    /// The service over this driver.
    #[must_use]
    pub fn new(driver: Handle) -> Self {
        Self { driver }
    }

    /// Asks the power sources of silent nodes, and waits for them for a while.
    async fn ask_power(&self) -> Result<(), Status> {
        let give_up = tokio::time::Instant::now() + ANSWERS;
        loop {
            let open = self
                .driver
                .call(|desk| {
                    let now = clock::now();
                    let Some(applied) = desk.coordinator.applied() else {
                        return 0;
                    };
                    let silent: Vec<NodeName> = applied
                        .spec
                        .nodes
                        .values()
                        .filter(|node| {
                            node.power.is_some() && !desk.coordinator.view().alive(&node.name)
                        })
                        .filter(|node| {
                            let since = now.mono.saturating_sub(FRESH);
                            desk.coordinator
                                .view()
                                .power_since(&node.name, since)
                                .is_none()
                        })
                        .map(|node| node.name.clone())
                        .collect();
                    for node in &silent {
                        desk.coordinator.ask_power(node, now);
                    }
                    silent.len()
                })
                .await?;
            if open == 0 || tokio::time::Instant::now() >= give_up {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits a moment for nodes that were heard of and have not reported yet: a session that has just been opened.
    async fn settle(&self) -> Result<(), Status> {
        for _ in 0..20 {
            let waiting = self
                .driver
                .call(|desk| {
                    let Some(applied) = desk.coordinator.applied() else {
                        return false;
                    };
                    // A hello tells the generation; the instances follow it.
                    let has_instances = |node: &NodeName| {
                        let mut services = applied.spec.services.values();
                        services.any(|service| service.nodes.contains(node))
                    };
                    desk.coordinator.view().nodes().any(|(node, seen)| {
                        seen.session.is_some()
                            && seen.liveness == Liveness::Alive
                            && (seen.generation != applied.record.generation
                                || seen.instances.is_empty() && has_instances(node))
                    })
                })
                .await?;
            if !waiting {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl PlanService for Plans {
    async fn make_plan(
        &self,
        request: Request<v1::MakePlanRequest>,
    ) -> Result<Response<v1::MakePlanResponse>, Status> {
        let request = plan_request(&request.into_inner())?;
        self.settle().await?;
        self.ask_power().await?;
        let response = self
            .driver
            .call(move |desk| {
                let outcome = desk.plan(request.clone()).ok_or_else(|| {
                    Status::failed_precondition(
                        "no spec is applied: `interlockctl spec apply FILE` first",
                    )
                })?;
                let report_json = serde_json::to_string(&outcome.report).map_err(|error| {
                    Status::internal(format!("the report cannot be written: {error}"))
                })?;
                let mut response = v1::MakePlanResponse {
                    digest: String::new(),
                    plan_json: String::new(),
                    report_json,
                    generation: desk.coordinator.generation().0,
                };
                if let Some(plan) = outcome.plan {
                    response.digest = plan.digest().to_string();
                    response.plan_json = String::from_utf8_lossy(plan.bytes()).into_owned();
                    desk.keep(plan, request);
                }
                Ok::<_, Status>(response)
            })
            .await??;
        Ok(Response::new(response))
    }
}

fn plan_request(wire: &v1::MakePlanRequest) -> Result<PlanRequest, Invalid> {
    let kind = match wire.kind.as_str() {
        "shutdown" => PlanKind::Shutdown,
        "startup" => PlanKind::Startup,
        "restart" => PlanKind::Restart,
        "reboot" => PlanKind::Reboot,
        other => {
            return Err(Invalid::new(
                "kind",
                format!("'{other}' is not shutdown, startup, restart or reboot"),
            ));
        }
    };
    let mut request = PlanRequest::new(kind, scope(wire)?);
    request.batch = NonZeroU32::new(wire.batch);
    request.serial = wire.serial;
    request.force = wire
        .force
        .iter()
        .map(|text| check_id(text))
        .collect::<Result<BTreeSet<_>, _>>()?;
    request.assume_active = wire
        .assume_active
        .iter()
        .map(|(service, node)| {
            Ok((
                name::<ServiceName>("assume_active", service)?,
                name::<NodeName>("assume_active", node)?,
            ))
        })
        .collect::<Result<BTreeMap<_, _>, Invalid>>()?;
    Ok(request)
}

fn scope(wire: &v1::MakePlanRequest) -> Result<Scope, Invalid> {
    let given = [
        wire.all,
        !wire.services.is_empty(),
        !wire.nodes.is_empty(),
        !wire.label.is_empty(),
        !wire.host.is_empty(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Invalid::new(
            "scope",
            "name exactly one of all, services, nodes, label, host",
        ));
    }
    if wire.all {
        return Ok(Scope::All);
    }
    if !wire.services.is_empty() {
        return Ok(Scope::Services(
            wire.services
                .iter()
                .map(|text| name("services", text))
                .collect::<Result<_, _>>()?,
        ));
    }
    if !wire.nodes.is_empty() {
        return Ok(Scope::Nodes(
            wire.nodes
                .iter()
                .map(|text| name("nodes", text))
                .collect::<Result<_, _>>()?,
        ));
    }
    if !wire.host.is_empty() {
        return Ok(Scope::Host(name("host", &wire.host)?));
    }
    match wire.label.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Scope::Label {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(Invalid::new(
            "label",
            format!("'{}' is not key=value", wire.label),
        )),
    }
}

fn check_id(text: &str) -> Result<CheckId, Invalid> {
    let (service, check) = text
        .split_once('.')
        .ok_or_else(|| Invalid::new("force", format!("'{text}' is not SERVICE.CHECK")))?;
    Ok(CheckId {
        service: name("force", service)?,
        check: name("force", check)?,
    })
}
