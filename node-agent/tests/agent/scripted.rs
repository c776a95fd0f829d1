//! A coordinator that does what a test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_mesh::authz::Table;
use interlock_mesh::credentials::{self, Files, system_clock};
use interlock_mesh::identity::Kind;
use interlock_mesh::server::{Options, Server};
use interlock_proto::v1;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use interlock_proto::v1::coordinator_message::Message as Order;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take before a test gives up: a bound, not an expectation.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A coordinator that listens. Dropping it cuts every session.
pub(crate) struct Coordinator {
    pub(crate) endpoint: String,
    sessions: mpsc::Receiver<Session>,
    server: JoinHandle<()>,
}

/// One session of an agent.
pub(crate) struct Session {
    pub(crate) hello: v1::Hello,
    pub(crate) term: u64,
    /// The latest of each.
    instances: BTreeMap<String, v1::Instance>,
    checks: BTreeMap<String, v1::CheckResult>,
    said: mpsc::Receiver<Said>,
    orders: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
}

struct Door {
    sessions: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl AgentService for Door {
    type ConnectStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages
            .message()
            .await?
            .and_then(|message| message.message);
        let Some(Said::Hello(hello)) = first else {
            return Err(Status::failed_precondition("no hello"));
        };
        let (orders, outgoing) = mpsc::channel(64);
        let (say, said) = mpsc::channel(1024);
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if let Some(message) = message.message
                    && say.send(message).await.is_err()
                {
                    return;
                }
            }
        });
        let (instances, checks) = (BTreeMap::new(), BTreeMap::new());
        let session = Session {
            hello,
            term: 0,
            instances,
            checks,
            said,
            orders,
        };
        self.sessions
            .send(session)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

impl Coordinator {
    pub(crate) async fn start(files: Files) -> Self {
        let (store, credentials) =
            credentials::open(files, Kind::Coordinator, system_clock()).unwrap();
        drop(store);
        let address = "127.0.0.1:0".parse().unwrap();
        let table = Arc::new(Table::interlock_v1());
        let server = Server::bind(address, credentials, table, Options::default())
            .await
            .unwrap();
        let endpoint = format!("https://{}", server.address());
        let (sender, sessions) = mpsc::channel(8);
        let routes = Routes::new(AgentServiceServer::new(Door { sessions: sender }));
        let server =
            tokio::spawn(
                async move { server.serve(routes, std::future::pending()).await.unwrap() },
            );
        Self {
            endpoint,
            sessions,
            server,
        }
    }

    /// The next session, welcomed in this term.
    pub(crate) async fn session(&mut self, term: u64) -> Session {
        let next = patiently(self.sessions.recv()).await;
        let mut session = next.expect("the server lives");
        session.term = term;
        session
            .order(Order::Welcome(v1::Welcome {
                coordinator: "mgmt1".into(),
                term,
                incarnation: "store-1".into(),
                heartbeat_ms: 200,
            }))
            .await;
        session
    }

    /// Is gone from one moment to the next.
    pub(crate) async fn vanish(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

/// An attempt of operation 7.
pub(crate) fn id(step: &str, attempt: u64) -> v1::AttemptId {
    v1::AttemptId {
        operation: 7,
        step: step.into(),
        attempt,
    }
}

/// The service and its only part, a process of the same name.
pub(crate) fn process(name: &str) -> v1::InstanceCommand {
    command(name, v1::part::Part::Process(name.into()))
}

/// The service and its only part, commands of the same name.
pub(crate) fn exec(name: &str) -> v1::InstanceCommand {
    command(name, v1::part::Part::Exec(name.into()))
}

/// The service and its only part, a resource of the same name, monitored as often as can be.
pub(crate) fn ocf(name: &str, agent: &str, parameters: &[(&str, &str)]) -> v1::InstanceCommand {
    let parameters = parameters.iter().map(|(name, value)| {
        let value = v1::ocf_parameter::Value::Plain((*value).to_owned());
        ((*name).to_owned(), v1::OcfParameter { value: Some(value) })
    });
    let resource = v1::OcfResource {
        agent: agent.to_owned(),
        name: name.to_owned(),
        parameters: parameters.collect(),
        every_ms: 1,
        ..v1::OcfResource::default()
    };
    command(name, v1::part::Part::Ocf(resource))
}

/// The service and its only part, a systemd unit.
pub(crate) fn unit(service: &str, unit: &str) -> v1::InstanceCommand {
    command(service, v1::part::Part::SystemdUnit(unit.into()))
}

fn command(service: &str, part: v1::part::Part) -> v1::InstanceCommand {
    v1::InstanceCommand {
        service: service.into(),
        parts: vec![v1::Part { part: Some(part) }],
    }
}

impl Session {
    pub(crate) async fn order(&self, order: Order) {
        let message = v1::CoordinatorMessage {
            message: Some(order),
        };
        self.orders
            .send(Ok(message))
            .await
            .expect("the session stands");
    }

    pub(crate) async fn dispatch(&self, id: v1::AttemptId, command: v1::dispatch::Command) {
        self.dispatch_within(id, command, 60_000).await;
    }

    /// The same with another time limit, in milliseconds.
    pub(crate) async fn dispatch_within(
        &self,
        id: v1::AttemptId,
        command: v1::dispatch::Command,
        limit_ms: u64,
    ) {
        let dispatch = v1::Dispatch {
            term: self.term,
            id: Some(id),
            limit_ms,
            command: Some(command),
        };
        self.order(Order::Dispatch(dispatch)).await;
    }

    /// Assigns these instances, guarded with this budget and almost no pause.
    pub(crate) async fn assign(&self, instances: &[v1::InstanceCommand], budget: u32) {
        self.assign_with(instances, budget, Vec::new(), false).await;
    }

    pub(crate) async fn assign_with(
        &self,
        instances: &[v1::InstanceCommand],
        budget: u32,
        checks: Vec<v1::AssignedCheck>,
        exclusive: bool,
    ) {
        self.assign_all(instances, budget, checks, |instance| {
            instance.exclusive = exclusive;
        })
        .await;
    }

    /// The same with these instances as `set` makes them.
    pub(crate) async fn assign_all(
        &self,
        instances: &[v1::InstanceCommand],
        budget: u32,
        checks: Vec<v1::AssignedCheck>,
        set: impl Fn(&mut v1::AssignedInstance),
    ) {
        let guard = v1::GuardPolicy {
            budget,
            window_ms: 3_600_000,
            backoff_ms: 1,
        };
        let instances = instances.iter().map(|instance| {
            let mut assigned = v1::AssignedInstance {
                service: instance.service.clone(),
                parts: instance.parts.clone(),
                guard: Some(guard),
                ..v1::AssignedInstance::default()
            };
            set(&mut assigned);
            assigned
        });
        let assignment = v1::Assignment {
            term: self.term,
            generation: 1,
            instances: instances.collect(),
            checks,
            ..v1::Assignment::default()
        };
        self.order(Order::Assignment(assignment)).await;
    }

    /// The next message, whatever it is. What it says of instances and checks is remembered.
    pub(crate) async fn next(&mut self) -> Said {
        let said = patiently(self.said.recv())
            .await
            .expect("the session stands");
        if let Said::Observed(observed) = &said {
            self.instances.extend(
                observed
                    .instances
                    .iter()
                    .map(|seen| (seen.service.clone(), seen.clone())),
            );
            self.checks.extend(
                observed
                    .checks
                    .iter()
                    .map(|seen| (seen.check.clone(), seen.clone())),
            );
        }
        said
    }

    /// Whether the session ends without another word than heartbeats, and with which goodbye.
    pub(crate) async fn goodbye(&mut self) -> Option<String> {
        let mut goodbye = None;
        loop {
            match patiently(self.said.recv()).await {
                Some(Said::Goodbye(said)) => goodbye = Some(said.reason),
                Some(_) => {}
                None => return goodbye,
            }
        }
    }

    /// The first report of this attempt that is as wanted, of those that are still to come.
    pub(crate) async fn report(
        &mut self,
        id: &v1::AttemptId,
        wanted: impl Fn(v1::AttemptState) -> bool,
    ) -> v1::AttemptReport {
        let waiting = async {
            loop {
                if let Said::Attempt(report) = self.next().await
                    && report.id.as_ref() == Some(id)
                    && wanted(report.state())
                {
                    return report;
                }
            }
        };
        patiently(waiting).await
    }

    /// The outcome of this attempt.
    pub(crate) async fn outcome(&mut self, id: &v1::AttemptId) -> v1::AttemptReport {
        let open = [v1::AttemptState::Accepted, v1::AttemptState::GoingDown];
        self.report(id, |state| !open.contains(&state)).await
    }

    /// What was last said of this instance.
    pub(crate) fn last(&self, service: &str) -> Option<&v1::Instance> {
        self.instances.get(service)
    }

    /// This instance as soon as it is as wanted, which it may be already.
    pub(crate) async fn instance(
        &mut self,
        service: &str,
        wanted: impl Fn(&v1::Instance) -> bool,
    ) -> v1::Instance {
        let waiting = async {
            loop {
                if let Some(found) = self.instances.get(service).filter(|seen| wanted(seen)) {
                    return found.clone();
                }
                self.next().await;
            }
        };
        patiently(waiting).await
    }

    /// The result of this check as soon as it is as wanted, which it may be already.
    pub(crate) async fn check(
        &mut self,
        check: &str,
        wanted: impl Fn(&v1::CheckResult) -> bool,
    ) -> v1::CheckResult {
        let waiting = async {
            loop {
                if let Some(found) = self.checks.get(check).filter(|seen| wanted(seen)) {
                    return found.clone();
                }
                self.next().await;
            }
        };
        patiently(waiting).await
    }
}

pub(crate) async fn patiently<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it happens")
}
