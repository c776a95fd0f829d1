//! `ClusterService`: the spec, and what is observed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use interlock_engine::coordinator::{Applied, AppliedSpec, By, NoSpec, spec_key};
use interlock_mesh::reason::{Because as _, Reason};
use interlock_mesh::server::PeerIdentity;
use interlock_model::ids::Generation;
use interlock_model::names::NodeName;
use interlock_model::ocf::{Installed, OF_ROLES};
use interlock_model::spec::{Spec, diff};
use interlock_proto::convert::installed_to_wire;
use interlock_proto::v1;
use interlock_proto::v1::cluster_service_server::ClusterService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Caller, MAX_REASON, blocks, bounded, held, maintenance, next_change, power, render};
use crate::clock;
use crate::driver::{Desk, Handle, read_json};
use crate::store::{Key, Store};

/// How often a watcher hears of nothing but ages.
const AT_MOST: Duration = Duration::from_secs(2);

/// The longest name of a file, in bytes: it is kept with the spec.
const MAX_FILE_NAME: usize = 1000;

/// Serves `ClusterService`.
#[derive(Debug, Clone)]
pub struct Cluster {
    driver: Handle,
    store: Arc<dyn Store>,
}

impl Cluster {
    /// The service over this driver and its store.
    #[must_use]
    pub fn new(driver: Handle, store: Arc<dyn Store>) -> Self {
        Self { driver, store }
    }
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::Status>, Status> {
        Ok(Response::new(
            self.driver
                .call(|desk| render::status(desk, clock::now()))
                .await?,
        ))
    }

    type WatchStatusStream = Pin<Box<dyn Stream<Item = Result<v1::Status, Status>> + Send>>;

    async fn watch_status(
        &self,
        request: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let at_least = match request.into_inner().min_interval_ms {
            0 => Duration::from_millis(250),
            millis => Duration::from_millis(millis.clamp(50, 60_000)),
        };
        let driver = self.driver.clone();
        let (sender, receiver) = mpsc::channel(2);
        tokio::spawn(async move {
            let mut changes = driver.changes();
            while let Ok(status) = driver.call(|desk| render::status(desk, clock::now())).await {
                if sender.send(Ok(status)).await.is_err()
                    || !next_change(&mut changes, at_least, AT_MOST).await
                {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_spec(
        &self,
        request: Request<v1::GetSpecRequest>,
    ) -> Result<Response<v1::GetSpecResponse>, Status> {
        let wanted = Generation(request.into_inner().generation);
        let (newest, current) = self
            .driver
            .call(|desk| {
                let why = || {
                    desk.coordinator
                        .plannable()
                        .err()
                        .unwrap_or(NoSpec::NotApplied)
                };
                let record = desk.coordinator.spec_record().cloned().ok_or_else(why);
                (record, desk.coordinator.generation())
            })
            .await?;
        let record = match newest {
            Ok(newest) if wanted.0 == 0 || wanted == current => newest,
            Err(why) if wanted.0 == 0 || wanted == current || current.0 == 0 => {
                return Err(Status::not_found(why.to_string()).because(Reason::NoSpec));
            }
            Ok(_) | Err(_) => {
                let key = Key::new(spec_key(wanted))
                    .map_err(|error| Status::internal(error.to_string()))?;
                let entry = self
                    .store
                    .get(&key)
                    .await
                    .map_err(|error| Status::unavailable(error.to_string()))?;
                let entry = entry.ok_or_else(|| {
                    Status::not_found(format!(
                        "there is no generation {wanted}; the current one is {current}"
                    ))
                })?;
                read_json::<AppliedSpec>(&entry.key, &entry.value)
                    .map_err(|error| Status::internal(error.to_string()))?
            }
        };
        Ok(Response::new(v1::GetSpecResponse {
            generation: record.generation.0,
            source: record.source.into_bytes(),
            applied_by: record.by,
            applied_ms: record.at.0,
        }))
    }

    async fn apply_spec(
        &self,
        request: Request<v1::ApplySpecRequest>,
    ) -> Result<Response<v1::ApplySpecResponse>, Status> {
        let caller = Caller::of(&request)?;
        // Who calls was let in as a member of the cluster whose certificates this coordinator has.
        let own = PeerIdentity::of(request.extensions())?
            .identity()
            .cluster()
            .clone();
        let request = request.into_inner();
        bounded("file_name", &request.file_name, MAX_FILE_NAME)?;
        let agents = self.driver.call(|desk| resource_agents(desk)).await?;
        let parsed =
            Spec::parse_for(&request.source, &request.file_name, &agents).map_err(|problems| {
                Status::invalid_argument(problems.render(&request.source))
                    .because(Reason::SpecInvalid)
            })?;
        let source = String::from_utf8(request.source)
            .map_err(|_| Status::invalid_argument("the file is not UTF-8"))?;
        let (base, dry_run, file_name) =
            (Generation(request.base), request.dry_run, request.file_name);
        bounded("reason", &request.reason, MAX_REASON)?;
        let reason = request.reason;
        let warnings = parsed.warnings.iter().map(ToString::to_string).collect();
        let spec = Arc::new(parsed.spec);
        if spec.cluster != own {
            return Err(Status::failed_precondition(format!(
                "this coordinator and its certificates are of the cluster {own}, and {file_name} is for {other}: apply it at a \
                 coordinator of {other}, or correct `cluster` in the file",
                other = spec.cluster
            ))
            .because(Reason::OtherCluster));
        }
        if !dry_run {
            self.driver.can_write()?;
        }
        let applied = self
            .driver
            .call_soon(move |desk| {
                let current = desk.coordinator.generation();
                if base != current {
                    return Err(Status::aborted(format!(
                        "this file was made for generation {base}, and {current} is applied: look at \
                         `interlockctl spec diff FILE` and apply again with --base {current}"
                    ))
                    .because(Reason::SpecStale));
                }
                let is_applied = |it: &Applied| it.record.source == source;
                if desk.coordinator.applied().is_some_and(is_applied) {
                    let unchanged = v1::ApplySpecResponse { unchanged: true, ..v1::ApplySpecResponse::default() };
                    return Ok((current, unchanged));
                }
                let held = held::by_all(&desk.coordinator);
                if let (false, [first, ..]) = (dry_run, &held[..]) {
                    return Err(Status::failed_precondition(format!("{first}: a spec is applied only while no operation runs"))
                        .because(Reason::Held));
                }
                let changes: Vec<String> = match desk.coordinator.applied() {
                    Some(applied) => diff(&applied.spec, &spec).iter().map(ToString::to_string).collect(),
                    None if current != Generation(0) => {
                        vec![format!("what differs from generation {current} cannot be told: it cannot be read")]
                    }
                    None => vec![format!("the first spec of {}", spec.cluster)],
                };
                let mut let_go = desk.coordinator.would_let_go(&spec);
                let_go.extend(desk.coordinator.may_run_by_other_parts(&spec));
                let runs = desk.coordinator.runs_by_other_parts(&spec);
                if !dry_run && !runs.is_empty() {
                    return Err(Status::failed_precondition(runs.join("\n")).because(Reason::SpecRuns));
                }
                let_go.extend(runs);
                let generation = if dry_run {
                    current
                } else {
                    let by = By { who: &caller.name, why: &reason };
                    desk.coordinator.apply_spec(spec, source, file_name, by, clock::now())
                };
                let found = v1::ApplySpecResponse { changes, let_go, held, ..v1::ApplySpecResponse::default() };
                Ok((generation, found))
            })
            .await?;
        let (generation, found) = applied?;
        Ok(Response::new(v1::ApplySpecResponse {
            generation: generation.0,
            warnings,
            ..found
        }))
    }

    async fn list_agent_types(
        &self,
        request: Request<v1::ListAgentTypesRequest>,
    ) -> Result<Response<v1::ListAgentTypesResponse>, Status> {
        let wanted = request.into_inner().node;
        let nodes: Vec<v1::NodeAgentTypes> = self
            .driver
            .call(move |desk| {
                let spec = desk.coordinator.applied().map(|applied| &applied.spec);
                // Those on which no agent runs have nothing to tell.
                let is_mute = |node: &NodeName| {
                    let declared = spec.and_then(|spec| spec.nodes.get(node));
                    declared.is_some_and(|node| node.agentless.is_some())
                };
                let known = desk
                    .coordinator
                    .view()
                    .nodes()
                    .filter(|(node, _)| !is_mute(node));
                let named = known.filter(|(node, _)| wanted.is_empty() || node.as_str() == wanted);
                let told = named.map(|(node, seen)| {
                    let mut agents = seen.agents.as_ref().map(installed_to_wire);
                    let types = agents.iter_mut().flat_map(|agents| &mut agents.types);
                    // Of a thousand nodes they would be too much. What tells whether it has roles stays.
                    for known in types.filter(|_| wanted.is_empty()) {
                        known.parameters.clear();
                        known
                            .actions
                            .retain(|action| OF_ROLES.contains(&action.name.as_str()));
                    }
                    v1::NodeAgentTypes {
                        node: node.to_string(),
                        agents,
                    }
                });
                match told.collect::<Vec<_>>() {
                    none if none.is_empty() && !wanted.is_empty() => {
                        Err(Status::not_found(format!("no node '{wanted}' is known")))
                    }
                    told => Ok(told),
                }
            })
            .await??;
        Ok(Response::new(v1::ListAgentTypesResponse { nodes }))
    }

    async fn verify_power(
        &self,
        request: Request<v1::VerifyPowerRequest>,
    ) -> Result<Response<v1::VerifyPowerResponse>, Status> {
        let caller = Caller::of(&request)?;
        let matches = power::verify(&self.driver, request.into_inner(), &caller.name).await?;
        Ok(Response::new(v1::VerifyPowerResponse { matches }))
    }

    async fn enter_maintenance(
        &self,
        request: Request<v1::EnterMaintenanceRequest>,
    ) -> Result<Response<v1::Maintenance>, Status> {
        let by = Caller::of(&request)?.name;
        let entered = maintenance::enter(&self.driver, request.into_inner(), by).await?;
        Ok(Response::new(entered))
    }

    async fn leave_maintenance(
        &self,
        request: Request<v1::LeaveMaintenanceRequest>,
    ) -> Result<Response<v1::Maintenance>, Status> {
        let by = Caller::of(&request)?.name;
        let left = maintenance::leave(&self.driver, request.into_inner(), by).await?;
        Ok(Response::new(left))
    }

    async fn unblock_failover(
        &self,
        request: Request<v1::UnblockFailoverRequest>,
    ) -> Result<Response<v1::UnblockFailoverResponse>, Status> {
        let by = Caller::of(&request)?.name;
        let ended = blocks::unblock(&self.driver, request.into_inner(), by).await?;
        Ok(Response::new(ended))
    }

    async fn list_maintenance(
        &self,
        _: Request<v1::ListMaintenanceRequest>,
    ) -> Result<Response<v1::ListMaintenanceResponse>, Status> {
        let all = self
            .driver
            .call(|desk| maintenance::all(&desk.coordinator))
            .await?;
        Ok(Response::new(v1::ListMaintenanceResponse {
            maintenance: all,
        }))
    }
}

/// The resource agents of the nodes whose agents are connected. What others said may not be so any more, and must not
/// keep anybody from applying a spec.
fn resource_agents(desk: &Desk) -> BTreeMap<NodeName, Installed> {
    let view = desk.coordinator.view();
    view.nodes()
        .filter(|(node, _)| view.connected(node))
        .filter_map(|(node, seen)| Some((node.clone(), seen.agents.clone()?)))
        .collect()
}
