//! `shutdown`, `startup`, `restart`, `reboot`: plan, show, confirm, start, follow.
//!
//! What is started is what was shown: the plan is named by its digest, which was checked against the bytes that were
//! drawn. The coordinator refuses it if the cluster has changed meanwhile.

use interlock_model::action::Action;
use interlock_model::names::ServiceName;
use interlock_model::plan::{Plan, PlanKind, SealedPlan};
use interlock_planner::view;
use interlock_proto::v1;
use tonic::Code;

use super::confirm::{Act, is_meant};
use super::nothing_to_do;
use super::plan::{Made, make, print, tell_who_is_at_work};
use super::plan_difference::difference;
use crate::cli::{Confirm, Connection, Format, PlanArgs, PlanFormat, Run};
use crate::client::{Client, RpcFailure, SHORT};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::follow::{Follow, follow};
use crate::interrupt::Interrupt;
use crate::render::{
    Out, clean, clean_lines, counted, no_plan_line, operation_value, report_lines,
};

pub(super) async fn run(connection: &Connection, kind: PlanKind, args: &Run, out: Out) -> Outcome {
    let coordinators = context::coordinators(connection)?;
    let client = coordinators.connect().await?;
    let made = make(&client, kind, &args.plan, out).await?;
    let format = args.output.output;
    show(&made, format, out)?;
    let Some(plan) = &made.plan else {
        if format != Format::Table {
            out.show(format, || made.value(), |_| String::new())?;
        }
        tell_who_is_at_work(&client, out).await?;
        return Err(Failure::NoPlan(no_plan_line(&made.report)));
    };
    if plan.plan().steps.is_empty() {
        is_meant(&args.confirm.answer, plan.plan().cluster.as_str())?;
        return nothing_to_do::tell(&client, &made, &args.plan.scope, format, out).await;
    }
    let begun = begin(&client, kind, plan, args, out).await;
    if format != Format::Table && !matches!(begun, Ok(Begun::Operation(..))) {
        // It comes to no operation that could be told.
        out.show(format, || made.value(), |_| String::new())?;
    }
    let (operation, interrupt) = match begun? {
        Begun::Operation(operation, interrupt) => (*operation, interrupt),
        Begun::Detached => return Ok(Exit::Detached),
    };
    let name = operation.summary.clone().unwrap_or_default().operation;
    out.say(&format!("{} is started", clean(&name)))?;
    if args.confirm.no_wait {
        out.show(
            format,
            || operation_value(&operation),
            |_| format!("{name}\n"),
        )?;
        out.say(&format!(
            "follow it with: interlockctl operation watch {name}"
        ))?;
        return Ok(Exit::Ok);
    }
    let ended = follow(
        Follow {
            coordinators,
            client: client.clone(),
            operation: name,
            format,
            step: args.confirm.step,
            interrupt,
        },
        out,
    )
    .await?;
    match ended {
        Exit::Ok => nothing_to_do::externals(&client, &made, &args.plan.scope, out).await,
        other => Ok(other),
    }
}

/// Shows the plan: with the data if that is for people, else as talk, so that a program gets one value only: the operation
/// as it ended, or the plan if it comes to none.
fn show(made: &Made, format: Format, out: Out) -> Result<(), Failure> {
    if format == Format::Table {
        return print(made, PlanFormat::Tree, out);
    }
    if let Some(plan) = &made.plan {
        out.say(clean_lines(&view::tree(plan)).trim_end())?;
    }
    out.say(report_lines(&made.report, out.talk_paint()).trim_end())
}

/// Does the plan take machines down? Then a yes is not enough.
fn takes_machines_down(plan: &Plan) -> usize {
    let switches = |action: &Action| matches!(action, Action::PowerOff { .. } | Action::Reboot);
    plan.steps
        .iter()
        .filter(|step| switches(&step.action))
        .count()
}

/// What became of a plan that was shown.
enum Begun {
    /// It is under way; Ctrl-C has been listened to since before it was started.
    Operation(Box<v1::Operation>, Interrupt),
    /// Ctrl-C came before the coordinator answered.
    Detached,
}

/// Asks, and starts the plan.
async fn begin(
    client: &Client,
    kind: PlanKind,
    plan: &SealedPlan,
    args: &Run,
    out: Out,
) -> Result<Begun, Failure> {
    let cluster = plan.plan().cluster.as_str();
    let act = Act {
        cluster,
        machines: takes_machines_down(plan.plan()),
        loses: plan.plan().accepted.keys().next().map(ServiceName::as_str),
        name: "this plan",
        verb: "start this plan",
        question: format!(
            "Start {} on {cluster}?",
            counted(plan.plan().steps.len(), "step")
        ),
    };
    let confirmed = act.confirm(&args.confirm.answer, out)?;
    // From here on Ctrl-C leaves an operation behind, and says so.
    let mut interrupt = Interrupt::listen()?;
    tokio::select! {
        started = start(client, plan, confirmed, &args.confirm) => match started {
            Ok(operation) => Ok(Begun::Operation(Box::new(operation), interrupt)),
            Err(refused) => Err(explained(refused, client, kind, &args.plan, plan, out).await),
        },
        () = interrupt.pressed() => {
            out.say(
                "detached before the coordinator answered: whether the operation was started is not known. Look with:\n  \
                 interlockctl operation list",
            )?;
            Ok(Begun::Detached)
        }
    }
}

async fn start(
    client: &Client,
    plan: &SealedPlan,
    confirm_cluster: String,
    args: &Confirm,
) -> Result<v1::Operation, RpcFailure> {
    let mut losing = plan.plan().accepted.keys();
    let confirm_service = losing.next().map(ToString::to_string).unwrap_or_default();
    let request = v1::StartOperationRequest {
        digest: plan.digest().to_string(),
        confirm_cluster,
        reason: args.reason.clone(),
        single_step: args.step,
        confirm_service,
    };
    let mut operations = client.operations();
    let call = operations.start_operation(request);
    let look = "interlockctl operation list";
    client
        .change("start the operation", look, SHORT, call)
        .await
}

/// Why a plan was not started. Where the cluster is not the one that it was made for any more: what is different now, by
/// a plan that is made anew and only looked at.
async fn explained(
    refused: RpcFailure,
    client: &Client,
    kind: PlanKind,
    args: &PlanArgs,
    shown: &SealedPlan,
    out: Out,
) -> Failure {
    if refused.code() != Code::FailedPrecondition {
        return refused.into();
    }
    let Ok(again) = make(client, kind, args, out).await else {
        return refused.into();
    };
    let different = match &again.plan {
        Some(now) => difference(shown.plan(), now.plan()),
        None => again.report.refusals().map(ToString::to_string).collect(),
    };
    if different.is_empty() {
        return refused.into();
    }
    let different = format!("what is different now: {}", different.join("; "));
    refused.explained(&different).into()
}
