//! `shutdown`, `startup`, `restart`, `reboot`: plan, show, confirm, start, follow.
//!
//! What is started is what was shown: the plan is named by its digest, which was checked against the bytes that were
//! drawn. The coordinator refuses it if the cluster has changed meanwhile.

use std::io::{self, IsTerminal};

use interlock_model::action::Action;
use interlock_model::plan::{Plan, PlanKind, SealedPlan};
use interlock_planner::view;
use interlock_proto::v1;
use tonic::Code;

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
    let made = make(&client, kind, &args.plan).await?;
    let format = args.output.output;
    show(&made, format, out)?;
    let Some(plan) = &made.plan else {
        if format != Format::Table {
            out.show(format, || made.value(), |_| String::new())?;
        }
        out.say(&no_plan_line(&made.report))?;
        tell_who_is_at_work(&client, out).await?;
        return Ok(Exit::NoPlan);
    };
    if plan.plan().steps.is_empty() {
        return nothing_to_do::tell(&client, &made, &args.plan.scope, format, out).await;
    }
    let confirmed = confirm(plan.plan(), &args.confirm, out)?;
    // From here on Ctrl-C leaves an operation behind, and says so.
    let mut interrupt = Interrupt::listen()?;
    let operation = tokio::select! {
        started = start(&client, plan, confirmed, &args.confirm) => match started {
            Ok(operation) => operation,
            Err(refused) => return Err(explained(refused, &client, kind, &args.plan, plan).await),
        },
        () = interrupt.pressed() => {
            out.say(
                "detached before the coordinator answered: whether the operation was started is not known. Look with:\n  \
                 interlockctl operation list",
            )?;
            return Ok(Exit::Detached);
        }
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
    follow(
        Follow {
            coordinators,
            client,
            operation: name,
            format,
            step: args.confirm.step,
            interrupt,
        },
        out,
    )
    .await
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

/// Asks, or takes the flags for the answer. Returns the cluster's name if it was confirmed by name.
fn confirm(plan: &Plan, args: &Confirm, out: Out) -> Result<String, Failure> {
    let cluster = plan.cluster.as_str();
    let machines = takes_machines_down(plan);
    if let Some(name) = &args.cluster
        && name != cluster
    {
        return Err(Failure::Refused(format!(
            "--cluster says {name}, but the coordinator runs {cluster}: is it the right context? Nothing was done"
        )));
    }
    let named = args.cluster.is_some();
    match (args.yes, machines, named) {
        (true, 0, _) | (true, _, true) => return Ok(cluster.to_owned()),
        (true, _, false) => {
            return Err(Failure::Usage(format!(
                "this plan takes {} down: --yes needs --cluster {cluster} for that. Nothing was done",
                counted(machines, "machine")
            )));
        }
        (false, _, _) => {}
    }
    if !io::stdin().is_terminal() {
        let flags = if machines > 0 {
            format!("--yes --cluster {cluster}")
        } else {
            "--yes".to_owned()
        };
        return Err(Failure::Refused(format!(
            "nobody can be asked, since standard input is no terminal: say {flags} to start this plan. Nothing was done"
        )));
    }
    if machines > 0 && !named {
        let answer = out.ask(&format!(
            "This takes {} of {cluster} down. Type the cluster's name to go on: ",
            counted(machines, "machine")
        ))?;
        if answer != cluster {
            return Err(not_confirmed());
        }
        return Ok(answer);
    }
    let answer = out.ask(&format!(
        "Start {} on {cluster}? [y/N] ",
        counted(plan.steps.len(), "step")
    ))?;
    if matches!(answer.as_str(), "y" | "Y" | "yes") {
        Ok(cluster.to_owned())
    } else {
        Err(not_confirmed())
    }
}

fn not_confirmed() -> Failure {
    Failure::Refused("not confirmed: nothing was done".to_owned())
}

async fn start(
    client: &Client,
    plan: &SealedPlan,
    confirm_cluster: String,
    args: &Confirm,
) -> Result<v1::Operation, RpcFailure> {
    let request = v1::StartOperationRequest {
        digest: plan.digest().to_string(),
        confirm_cluster,
        reason: args.reason.clone(),
        single_step: args.step,
    };
    let mut operations = client.operations();
    let call = operations.start_operation(request);
    client.call("start the operation", SHORT, call).await
}

/// Why a plan was not started. Where the cluster is not the one that it was made for any more: what is different now, by
/// a plan that is made anew and only looked at.
async fn explained(
    refused: RpcFailure,
    client: &Client,
    kind: PlanKind,
    args: &PlanArgs,
    shown: &SealedPlan,
) -> Failure {
    if refused.code() != Code::FailedPrecondition {
        return refused.into();
    }
    let Ok(again) = make(client, kind, args).await else {
        return refused.into();
    };
    let different = match &again.plan {
        Some(now) => difference(shown.plan(), now.plan()),
        None => again.report.refusals().map(ToString::to_string).collect(),
    };
    if different.is_empty() {
        return refused.into();
    }
    Failure::Refused(format!(
        "{refused}\n  what is different now: {}",
        different.join("; ")
    ))
}
