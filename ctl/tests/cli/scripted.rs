//! A coordinator that says what a test wants, over real TLS and with the real table of who may call what: for answers
//! that a real one gives only in bad moments, or never.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, stream};
use interlock_mesh::authz::Table;
use interlock_mesh::credentials::{Files, open, system_clock};
use interlock_mesh::identity::Kind;
use interlock_mesh::server::{Options, Server};
use interlock_proto::v1;
use interlock_proto::v1::operation_service_server::{OperationService, OperationServiceServer};
use interlock_proto::v1::plan_service_server::{PlanService, PlanServiceServer};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::support::Workplace;

/// What the coordinator will say, and what it was told.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The answer to every plan.
    pub(crate) plan: v1::MakePlanResponse,
    /// Each watch gets the next of these, and then the end of its stream.
    pub(crate) watches: Mutex<VecDeque<Vec<v1::Operation>>>,
    /// What was started.
    pub(crate) started: Mutex<Vec<v1::StartOperationRequest>>,
    /// Streams stay open after their last message.
    pub(crate) patient: bool,
}

/// A running one, and a workplace whose current context leads to it.
pub(crate) struct Scripted {
    pub(crate) place: Workplace,
    pub(crate) script: Arc<Script>,
    // Dropped last: it ends the server.
    _runtime: tokio::runtime::Runtime,
}

impl Scripted {
    /// Starts one in a fresh cluster `shop`; the context's certificate has this role.
    pub(crate) fn start(script: Script, role: &str) -> Self {
        let place = Workplace::new();
        place.run("pki init --cluster shop").exits(0);
        place.run("pki issue coordinator mgmt1").exits(0);
        place
            .run(&format!("pki issue operator anna --role {role}"))
            .exits(0);
        let files = Files::named(&place.path("pki/coordinator/mgmt1"), "coordinator");
        let (_, credentials) = open(files, Kind::Coordinator, system_clock()).unwrap();
        let script = Arc::new(script);
        let service = Speaker(script.clone());
        let routes = Routes::new(PlanServiceServer::new(service.clone()))
            .add_service(OperationServiceServer::new(service));
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
        Ok(Response::new(self.0.plan.clone()))
    }
}

#[tonic::async_trait]
impl OperationService for Speaker {
    async fn start_operation(
        &self,
        request: Request<v1::StartOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        self.0.started.lock().unwrap().push(request.into_inner());
        let first = self.0.watches.lock().unwrap().front().cloned();
        Ok(Response::new(first.unwrap_or_default().remove(0)))
    }

    async fn list_operations(
        &self,
        _: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn get_operation(
        &self,
        _: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<v1::Operation, Status>> + Send>>;

    async fn watch_operation(
        &self,
        _: Request<v1::GetOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let next = self.0.watches.lock().unwrap().pop_front();
        let words = stream::iter(next.unwrap_or_default().into_iter().map(Ok));
        Ok(Response::new(if self.0.patient {
            use futures_util::StreamExt as _;
            Box::pin(words.chain(stream::pending()))
        } else {
            Box::pin(words)
        }))
    }

    async fn get_journal(
        &self,
        _: Request<v1::GetJournalRequest>,
    ) -> Result<Response<v1::GetJournalResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn control_operation(
        &self,
        _: Request<v1::ControlOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}
