//! A person at a coordinator, or at an agent, by gRPC.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use interlock_mesh::channel::{Expected, Options, Target, connect_lazy};
use interlock_mesh::credentials::{self, Clock, Files, system_clock};
use interlock_mesh::identity::Kind;
use interlock_proto::v1;
use interlock_proto::v1::agent_service_client::AgentServiceClient;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::event_service_client::EventServiceClient;
use interlock_proto::v1::node_service_client::NodeServiceClient;
use interlock_proto::v1::operation_service_client::OperationServiceClient;
use interlock_proto::v1::plan_service_client::PlanServiceClient;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::{eventually, patience};

/// The limit of one request.
const REQUEST: Duration = Duration::from_secs(30);

/// A plan request of this kind for the whole cluster.
#[must_use]
pub fn for_all(kind: &str) -> v1::MakePlanRequest {
    v1::MakePlanRequest {
        kind: kind.to_owned(),
        all: true,
        ..Default::default()
    }
}

/// A plan request of this kind for some services.
#[must_use]
pub fn for_services(kind: &str, services: &[&str]) -> v1::MakePlanRequest {
    let services = services
        .iter()
        .map(|service| (*service).to_owned())
        .collect();
    v1::MakePlanRequest {
        kind: kind.to_owned(),
        services,
        ..Default::default()
    }
}

/// Somebody with a certificate and a connection, which is made again as often as it takes.
#[derive(Debug)]
pub struct Operator {
    runtime: Runtime,
    channel: Channel,
    limit: Duration,
}

/// A clock that is two days late.
#[derive(Debug)]
struct LateClock;

impl TimeProvider for LateClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = UnixTime::now().as_secs();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            now - 2 * 24 * 60 * 60,
        )))
    }
}

impl Operator {
    /// Somebody with these credentials, at whoever is expected at this address.
    ///
    /// # Errors
    /// The credentials are not usable.
    pub fn at(address: &str, expected: Expected, files: Files) -> Result<Self> {
        Self::with_clock(address, expected, files, Kind::Operator, system_clock())
    }

    /// Somebody with any kind of certificate, and a clock that is two days late: it does not see that a certificate
    /// has ended since, and leaves it to the server to say so.
    ///
    /// # Errors
    /// The credentials are not usable.
    pub fn with_a_late_clock(
        address: &str,
        expected: Expected,
        files: Files,
        kind: Kind,
    ) -> Result<Self> {
        Self::with_clock(address, expected, files, kind, Arc::new(LateClock))
    }

    fn with_clock(
        address: &str,
        expected: Expected,
        files: Files,
        kind: Kind,
        clock: Clock,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let channel = {
            let _inside = runtime.enter();
            let (_, credentials) = credentials::open(files, kind, clock)?;
            let target = Target {
                address: address.parse()?,
                expected,
            };
            connect_lazy(&target, &credentials, &Options::default())
        };
        Ok(Self {
            runtime,
            channel,
            limit: patience(REQUEST),
        })
    }

    /// The same with another limit of one request.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    fn call<T>(
        &self,
        request: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let limited = async { tokio::time::timeout(self.limit, request).await };
        match self.runtime.block_on(limited) {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("no answer")),
        }
    }

    /// Calls a method by its path, with an empty message and no interest in the answer.
    ///
    /// # Errors
    /// As the program says.
    pub fn call_empty(&self, method: &str) -> Result<(), Status> {
        let path = method
            .parse()
            .map_err(|_| Status::internal(format!("{method} is no path")))?;
        let mut client = Grpc::new(self.channel.clone());
        self.call(async move {
            let ready = client.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<(), ()>::default();
            client.unary(Request::new(()), path, codec).await
        })
    }

    /// What is known of the cluster.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn status(&self) -> Result<v1::Status, Status> {
        self.call(
            ClusterServiceClient::new(self.channel.clone()).get_status(v1::GetStatusRequest {}),
        )
    }

    /// What a node's agent has found, and why.
    ///
    /// # Errors
    /// It has not told.
    pub fn check(&self, node: &str, service: &str, check: &str) -> Result<(v1::Verdict, String)> {
        let status = self.status()?;
        let node = status.nodes.into_iter().find(|it| it.node == node);
        let mut checks = node.context("no such node")?.checks.into_iter();
        let found = checks.find(|it| it.service == service && it.check == check);
        let found = found.with_context(|| format!("no {service}.{check}"))?;
        Ok((found.verdict(), found.evidence))
    }

    /// Waits until the status says this of a service, for a reason that contains each of these.
    ///
    /// # Errors
    /// It does not.
    pub fn until_service(
        &self,
        service: &str,
        state: &str,
        reasons: &[&str],
    ) -> Result<v1::Status> {
        let what = format!("{service} to be {state}, {reasons:?}");
        eventually(&what, Duration::from_secs(45), || {
            let status = self.status()?;
            let seen = status.services.iter().find(|it| it.service == service);
            let seen = seen.with_context(|| format!("no {service}"))?;
            ensure!(seen.state == state, "{}: {}", seen.state, seen.reason);
            for reason in reasons {
                ensure!(seen.reason.contains(reason), "{}", seen.reason);
            }
            Ok(status)
        })
    }

    /// Applies a spec on top of this generation.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn apply(&self, spec: &str, base: u64) -> Result<v1::ApplySpecResponse, Status> {
        let request = v1::ApplySpecRequest {
            source: spec.as_bytes().to_vec(),
            base,
            ..Default::default()
        };
        self.call(ClusterServiceClient::new(self.channel.clone()).apply_spec(request))
    }

    /// Makes a plan, if one can be made.
    ///
    /// # Errors
    /// As the coordinator says; that there is no plan is none.
    pub fn plan(&self, request: &v1::MakePlanRequest) -> Result<v1::MakePlanResponse, Status> {
        self.call(PlanServiceClient::new(self.channel.clone()).make_plan(request.clone()))
    }

    /// Starts a plan.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn start(&self, digest: &str, single_step: bool) -> Result<v1::Operation, Status> {
        let request = v1::StartOperationRequest {
            digest: digest.to_owned(),
            confirm_cluster: "local".to_owned(),
            reason: "a test".to_owned(),
            single_step,
            ..v1::StartOperationRequest::default()
        };
        self.call(OperationServiceClient::new(self.channel.clone()).start_operation(request))
    }

    /// Plans and starts, and tells the operation.
    ///
    /// # Errors
    /// There is no plan, for the reasons of its report; or it is not started.
    pub fn begin(&self, request: &v1::MakePlanRequest, single_step: bool) -> Result<String> {
        let plan = self.plan(request)?;
        ensure!(
            !plan.digest.is_empty(),
            "no plan for {}: {}",
            request.kind,
            plan.report_json
        );
        let operation = self.start(&plan.digest, single_step)?;
        Ok(operation
            .summary
            .context("an operation without a summary")?
            .operation)
    }

    /// Plans, starts, and waits until everything is done.
    ///
    /// # Errors
    /// It does not get there.
    pub fn run(&self, request: &v1::MakePlanRequest) -> Result<String> {
        let operation = self.begin(request, false)?;
        self.until(&operation, "done")?;
        Ok(operation)
    }

    /// An operation.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn operation(&self, operation: &str) -> Result<v1::Operation, Status> {
        let request = v1::GetOperationRequest {
            operation: operation.to_owned(),
            brief: false,
        };
        self.call(OperationServiceClient::new(self.channel.clone()).get_operation(request))
    }

    /// The newest operations, in a line each.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn operations(&self) -> Result<v1::ListOperationsResponse, Status> {
        let request = v1::ListOperationsRequest::default();
        self.call(OperationServiceClient::new(self.channel.clone()).list_operations(request))
    }

    /// The operation's state as a word.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn state(&self, operation: &str) -> Result<String, Status> {
        Ok(self.operation(operation)?.summary.unwrap_or_default().state)
    }

    /// A step of an operation.
    ///
    /// # Errors
    /// As the coordinator says; or it has no such step.
    pub fn step(&self, operation: &str, step: &str) -> Result<v1::StepStatus> {
        let steps = self.operation(operation)?.steps;
        steps
            .into_iter()
            .find(|found| found.step == step)
            .with_context(|| format!("{operation} has no step {step}"))
    }

    /// Waits until an operation is in this state, while the coordinator may come and go.
    ///
    /// # Errors
    /// It does not get there, or gets to where it cannot go on from.
    pub fn until(&self, operation: &str, wanted: &str) -> Result<v1::Operation> {
        let mut stuck = None;
        let reached = eventually(
            &format!("{operation} to be {wanted}"),
            Duration::from_secs(45),
            || {
                let seen = self.operation(operation)?;
                let state = seen.summary.clone().unwrap_or_default().state;
                if state == wanted {
                    return Ok(seen);
                }
                let over = matches!(
                    state.as_str(),
                    "done" | "aborted" | "unwound" | "needs-attention"
                );
                let story = format!(
                    "{operation} is {state}: {} {:#?}",
                    seen.attention, seen.steps
                );
                // Whoever waits for the end of unwinding, or for another attempt, may meet a state that is left at once.
                if over && wanted == "done" {
                    stuck = Some(story.clone());
                    return Ok(seen);
                }
                bail!(story)
            },
        )?;
        match stuck {
            Some(story) => bail!(story),
            None => Ok(reached),
        }
    }

    /// Waits until a step is in this state.
    ///
    /// # Errors
    /// It does not get there.
    pub fn until_step(&self, operation: &str, step: &str, wanted: &str) -> Result<v1::StepStatus> {
        eventually(
            &format!("{step} of {operation} to be {wanted}"),
            Duration::from_secs(30),
            || {
                let seen = self.step(operation, step)?;
                ensure!(
                    seen.state == wanted,
                    "it is {}: {} {}",
                    seen.state,
                    seen.waits_for,
                    seen.evidence
                );
                Ok(seen)
            },
        )
    }

    /// The journal of an operation.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn journal(&self, operation: &str) -> Result<Vec<v1::JournalEntry>, Status> {
        let request = v1::GetJournalRequest {
            operation: operation.to_owned(),
            after: 0,
            limit: 1000,
        };
        Ok(self
            .call(OperationServiceClient::new(self.channel.clone()).get_journal(request))?
            .entries)
    }

    /// Steers an operation; `step` may be empty.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn control(
        &self,
        operation: &str,
        verb: &str,
        step: &str,
        reason: &str,
    ) -> Result<v1::Operation, Status> {
        let request = v1::ControlOperationRequest {
            operation: operation.to_owned(),
            verb: verb.to_owned(),
            step: step.to_owned(),
            reason: reason.to_owned(),
            confirm_cluster: match verb {
                "unwind" => "local".to_owned(),
                _ => String::new(),
            },
        };
        self.call(OperationServiceClient::new(self.channel.clone()).control_operation(request))
    }

    /// The last events.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn events(&self) -> Result<Vec<v1::Event>, Status> {
        let request = v1::ListEventsRequest {
            limit: 500,
            tail: true,
            ..Default::default()
        };
        Ok(self
            .call(EventServiceClient::new(self.channel.clone()).list_events(request))?
            .events)
    }

    /// What an agent sees, asked itself.
    ///
    /// # Errors
    /// As the agent says.
    pub fn node(&self) -> Result<v1::Node, Status> {
        self.call(NodeServiceClient::new(self.channel.clone()).get_node(v1::GetNodeRequest {}))
    }

    /// The ledger of an agent.
    ///
    /// # Errors
    /// As the agent says.
    pub fn attempts(&self) -> Result<Vec<v1::LedgerEntry>, Status> {
        let request = v1::ListAttemptsRequest { limit: 500 };
        Ok(self
            .call(NodeServiceClient::new(self.channel.clone()).list_attempts(request))?
            .entries)
    }

    /// Starts or stops an instance by hand.
    ///
    /// # Errors
    /// As the agent says.
    pub fn by_hand(
        &self,
        service: &str,
        verb: &str,
    ) -> Result<v1::ControlInstanceResponse, Status> {
        let request = v1::ControlInstanceRequest {
            service: service.to_owned(),
            verb: verb.to_owned(),
            reason: "a test".to_owned(),
            ..Default::default()
        };
        self.call(NodeServiceClient::new(self.channel.clone()).control_instance(request))
    }

    /// Opens the session of an agent with this hello, and tells the first answer.
    ///
    /// # Errors
    /// As the coordinator says.
    pub fn hello(&self, node: &str) -> Result<v1::CoordinatorMessage, Status> {
        use v1::agent_message::Message;
        let hello = v1::Hello {
            node: node.to_owned(),
            protocol: 1,
            boot_id: "none".to_owned(),
            ..Default::default()
        };
        let message = v1::AgentMessage {
            message: Some(Message::Hello(hello)),
        };
        let mut client = AgentServiceClient::new(self.channel.clone());
        self.call(async move {
            let mut answers = client
                .connect(tokio_stream::once(message))
                .await?
                .into_inner();
            let first = answers.message().await?;
            first
                .map(Response::new)
                .ok_or_else(|| Status::cancelled("closed without an answer"))
        })
    }
}
