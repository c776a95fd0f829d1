//! `OperationService`: plans under way.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use interlock_engine::coordinator::{Head, NotStarted, OPERATIONS, StartRequest, Wish, head_key};
use interlock_engine::operation::{Entry, Operation, Refused, Verb};
use interlock_mesh::reason::{Because as _, Reason};
use interlock_model::action::Action;
use interlock_model::ids::{JournalSeq, OperationId};
use interlock_model::plan::SealedPlan;
use interlock_planner::Rendering;
use interlock_proto::v1;
use interlock_proto::v1::operation_service_server::OperationService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::planning::{Planning, Turn, known};
use super::{Caller, MAX_REASON, bounded, comparing, next_change, render};
use crate::clock;
use crate::driver::{CachedPlan, Desk, Handle, Known, read_json};
use crate::store::{Key, Prefix, Store};

const AT_LEAST: Duration = Duration::from_millis(100);
const AT_MOST: Duration = Duration::from_secs(1);

/// Serves `OperationService`.
#[derive(Debug, Clone)]
pub struct Operations {
    driver: Handle,
    store: Arc<dyn Store>,
    planning: Planning,
}

impl Operations {
    /// The service over this driver and its store.
    #[must_use]
    pub fn new(driver: Handle, store: Arc<dyn Store>, planning: Planning) -> Self {
        Self {
            driver,
            store,
            planning,
        }
    }

    /// The operation as it is now: from the engine while it is under way and the store takes writes, else from the
    /// store. In either case what is told is durable; a crash of the coordinator does not take it back. What came after
    /// that is said to be missing.
    async fn find(&self, id: OperationId, brief: bool) -> Result<v1::Operation, Status> {
        let live = self
            .driver
            .look(move |desk| {
                let view = desk.coordinator.view();
                desk.coordinator
                    .operation(id)
                    .map(|operation| render::operation(operation, brief, Some(view)))
            })
            .await?;
        match live {
            Some(Some(operation)) => Ok(operation),
            Some(None) => Ok(render::operation(&self.replay(id).await?.0, brief, None)),
            None => Ok(v1::Operation {
                store_trouble: self.trouble().await?,
                ..render::operation(&self.replay(id).await?.0, brief, None)
            }),
        }
    }

    /// Made again from what is known now a plan must be the same, byte for byte; else something that it was made from does
    /// not hold any more.
    async fn still_holds(
        turn: Turn,
        kept: &CachedPlan,
        rendering: Arc<Rendering>,
        known: Known,
    ) -> Result<Turn, Status> {
        let request = kept.request.clone();
        let stale =
            |text: String| Err(Status::failed_precondition(text).because(Reason::PlanStale));
        let (outcome, turn) = turn.plan(known, request, rendering).await?;
        match outcome.plan {
            Some(again) if again.digest() == kept.plan.digest() => Ok(turn),
            Some(again) => stale(format!(
                "the cluster has changed since this plan was made: it would now be {}; plan again",
                again.digest().short()
            )),
            None => stale(
                "the cluster has changed since this plan was made, and it would now be refused; plan again to see why"
                    .to_owned(),
            ),
        }
    }

    /// Why nothing becomes durable now.
    async fn trouble(&self) -> Result<String, Status> {
        let known = self.driver.call(|desk| desk.trouble()).await?;
        Ok(known.unwrap_or_else(|| "it has not answered yet".to_owned()))
    }

    /// The head of an operation, from the store; none if it is let go, or not there yet. A head is written when its
    /// operation turns: of one that is not over the journal knows more.
    async fn stored(&self, id: OperationId) -> Result<Option<Head>, Status> {
        let key = Key::new(head_key(id)).map_err(|error| Status::internal(error.to_string()))?;
        let entry = self
            .store
            .get(&key)
            .await
            .map_err(|error| unreadable(&error))?;
        let Some(entry) = entry else {
            return Ok(None);
        };
        let head: Head = read_json(&entry.key, &entry.value)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(if head.state.is_over() {
            head
        } else {
            Head::of(&self.replay(id).await?.0)
        }))
    }

    /// The operation and its journal, from the store.
    async fn replay(&self, id: OperationId) -> Result<(Operation, Vec<Entry>), Status> {
        let prefix = prefix(id)?;
        let snapshot = self
            .store
            .snapshot(&prefix)
            .await
            .map_err(|error| unreadable(&error))?;
        let mut bytes = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        for entry in &snapshot.entries {
            if entry.key.as_str().contains("/plan/") {
                bytes.extend_from_slice(&entry.value);
            } else if entry.key.as_str().contains("/journal/") {
                entries.extend(
                    read_json::<Vec<Entry>>(&entry.key, &entry.value)
                        .map_err(|error| Status::internal(error.to_string()))?,
                );
            }
        }
        if entries.is_empty() {
            return Err(Status::not_found(format!(
                "there is no {id}, or it is so old that its journal was let go; `interlockctl operation list` shows what \
                 there is"
            ))
            .because(Reason::NoSuchOperation));
        }
        let plan = SealedPlan::open(bytes).map_err(|error| Status::internal(error.to_string()))?;
        let operation = Operation::replay(id, Arc::new(plan), entries.iter().cloned())
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok((operation, entries))
    }
}

fn prefix(id: OperationId) -> Result<Prefix, Status> {
    Prefix::new(format!("{OPERATIONS}/{:012}", id.0))
        .map_err(|error| Status::internal(error.to_string()))
}

fn id(text: &str) -> Result<OperationId, Status> {
    text.parse()
        .map_err(|error: interlock_model::ids::BadOperationId| {
            Status::invalid_argument(error.to_string())
        })
}

#[tonic::async_trait]
impl OperationService for Operations {
    async fn start_operation(
        &self,
        request: Request<v1::StartOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        bounded("reason", &request.reason, MAX_REASON)?;
        let by = caller.name;
        self.driver.can_write()?;
        let digest = request.digest.clone();
        let kept = self.driver.call(move |desk| desk.kept(&digest)).await?;
        let rendering = kept.map(|kept| kept.rendering).unwrap_or_default();
        // Somebody may have changed a file since the plan was shown.
        let rendering = comparing::compared(&self.driver, rendering).await?;
        let turn = self.planning.turn().await?;
        let (request, kept, known) = self
            .driver
            .call(move |desk| {
                let kept = may_start(desk, &request)?;
                Ok::<_, Status>((request, kept, known(desk)?))
            })
            .await??;
        let _turn = Self::still_holds(turn, &kept, rendering, known).await?;
        let started = self
            .driver
            .begin(move |desk| start(desk, kept, &request, by))
            .await??;
        Ok(Response::new(started))
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let request = request.into_inner();
        let limit = if request.limit == 0 {
            50
        } else {
            request.limit.min(500) as usize
        };
        let before = if request.before.is_empty() {
            u64::MAX
        } else {
            id(&request.before)?.0
        };
        // Without an answer the store alone tells what is durable.
        let live: Option<Vec<Head>> = self
            .driver
            .look(|desk| desk.coordinator.operations().map(Head::of).collect())
            .await?;
        let store_trouble = match live {
            Some(_) => String::new(),
            None => self.trouble().await?,
        };
        let live = live.unwrap_or_default();
        let last = self
            .driver
            .call(|desk| desk.coordinator.last_operation())
            .await?;
        let mut operations = Vec::new();
        let mut number = last.0.min(before.saturating_sub(1));
        while number > 0 && operations.len() < limit {
            if let Some(head) = live.iter().find(|head| head.id.0 == number) {
                operations.push(render::summary(head));
            } else if let Some(head) = self.stored(OperationId(number)).await? {
                operations.push(render::summary(&head));
            }
            number -= 1;
        }
        Ok(Response::new(v1::ListOperationsResponse {
            operations,
            store_trouble,
        }))
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let request = request.into_inner();
        Ok(Response::new(
            self.find(id(&request.operation)?, request.brief).await?,
        ))
    }

    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<v1::Operation, Status>> + Send>>;

    async fn watch_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let request = request.into_inner();
        let id = id(&request.operation)?;
        let service = self.clone();
        let (sender, receiver) = mpsc::channel(2);
        // Changes from here on are noticed, also those between this look and the next.
        let mut changes = self.driver.changes();
        let first = self.find(id, request.brief).await?;
        tokio::spawn(async move {
            let mut last = first;
            if sender.send(Ok(last.clone())).await.is_err() {
                return;
            }
            while !is_over(&last) && next_change(&mut changes, AT_LEAST, AT_MOST).await {
                match service.find(id, true).await {
                    // What waits gets older without a change; only what differs is worth a message.
                    Ok(next)
                        if next.steps == last.steps
                            && next.summary == last.summary
                            && next.single_step == last.single_step => {}
                    Ok(next) => {
                        last = next;
                        if sender.send(Ok(last.clone())).await.is_err() {
                            return;
                        }
                    }
                    Err(status) => {
                        // The watcher is gone, or is told.
                        drop(sender.send(Err(status)).await);
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_journal(
        &self,
        request: Request<v1::GetJournalRequest>,
    ) -> Result<Response<v1::GetJournalResponse>, Status> {
        let request = request.into_inner();
        let limit = if request.limit == 0 {
            200
        } else {
            request.limit.min(1000) as usize
        };
        let (_, entries) = self.replay(id(&request.operation)?).await?;
        let after = usize::try_from(request.after).unwrap_or(usize::MAX);
        let page: Vec<v1::JournalEntry> = entries
            .iter()
            .enumerate()
            .skip(after)
            .take(limit)
            .map(|(at, entry)| render::entry(JournalSeq(at as u64 + 1), entry))
            .collect();
        let more = after.saturating_add(page.len()) < entries.len();
        Ok(Response::new(v1::GetJournalResponse {
            entries: page,
            more,
        }))
    }

    async fn control_operation(
        &self,
        request: Request<v1::ControlOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        bounded("reason", &request.reason, MAX_REASON)?;
        let id = id(&request.operation)?;
        let verb: Verb = request.verb.parse().map_err(|()| {
            Status::invalid_argument(format!(
                "verb: '{}' is not pause, resume, next, retry, skip, abort, unwind or approve",
                request.verb
            ))
        })?;
        let confirmed = request.confirm_cluster;
        let wish = Wish {
            verb,
            step: (!request.step.is_empty()).then_some(request.step),
            by: caller.name,
            role: caller.role,
            reason: request.reason,
        };
        // Taken also while the store takes no writes: who wants to stop an operation means before it goes on.
        let controlled = self
            .driver
            .call_soon(move |desk| {
                if let Some(operation) = desk.coordinator.operation(id) {
                    is_confirmed(operation, wish.verb, &confirmed)?;
                }
                let result = desk.coordinator.control(id, &wish, clock::now());
                match result {
                    None => Ok(None),
                    Some(Err(refused)) => Err(not_followed(&refused)),
                    Some(Ok(())) => {
                        let view = desk.coordinator.view();
                        let operation = desk.coordinator.operation(id);
                        Ok(operation.map(|it| render::operation(it, true, Some(view))))
                    }
                }
            })
            .await??;
        match controlled {
            Some(operation) => Ok(Response::new(operation)),
            None => {
                let over = self.find(id, true).await?;
                let state = over
                    .summary
                    .map(|summary| summary.state)
                    .unwrap_or_default();
                Err(
                    Status::failed_precondition(format!("{id} is {state}: it is over"))
                        .because(Reason::OperationOver),
                )
            }
        }
    }
}

/// What takes machines down is confirmed with the cluster's name on the way back, too. What is not possible is left to the
/// operation to refuse.
fn is_confirmed(operation: &Operation, verb: Verb, confirmed: &str) -> Result<(), Status> {
    let cluster = operation.plan().cluster.as_str();
    if verb != Verb::Unwind || confirmed == cluster || !operation.possible().contains(&verb) {
        return Ok(());
    }
    match operation.unwinding_takes_down() {
        0 => Ok(()),
        machines => Err(Status::failed_precondition(format!(
            "unwinding {} takes {machines} machine{} down: confirm it with the cluster's name, {cluster}",
            operation.id(),
            if machines == 1 { "" } else { "s" }
        ))
        .because(Reason::NotConfirmed)),
    }
}

fn is_over(operation: &v1::Operation) -> bool {
    let state = operation
        .summary
        .as_ref()
        .map_or("", |summary| summary.state.as_str());
    matches!(state, "done" | "aborted" | "unwound")
}

/// The plan that is to be started, if nothing that is known without making it again stands against that.
fn may_start(desk: &Desk, request: &v1::StartOperationRequest) -> Result<CachedPlan, Status> {
    let kept = desk.kept(&request.digest).ok_or_else(|| {
        Status::not_found(format!(
            "this coordinator has no plan {}: it was restarted since, or the plan is old; plan again",
            request.digest.chars().take(12).collect::<String>()
        ))
        .because(Reason::PlanUnknown)
    })?;
    let plan = kept.plan.plan();
    let cluster = plan.cluster.as_str();
    let switches = |action: &Action| matches!(action, Action::PowerOff { .. } | Action::Reboot);
    if plan.steps.iter().any(|step| switches(&step.action)) && request.confirm_cluster != cluster {
        return Err(Status::failed_precondition(format!(
            "this plan takes machines down: confirm it with the cluster's name, {cluster}"
        ))
        .because(Reason::NotConfirmed));
    }
    for service in plan.accepted.keys() {
        if request.confirm_service != service.as_str() {
            return Err(Status::failed_precondition(format!(
                "this plan loses writes of {service}: confirm it with the service's name, {service}"
            ))
            .because(Reason::NotConfirmed));
        }
        if request.reason.trim().is_empty() {
            return Err(Status::invalid_argument(
                "reason: this plan loses writes on your word: say why that has to be",
            )
            .because(Reason::ReasonMissing));
        }
    }
    if !kept.request.attested.is_empty() && request.reason.trim().is_empty() {
        return Err(Status::invalid_argument(
            "reason: this plan rests on your word that a machine is down: say how you know",
        )
        .because(Reason::ReasonMissing));
    }
    // First who holds it: an operation under way changes the cluster, and its name explains more than that it has changed.
    desk.coordinator
        .unheld(plan)
        .map_err(|error| not_started(&error))?;
    Ok(kept)
}

fn start(
    desk: &mut Desk,
    kept: CachedPlan,
    request: &v1::StartOperationRequest,
    by: String,
) -> Result<v1::Operation, Status> {
    let attested = kept.request.attested;
    let accepted = kept.plan.plan().accepted.clone();
    let (who, why) = (by.clone(), request.reason.clone());
    let request = StartRequest {
        plan: kept.plan,
        by,
        reason: request.reason.clone(),
        single_step: request.single_step,
    };
    let id = desk
        .coordinator
        .start(&request, clock::now())
        .map_err(|error| not_started(&error))?;
    for node in attested {
        desk.attest_down(&node, &who, &why);
    }
    desk.tell_accepted(&accepted, &who, &why);
    let view = desk.coordinator.view();
    desk.coordinator
        .operation(id)
        .map(|operation| render::operation(operation, false, Some(view)))
        .ok_or_else(|| Status::internal("the operation ended as it began"))
}

fn not_started(error: &NotStarted) -> Status {
    let text = error.to_string();
    match error {
        NotStarted::Held { .. } => Status::aborted(text).because(Reason::Held),
        NotStarted::Failover { .. } | NotStarted::Fencing { .. } => {
            Status::aborted(text).because(Reason::FailoverUnderWay)
        }
        NotStarted::NoSpec(_) => Status::failed_precondition(text).because(Reason::NoSpec),
        NotStarted::Generation { .. } | NotStarted::Forgotten { .. } => {
            Status::failed_precondition(text).because(Reason::PlanStale)
        }
        NotStarted::Corrupt(_) => Status::internal(text),
    }
}

/// Why a person's wish was not followed.
fn not_followed(refused: &Refused) -> Status {
    let reason = match refused {
        Refused::NoReason(_) => Reason::ReasonMissing,
        Refused::Role { .. } => Reason::RoleMissing,
        Refused::State { .. }
        | Refused::NoSuchStep { .. }
        | Refused::Phase { .. }
        | Refused::Held { .. }
        | Refused::Runs { .. }
        | Refused::Upon { .. }
        | Refused::Next { .. }
        | Refused::Paused { .. } => Reason::NotPossible,
    };
    Status::failed_precondition(refused.to_string()).because(reason)
}

fn unreadable(error: &crate::store::Error) -> Status {
    Status::unavailable(error.to_string()).because(Reason::StoreUnavailable)
}

#[cfg(test)]
mod tests {
    use interlock_engine::operation::What;
    use interlock_model::action::{PowerRef, ShutdownBy};
    use interlock_model::ids::{AttemptNo, Generation, Term};
    use interlock_model::plan::{Plan, PlanKind, Step, StepId, Undo};
    use interlock_model::time::Timestamp;

    use super::*;

    /// A startup of one machine; its step was carried out by an agent, or found it on.
    fn startup(acted: bool) -> Operation {
        let power = PowerRef {
            device: "box".parse().unwrap(),
            plug: "1".into(),
            via: vec!["m".parse().unwrap()],
            shutdown: ShutdownBy::Agent,
        };
        let id = StepId::new("power-on:n");
        let step = Step {
            id: id.clone(),
            action: Action::PowerOn {
                power: power.clone(),
            },
            node: Some("n".parse().unwrap()),
            service: None,
            after: Vec::new(),
            gates: Vec::new(),
            healthy: Vec::new(),
            timeout: Duration::from_secs(60),
            undo: Some(Undo(Box::new(Action::PowerOff { power }))),
        };
        let plan = Plan {
            cluster: "shop".parse().unwrap(),
            generation: Generation(1),
            kind: PlanKind::Startup,
            scope: "--all".into(),
            assumptions: Default::default(),
            accepted: Default::default(),
            forced: Vec::new(),
            keeps: Default::default(),
            texts: Default::default(),
            steps: vec![step],
        };
        let started = What::Started {
            by: "anna".into(),
            reason: String::new(),
            single_step: false,
        };
        let intent = What::Intent {
            step: id,
            attempt: AttemptNo(1),
            on: acted.then(|| "m".parse().unwrap()),
            command: "power-on".into(),
            term: Term(1),
            boot: None,
            undo: false,
        };
        let entries = [started, intent].map(|what| Entry {
            at: Timestamp(1),
            what,
        });
        let plan = Arc::new(SealedPlan::seal(plan).unwrap());
        Operation::replay(OperationId(7), plan, entries).unwrap()
    }

    #[test]
    fn an_unwinding_that_powers_machines_off_takes_the_clusters_name() {
        let operation = startup(true);
        for confirmed in ["", "shop2"] {
            let refused = is_confirmed(&operation, Verb::Unwind, confirmed).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
            assert_eq!(
                refused.message(),
                "unwinding op-7 takes 1 machine down: confirm it with the cluster's name, shop"
            );
        }
        assert!(is_confirmed(&operation, Verb::Unwind, "shop").is_ok());
        assert!(is_confirmed(&operation, Verb::Abort, "").is_ok());
        // What it only found on stays on.
        assert!(is_confirmed(&startup(false), Verb::Unwind, "").is_ok());
    }
}
