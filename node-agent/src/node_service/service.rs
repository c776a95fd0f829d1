//! The three calls.

use std::time::Duration;

use interlock_engine::agent::ledger::{Entry, Origin, Refusal};
use interlock_mesh::server::PeerIdentity;
use interlock_model::action::Command;
use interlock_model::attempt::AttemptState;
use interlock_model::ids::{BadOperationId, OperationId};
use interlock_model::names::ServiceName;
use interlock_proto::convert;
use interlock_proto::v1;
use interlock_proto::v1::node_service_server::NodeService;
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};

use super::{NodeState, allowed};
use crate::run::facts;
use crate::session::{ByHand, Claim, NotTaken, Permit, line};

/// How many attempts are listed where the request does not say, and at most.
const LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;

/// The time limit of an act by hand (`ControlInstance`: 300 s, less a moment for the answer).
const ACT_LIMIT: Duration = Duration::from_secs(290);

/// How long what was seen in the middle of an act may be the last that was seen: looks follow an act at once.
const LOOKED: Duration = Duration::from_secs(2);

/// The pause before what was seen is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The longest reason, in bytes.
const MAX_REASON: usize = 300;

/// Serves `NodeService`.
#[derive(Debug)]
pub(super) struct Service {
    state: NodeState,
}

impl Service {
    pub(super) fn new(state: NodeState) -> Self {
        Self { state }
    }

    /// The command that a person asks for, and whether it may be done by hand at all.
    fn command(
        &self,
        request: &v1::ControlInstanceRequest,
    ) -> Result<(ServiceName, Command, Permit), Status> {
        let service: ServiceName = convert::name("service", &request.service)?;
        let Some(assigned) = self.state.instances.assigned(&service) else {
            return Err(Status::not_found(format!(
                "{service} has no instance on {0}: `interlockctl node show --node {0}` lists those that it has",
                self.state.node
            )));
        };
        let of_the_lost =
            request.verb == "stop" && self.state.managers.awaits_word(&assigned.parts);
        let command = match request.verb.as_str() {
            "start" => Command::Start {
                service: service.clone(),
                parts: assigned.parts,
            },
            "stop" => Command::Stop {
                service: service.clone(),
                parts: assigned.parts,
            },
            other => {
                return Err(Status::invalid_argument(format!(
                    "verb: '{other}' is neither start nor stop"
                )));
            }
        };
        let permit = if assigned.exclusive && !of_the_lost {
            Permit::Denied(format!(
                "{service} is exclusive: whether another instance is active cannot be known here; use an operation"
            ))
        } else {
            match self.state.allow.permits(&command) {
                Ok(()) => Permit::Granted,
                Err(refusal) => Permit::Denied(refusal.to_string()),
            }
        };
        Ok((service, command, permit))
    }

    fn instance(&self, service: &ServiceName) -> Option<v1::Instance> {
        let (instances, _) = self.state.session.board().all(self.state.clock.mono());
        instances
            .into_iter()
            .find(|instance| instance.service == service.as_str())
    }

    /// How an instance is seen once a stop, or a start, of it is over.
    async fn after(&self, service: &ServiceName, stopped: bool) -> Option<v1::Instance> {
        use v1::InstanceState::{Failed, Paused, Running, Stopped};
        let until = Instant::now() + LOOKED;
        loop {
            let instance = self.instance(service);
            let seen = instance.as_ref().map(v1::Instance::state);
            let is_over = match stopped {
                true => matches!(seen, Some(Stopped | Failed)),
                false => matches!(seen, Some(Running | Paused)),
            };
            if is_over || Instant::now() >= until {
                return instance;
            }
            sleep(ASK_AGAIN).await;
        }
    }
}

#[tonic::async_trait]
impl NodeService for Service {
    async fn get_node(&self, _: Request<v1::GetNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let state = &self.state;
        let (instances, checks) = state.session.board().all(state.clock.mono());
        let links = state
            .session
            .links()
            .into_iter()
            .map(|link| v1::CoordinatorLink {
                endpoint: link.endpoint,
                connected: link.connected,
                detail: link.detail,
            });
        Ok(Response::new(v1::Node {
            node: state.node.to_string(),
            cluster: state.cluster.to_string(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: state.boot.to_string(),
            generation: state.session.board().generation().0,
            highest_term: state.session.term().0,
            facts: Some(facts(&state.facts)),
            instances,
            checks,
            coordinators: links.collect(),
            allowed: allowed::lines(&state.allow),
            claims: state.session.claims().iter().map(of_claim).collect(),
            refuses: state.session.board().refuses(),
            watchdog: state.watchdog.line(),
        }))
    }

    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Result<Response<v1::ListAttemptsResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => LIMIT,
            limit => usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT),
        };
        let (entries, refusals) = self.state.session.history(limit);
        // A refused attempt is among the refusals already, with the rest of what was refused.
        let entries = entries
            .iter()
            .filter(|entry| entry.state != AttemptState::Refused)
            .map(of_entry);
        let mut all: Vec<v1::LedgerEntry> =
            entries.chain(refusals.iter().map(of_refusal)).collect();
        all.sort_by_key(|entry| {
            std::cmp::Reverse(entry.report.as_ref().map(|report| report.at_ms))
        });
        all.truncate(limit);
        Ok(Response::new(v1::ListAttemptsResponse { entries: all }))
    }

    async fn control_instance(
        &self,
        request: Request<v1::ControlInstanceRequest>,
    ) -> Result<Response<v1::ControlInstanceResponse>, Status> {
        let who = PeerIdentity::of(request.extensions())?
            .identity()
            .caller()
            .to_string();
        let request = request.into_inner();
        let why = line(&request.reason);
        if why.is_empty() || request.reason.len() > MAX_REASON {
            let message = format!(
                "reason: say in at most {MAX_REASON} bytes why this is done by hand; it is recorded"
            );
            return Err(Status::invalid_argument(message));
        }
        let (service, command, permit) = self.command(&request)?;
        let over: Vec<OperationId> = request
            .override_operations
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, BadOperationId>>()
            .map_err(|error| Status::invalid_argument(format!("override_operations: {error}")))?;
        let act = ByHand {
            who,
            why,
            command,
            limit: ACT_LIMIT,
            permit,
        };
        let report = match self.state.session.by_hand(act, over).await {
            Ok(report) => report,
            Err(NotTaken::Obstacle(obstacle)) => {
                return Err(Status::failed_precondition(obstacle.to_string()));
            }
            Err(error @ NotTaken::Ending) => return Err(Status::unavailable(error.to_string())),
        };
        if report.state != AttemptState::Done {
            // It was begun: this is no refusal.
            return Err(Status::unknown(format!(
                "{} of {service}: {}",
                request.verb, report.evidence
            )));
        }
        let instance = self.after(&service, request.verb == "stop").await;
        Ok(Response::new(v1::ControlInstanceResponse {
            instance,
            evidence: report.evidence,
        }))
    }
}

fn of_claim(claim: &Claim) -> v1::Claim {
    v1::Claim {
        operation: claim.operation.0,
        what: claim.what.clone(),
        services: claim.services.iter().map(ToString::to_string).collect(),
    }
}

fn of_entry(entry: &Entry) -> v1::LedgerEntry {
    let (by, reason) = match &entry.origin {
        Origin::Operation => (String::new(), String::new()),
        Origin::Hand { who, why } => (who.clone(), why.clone()),
    };
    v1::LedgerEntry {
        by,
        reason,
        report: Some(v1::AttemptReport {
            at_ms: entry.at.0,
            ..(&entry.report()).into()
        }),
        term: entry.term.0,
        command: entry.line(),
    }
}

fn of_refusal(refusal: &Refusal) -> v1::LedgerEntry {
    v1::LedgerEntry {
        report: Some(v1::AttemptReport {
            id: Some((&refusal.id).into()),
            state: v1::AttemptState::Refused.into(),
            evidence: refusal.reason.clone(),
            repeatable: false,
            at_ms: refusal.at.0,
        }),
        term: refusal.term.0,
        command: refusal.what.clone(),
        by: String::new(),
        reason: String::new(),
    }
}
