//! A coordinator that says what a test wants, over real TLS and with the real table of who may call what: for answers
//! that a real one gives only in bad moments, or never.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt as _, stream};
use interlock_mesh::authz::Table;
use interlock_mesh::credentials::{Files, open, system_clock};
use interlock_mesh::identity::Kind;
use interlock_mesh::reason::{Because as _, Reason};
use interlock_mesh::server::{Options, Server};
use interlock_proto::v1;
use interlock_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use interlock_proto::v1::event_service_server::{EventService, EventServiceServer};
use interlock_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use interlock_proto::v1::operation_service_server::{OperationService, OperationServiceServer};
use interlock_proto::v1::plan_service_server::{PlanService, PlanServiceServer};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::support::Workplace;

/// What the coordinator will say, and what it was told.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The answers to the first plans.
    pub(crate) plans: Mutex<VecDeque<v1::MakePlanResponse>>,
    /// The answer to every plan after those.
    pub(crate) plan: v1::MakePlanResponse,
    /// Why nothing is started, if so.
    pub(crate) refusal: Option<String>,
    /// What is known of the cluster.
    pub(crate) status: v1::Status,
    /// What those who watch the status are told instead, now and at each change.
    pub(crate) changing: Option<watch::Sender<v1::Status>>,
    /// The applied spec; none if it has no generation.
    pub(crate) spec: v1::GetSpecResponse,
    /// Why no spec is applied, if so.
    pub(crate) spec_refusal: Option<&'static str>,
    /// The operation that keeps a spec from being applied, if one does.
    pub(crate) spec_held: Option<&'static str>,
    /// What was applied; what is applied already is not.
    pub(crate) applied: Mutex<Vec<v1::ApplySpecRequest>>,
    /// The resource agents of nodes.
    pub(crate) agent_types: Vec<v1::NodeAgentTypes>,
    /// What happened.
    pub(crate) events: Vec<v1::Event>,
    /// Why roles moved, newest first.
    pub(crate) decisions: Vec<v1::Decision>,
    /// Operations that can be looked at, by their names.
    pub(crate) operations: BTreeMap<String, v1::Operation>,
    /// The journal of each of them.
    pub(crate) journal: Vec<v1::JournalEntry>,
    /// What was asked of them.
    pub(crate) controlled: Mutex<Vec<v1::ControlOperationRequest>>,
    /// Each watch gets the next of these, and then the end of its stream.
    pub(crate) watches: Mutex<VecDeque<Vec<v1::Operation>>>,
    /// What was started.
    pub(crate) started: Mutex<Vec<v1::StartOperationRequest>>,
    /// Streams stay open after their last message.
    pub(crate) patient: bool,
    /// What is found out about plugs.
    pub(crate) matches: Vec<v1::PowerMatch>,
    /// What an agent says of its node.
    pub(crate) node: v1::Node,
    /// Its ledger.
    pub(crate) ledger: Vec<v1::LedgerEntry>,
    /// What becomes of an instance that is started or stopped by hand.
    pub(crate) instance: v1::Instance,
}

/// A running one, and a workplace whose current context leads to it.
pub(crate) struct Scripted {
    pub(crate) place: Workplace,
    pub(crate) script: Arc<Script>,
    pub(crate) address: SocketAddr,
    // Dropped last: it ends the server.
    _runtime: tokio::runtime::Runtime,
}

impl Scripted {
    /// Starts one in a fresh cluster `shop`; the context's certificate has this role.
    pub(crate) fn start(script: Script, role: &str) -> Self {
        Self::start_as(Kind::Coordinator, script, role)
    }

    /// The agent of db1, in a fresh cluster; there is no coordinator.
    pub(crate) fn agent(script: Script, role: &str) -> Self {
        Self::start_as(Kind::Agent, script, role)
    }

    fn start_as(kind: Kind, script: Script, role: &str) -> Self {
        let place = Workplace::new();
        place.run("pki init --cluster shop").exits(0);
        place.run("pki issue coordinator mgmt1").exits(0);
        place.run("pki issue agent db1").exits(0);
        place
            .run(&format!("pki issue operator anna --role {role}"))
            .exits(0);
        let files = match kind {
            Kind::Agent => Files::named(&place.path("pki/agent/db1"), "agent"),
            _ => Files::named(&place.path("pki/coordinator/mgmt1"), "coordinator"),
        };
        let (_, credentials) = open(files, kind, system_clock()).unwrap();
        let script = Arc::new(script);
        let service = Speaker(script.clone());
        let routes = Routes::new(PlanServiceServer::new(service.clone()))
            .add_service(OperationServiceServer::new(service.clone()))
            .add_service(ClusterServiceServer::new(service.clone()))
            .add_service(NodeServiceServer::new(service.clone()))
            .add_service(EventServiceServer::new(service));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = runtime
            .block_on(Server::bind(
                SocketAddr::from(([127, 0, 0, 1], 0)),
                credentials,
                Arc::new(Table::interlock_v1()),
                Options::default(),
            ))
            .unwrap();
        let address = server.address();
        runtime.spawn(server.serve(routes, std::future::pending()));
        place
            .run(&format!(
                "context add shop --endpoint {address} --tls-dir pki/operator/anna"
            ))
            .exits(0);
        Self {
            place,
            script,
            address,
            _runtime: runtime,
        }
    }
}

#[derive(Debug, Clone)]
struct Speaker(Arc<Script>);

#[tonic::async_trait]
impl PlanService for Speaker {
    async fn make_plan(
        &self,
        _: Request<v1::MakePlanRequest>,
    ) -> Result<Response<v1::MakePlanResponse>, Status> {
        let first = self.0.plans.lock().unwrap().pop_front();
        Ok(Response::new(first.unwrap_or_else(|| self.0.plan.clone())))
    }
}

#[tonic::async_trait]
impl OperationService for Speaker {
    async fn start_operation(
        &self,
        request: Request<v1::StartOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        if let Some(why) = &self.0.refusal {
            return Err(Status::failed_precondition(why.clone()).because(Reason::PlanStale));
        }
        self.0.started.lock().unwrap().push(request.into_inner());
        let first = self.0.watches.lock().unwrap().front().cloned();
        Ok(Response::new(first.unwrap_or_default().remove(0)))
    }

    async fn list_operations(
        &self,
        _: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        Ok(Response::new(v1::ListOperationsResponse {
            operations: self.0.status.operations.clone(),
            ..Default::default()
        }))
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let found = self.0.operations.get(&request.into_inner().operation);
        let found = found.ok_or_else(|| Status::not_found("not in the script"))?;
        Ok(Response::new(found.clone()))
    }

    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<v1::Operation, Status>> + Send>>;

    async fn watch_operation(
        &self,
        _: Request<v1::GetOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let next = self.0.watches.lock().unwrap().pop_front();
        let words = stream::iter(next.unwrap_or_default().into_iter().map(Ok));
        Ok(Response::new(if self.0.patient {
            Box::pin(words.chain(stream::pending()))
        } else {
            Box::pin(words)
        }))
    }

    async fn get_journal(
        &self,
        _: Request<v1::GetJournalRequest>,
    ) -> Result<Response<v1::GetJournalResponse>, Status> {
        Ok(Response::new(v1::GetJournalResponse {
            entries: self.0.journal.clone(),
            more: false,
        }))
    }

    async fn control_operation(
        &self,
        request: Request<v1::ControlOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let request = request.into_inner();
        let after = self.0.operations.get(&request.operation).cloned();
        self.0.controlled.lock().unwrap().push(request);
        Ok(Response::new(after.unwrap_or_default()))
    }
}

#[tonic::async_trait]
impl ClusterService for Speaker {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::Status>, Status> {
        Ok(Response::new(self.0.status.clone()))
    }

    type WatchStatusStream = Pin<Box<dyn Stream<Item = Result<v1::Status, Status>> + Send>>;

    async fn watch_status(
        &self,
        _: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        if let Some(changing) = &self.0.changing {
            let mut told = changing.subscribe();
            told.mark_changed();
            let each = stream::unfold(told, async |mut told| {
                told.changed().await.ok()?;
                let status = told.borrow_and_update().clone();
                Some((Ok(status), told))
            });
            return Ok(Response::new(Box::pin(each)));
        }
        let once = stream::iter([Ok(self.0.status.clone())]);
        Ok(Response::new(Box::pin(once.chain(stream::pending()))))
    }

    async fn get_spec(
        &self,
        _: Request<v1::GetSpecRequest>,
    ) -> Result<Response<v1::GetSpecResponse>, Status> {
        match self.0.spec.generation {
            0 => Err(Status::not_found("no spec is applied yet")),
            _ => Ok(Response::new(self.0.spec.clone())),
        }
    }

    async fn apply_spec(
        &self,
        request: Request<v1::ApplySpecRequest>,
    ) -> Result<Response<v1::ApplySpecResponse>, Status> {
        if let Some(why) = self.0.spec_refusal {
            return Err(Status::failed_precondition(why));
        }
        let request = request.into_inner();
        let applied = &self.0.spec;
        if request.base == applied.generation && request.source == applied.source {
            return Ok(Response::new(v1::ApplySpecResponse {
                generation: request.base,
                unchanged: true,
                ..Default::default()
            }));
        }
        if request.dry_run {
            return Ok(Response::new(v1::ApplySpecResponse {
                generation: request.base,
                changes: vec!["~ what would change".to_owned()],
                let_go: vec!["web on web3 is running and goes on".to_owned()],
                held: self.0.spec_held.into_iter().map(str::to_owned).collect(),
                ..Default::default()
            }));
        }
        let generation = request.base + 1;
        self.0.applied.lock().unwrap().push(request);
        Ok(Response::new(v1::ApplySpecResponse {
            generation,
            ..Default::default()
        }))
    }

    async fn list_agent_types(
        &self,
        request: Request<v1::ListAgentTypesRequest>,
    ) -> Result<Response<v1::ListAgentTypesResponse>, Status> {
        let wanted = request.into_inner().node;
        let mut nodes = self.0.agent_types.clone();
        nodes.retain(|it| wanted.is_empty() || it.node == wanted);
        Ok(Response::new(v1::ListAgentTypesResponse { nodes }))
    }

    async fn verify_power(
        &self,
        _: Request<v1::VerifyPowerRequest>,
    ) -> Result<Response<v1::VerifyPowerResponse>, Status> {
        Ok(Response::new(v1::VerifyPowerResponse {
            matches: self.0.matches.clone(),
        }))
    }

    async fn enter_maintenance(
        &self,
        request: Request<v1::EnterMaintenanceRequest>,
    ) -> Result<Response<v1::Maintenance>, Status> {
        let request = request.into_inner();
        Ok(Response::new(v1::Maintenance {
            scope: request.scope,
            owner: "anna".to_owned(),
            reason: request.reason,
            since_ms: 1_000,
            until_ms: 1_000 + request.for_ms,
        }))
    }

    async fn leave_maintenance(
        &self,
        request: Request<v1::LeaveMaintenanceRequest>,
    ) -> Result<Response<v1::Maintenance>, Status> {
        let wanted = request.into_inner().scope;
        let mut all = self.0.status.maintenance.iter();
        let found = all.find(|it| it.scope == wanted).cloned();
        found
            .map(Response::new)
            .ok_or_else(|| Status::not_found("it is not in maintenance"))
    }

    async fn unblock_failover(
        &self,
        request: Request<v1::UnblockFailoverRequest>,
    ) -> Result<Response<v1::UnblockFailoverResponse>, Status> {
        let service = request.into_inner().service;
        let blocks = self.0.status.blocks.iter();
        let ended: Vec<v1::FailoverBlock> = blocks
            .filter(|it| service.is_empty() || it.service == service)
            .cloned()
            .collect();
        if ended.is_empty() {
            return Err(Status::not_found(format!("{service} is not blocked")));
        }
        Ok(Response::new(v1::UnblockFailoverResponse { ended }))
    }

    async fn list_maintenance(
        &self,
        _: Request<v1::ListMaintenanceRequest>,
    ) -> Result<Response<v1::ListMaintenanceResponse>, Status> {
        Ok(Response::new(v1::ListMaintenanceResponse {
            maintenance: self.0.status.maintenance.clone(),
        }))
    }
}

#[tonic::async_trait]
impl NodeService for Speaker {
    async fn get_node(&self, _: Request<v1::GetNodeRequest>) -> Result<Response<v1::Node>, Status> {
        Ok(Response::new(self.0.node.clone()))
    }

    async fn list_attempts(
        &self,
        _: Request<v1::ListAttemptsRequest>,
    ) -> Result<Response<v1::ListAttemptsResponse>, Status> {
        Ok(Response::new(v1::ListAttemptsResponse {
            entries: self.0.ledger.clone(),
        }))
    }

    async fn control_instance(
        &self,
        _: Request<v1::ControlInstanceRequest>,
    ) -> Result<Response<v1::ControlInstanceResponse>, Status> {
        Ok(Response::new(v1::ControlInstanceResponse {
            instance: Some(self.0.instance.clone()),
            evidence: "seen".to_owned(),
        }))
    }
}

#[tonic::async_trait]
impl EventService for Speaker {
    async fn list_events(
        &self,
        _: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        Ok(Response::new(v1::ListEventsResponse {
            events: self.0.events.clone(),
            more: false,
        }))
    }

    async fn list_decisions(
        &self,
        request: Request<v1::ListDecisionsRequest>,
    ) -> Result<Response<v1::ListDecisionsResponse>, Status> {
        let asked = request.into_inner();
        let decisions = self.0.decisions.iter().filter(|decision| {
            decision.service == asked.service && [0, decision.epoch].contains(&asked.epoch)
        });
        let decisions = decisions.take(asked.limit as usize).cloned().collect();
        Ok(Response::new(v1::ListDecisionsResponse { decisions }))
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

    /// A quiet cluster.
    async fn watch_events(
        &self,
        _: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        Ok(Response::new(Box::pin(stream::pending())))
    }
}
