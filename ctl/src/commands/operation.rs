//! `operation`: look, follow, steer.

use interlock_proto::v1;
use serde_json::{Value, json};

use super::{retry, status, unwind};
use crate::cli::{Connection, Format, OperationCommand, Output};
use crate::client::{Client, SHORT};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::follow::{Follow, follow};
use crate::interrupt::Interrupt;
use crate::render::{
    Beside, Out, Table, Tone, clean, counted, date_time, left_down, offered, operation_text,
    operation_value, operations_table, rfc3339, store_trouble, summary_value,
};

pub(super) async fn run(connection: &Connection, command: OperationCommand, out: Out) -> Outcome {
    let coordinators = context::coordinators(connection)?;
    let client = coordinators.connect().await?;
    match command {
        OperationCommand::List { limit, output } => list(&client, limit, output, out).await,
        OperationCommand::Show { operation, output } => {
            let found = get(&client, &operation.operation, false).await?;
            // Not worth a failure: without it the rest is shown.
            let status = status::get(&client).await.ok();
            let beside = Beside::new(&found, status.as_ref());
            out.show(
                output.output,
                || beside.value(&found),
                |paint| operation_text(&found, &beside, paint),
            )?;
            Ok(Exit::Ok)
        }
        OperationCommand::Watch { operation, output } => {
            // Asked for first, so that a wrong name is an error and not a wait; and written as the coordinator does.
            let found = get(&client, &operation.operation, true).await?;
            let name = found.summary.unwrap_or_default().operation;
            let format = output.output;
            let step = found.single_step;
            let what = Follow {
                coordinators,
                client,
                operation: name,
                format,
                step,
                interrupt: Interrupt::listen()?,
            };
            follow(what, out).await
        }
        OperationCommand::Journal { operation, output } => {
            journal(&client, &operation.operation, output.output, out).await
        }
        OperationCommand::Pause(args) => {
            let request = verb("pause", &args.operation, "", &args.reason);
            control(&client, request, args.output, out).await
        }
        OperationCommand::Resume(args) => {
            let request = verb("resume", &args.operation, "", &args.reason);
            control(&client, request, args.output, out).await
        }
        OperationCommand::Next(args) => {
            // The step that is shown now, so that of two who say so at once only one is followed. While one is under way
            // nobody has looked at the next.
            let seen = get(&client, &args.operation, true).await?;
            let under_way = |step: &v1::StepStatus| matches!(&*step.state, "running" | "checking");
            let step = match (&args.step, seen.steps.iter().any(under_way)) {
                (Some(step), _) => step,
                (None, false) => offered(&seen).unwrap_or_default(),
                (None, true) => "",
            };
            let request = verb("next", &args.operation, step, &args.reason);
            control(&client, request, args.output, out).await
        }
        OperationCommand::Retry(args) => match &args.step {
            Some(step) => {
                let request = verb("retry", &args.operation, step, &args.reason);
                control(&client, request, args.output, out).await
            }
            None => retry::all(&client, &args, out).await,
        },
        OperationCommand::Skip(args) => {
            let request = verb("skip", &args.operation, &args.step, &args.reason);
            control(&client, request, args.output, out).await
        }
        OperationCommand::Abort {
            target,
            unwind: false,
            answer,
        } => {
            if answer.yes || answer.cluster.is_some() {
                return Err(Failure::Usage(
                    "--yes and --cluster are about --unwind: an abort takes nothing back, and is not asked about"
                        .to_owned(),
                ));
            }
            let request = verb("abort", &target.operation, "", &target.reason);
            control(&client, request, target.output, out).await
        }
        OperationCommand::Abort {
            target,
            unwind: true,
            answer,
        } => {
            let format = target.output.output;
            let confirmed =
                unwind::confirm(&client, &target.operation, &answer, format, out).await?;
            let request = v1::ControlOperationRequest {
                confirm_cluster: confirmed,
                ..verb("unwind", &target.operation, "", &target.reason)
            };
            control(&client, request, target.output, out).await
        }
    }
}

async fn list(client: &Client, limit: u32, output: Output, out: Out) -> Outcome {
    let request = v1::ListOperationsRequest {
        limit,
        before: String::new(),
    };
    let mut operations = client.operations();
    let listed = client
        .call(
            "list operations",
            SHORT,
            operations.list_operations(request),
        )
        .await?;
    let trouble = store_trouble(&listed.store_trouble, out.talk_paint());
    let listed = listed.operations;
    out.show(
        output.output,
        || listed.iter().map(summary_value).collect(),
        |paint| operations_table(&listed, paint),
    )?;
    if let Some(trouble) = trouble {
        out.say(&trouble)?;
    }
    Ok(Exit::Ok)
}

/// One operation; its plan too, unless `brief`.
pub(super) async fn get(
    client: &Client,
    operation: &str,
    brief: bool,
) -> Result<v1::Operation, Failure> {
    let request = v1::GetOperationRequest {
        operation: operation.to_owned(),
        brief,
    };
    let mut operations = client.operations();
    Ok(client
        .call(
            "show the operation",
            SHORT,
            operations.get_operation(request),
        )
        .await?)
}

pub(super) fn verb(
    verb: &str,
    operation: &str,
    step: &str,
    reason: &str,
) -> v1::ControlOperationRequest {
    v1::ControlOperationRequest {
        operation: operation.to_owned(),
        verb: verb.to_owned(),
        step: step.to_owned(),
        reason: reason.to_owned(),
        confirm_cluster: String::new(),
    }
}

/// Asks for something, and says how the operation is then.
pub(super) async fn control(
    client: &Client,
    request: v1::ControlOperationRequest,
    output: Output,
    out: Out,
) -> Outcome {
    let doing = match request.verb.as_str() {
        "unwind" => "abort and unwind the operation".to_owned(),
        "next" if request.step.is_empty() => "let the next step begin".to_owned(),
        "next" => format!("let {} begin", request.step),
        "retry" | "skip" | "approve" => format!("{} {}", request.verb, request.step),
        verb => format!("{verb} the operation"),
    };
    let mut operations = client.operations();
    let look = format!("interlockctl operation show {}", request.operation);
    let pauses = request.verb == "pause";
    // Only for the words: it may have changed until it is asked.
    let before = match pauses {
        true => get(client, &request.operation, true).await.ok(),
        false => None,
    };
    let call = operations.control_operation(request);
    let after = client.change(&doing, &look, SHORT, call).await?;
    let already = before.is_some_and(|before| state(&before) == state(&after));
    show_after(&after, already, output, out)
}

/// Says how an operation is after something was asked of it.
pub(super) fn show_after(
    after: &v1::Operation,
    already: bool,
    output: Output,
    out: Out,
) -> Outcome {
    out.show(
        output.output,
        || operation_value(after),
        |paint| {
            let summary = after.summary.clone().unwrap_or_default();
            let left = left_down(after, paint).map_or(String::new(), |left| format!("{left}\n"));
            format!(
                "{} is {}{}{}, {} of {} settled\n{left}",
                clean(&summary.operation),
                clean(&summary.state),
                if already { " already" } else { "" },
                if after.single_step {
                    " in single steps"
                } else {
                    ""
                },
                summary.steps_done,
                counted(summary.steps, "step")
            )
        },
    )?;
    Ok(Exit::Ok)
}

fn state(operation: &v1::Operation) -> String {
    let summary = operation.summary.as_ref();
    summary.map_or_else(String::new, |summary| summary.state.clone())
}

async fn journal(client: &Client, operation: &str, format: Format, out: Out) -> Outcome {
    let entries = client.journal(operation).await?;
    out.show(
        format,
        || entries.iter().map(entry_value).collect(),
        |paint| {
            let mut table = Table::new(["number", "at", "what", "step", "detail"]);
            for entry in &entries {
                table.row([
                    (entry.sequence.to_string(), Tone::Faint),
                    (date_time(entry.at_ms), Tone::Plain),
                    (entry.what.clone(), Tone::Strong),
                    (entry.step.clone(), Tone::Plain),
                    (entry.detail.clone(), Tone::Plain),
                ]);
            }
            table.render(paint)
        },
    )?;
    Ok(Exit::Ok)
}

/// An entry of a journal, for programs.
pub(super) fn entry_value(entry: &v1::JournalEntry) -> Value {
    json!({
        "sequence": entry.sequence,
        "at": rfc3339(entry.at_ms),
        "what": entry.what,
        "step": entry.step,
        "detail": entry.detail,
        // The entry as the coordinator keeps it; a null if it is of a kind that cannot be read here.
        "entry": serde_json::from_str::<Value>(&entry.json).unwrap_or_default(),
    })
}
