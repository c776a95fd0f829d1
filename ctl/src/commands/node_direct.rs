//! An agent, asked directly: for when no coordinator can be.

use std::time::Duration;

use interlock_mesh::channel::{Expected, Target};
use interlock_model::attempt::AttemptState;
use interlock_proto::v1;
use serde_json::{Value, json};

use crate::cli::{Connection, NodeControl, Output};
use crate::client::{Client, SHORT, credentials};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{
    Out, Table, Tone, agent_text, agent_value, clean, date_time, instance_state, instance_value,
    rfc3339,
};

/// The port of an agent if none is named, as in the sample of its file.
const AGENT_PORT: u16 = 7444;

/// A start or stop lasts as long as the service takes; the contract's deadline.
const CONTROL: Duration = Duration::from_secs(300);

pub(super) async fn show(
    connection: &Connection,
    agent: &str,
    output: Output,
    out: Out,
) -> Outcome {
    let client = connect(connection, agent).await?;
    let mut service = client.node();
    let node = client
        .call(
            "ask the agent",
            SHORT,
            service.get_node(v1::GetNodeRequest {}),
        )
        .await?;
    out.show(
        output.output,
        || agent_value(&node),
        |paint| agent_text(&node, paint),
    )?;
    Ok(Exit::Ok)
}

pub(super) async fn attempts(
    connection: &Connection,
    agent: &str,
    limit: u32,
    output: Output,
    out: Out,
) -> Outcome {
    let client = connect(connection, agent).await?;
    let mut service = client.node();
    let entries = client
        .call(
            "read the agent's ledger",
            SHORT,
            service.list_attempts(v1::ListAttemptsRequest { limit }),
        )
        .await?
        .entries;
    out.show(
        output.output,
        || entries.iter().map(entry_value).collect(),
        |paint| {
            let mut table = Table::new(["at", "attempt", "command", "state", "evidence"]);
            for entry in &entries {
                let report = entry.report.clone().unwrap_or_default();
                let (state, tone) = attempt_state(report.state);
                table.row([
                    (date_time(report.at_ms), Tone::Plain),
                    (attempt_name(&report), Tone::Plain),
                    (entry.command.clone(), Tone::Plain),
                    (state, tone),
                    (report.evidence, Tone::Plain),
                ]);
            }
            table.render(paint)
        },
    )?;
    Ok(Exit::Ok)
}

pub(super) async fn control(
    connection: &Connection,
    verb: &str,
    args: &NodeControl,
    out: Out,
) -> Outcome {
    let client = connect(connection, &args.target.node).await?;
    let request = v1::ControlInstanceRequest {
        service: args.service.clone(),
        verb: verb.to_owned(),
        reason: args.reason.clone(),
        override_operations: args
            .override_operation
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    let mut service = client.node();
    let done = client
        .change(
            &format!("{verb} {}", args.service),
            "interlockctl status",
            CONTROL,
            service.control_instance(request),
        )
        .await?;
    let instance = done.instance.unwrap_or_default();
    out.show(
        args.output.output,
        || {
            let mut value = instance_value(&instance);
            value["evidence"] = json!(done.evidence);
            value
        },
        |paint| {
            let (state, tone) = instance_state(instance.state);
            // What was seen may begin with the state itself.
            let seen = done.evidence.strip_prefix(&state);
            let seen = seen.and_then(|seen| seen.strip_prefix(": "));
            format!(
                "{} is {}: {}\n",
                clean(&instance.service),
                paint.tone(tone, &state),
                clean(seen.unwrap_or(&done.evidence))
            )
        },
    )?;
    Ok(Exit::Ok)
}

/// Connects to the agent that `NODE[=HOST[:PORT]]` names. The name is needed as well as the address, because it is what
/// the agent's certificate must prove.
async fn connect(connection: &Connection, agent: &str) -> Result<Client, Failure> {
    let (name, address) = agent.split_once('=').unwrap_or((agent, agent));
    let name = name.parse().map_err(|error| {
        Failure::Usage(format!("--node {agent}: {error}; write NODE=HOST:PORT"))
    })?;
    let target = Target {
        address: context::address(address, AGENT_PORT)?,
        expected: Expected::Agent(name),
    };
    let credentials = credentials(context::credential_files(connection)?)?;
    Ok(Client::connect(&target, &credentials).await?)
}

fn attempt_name(report: &v1::AttemptReport) -> String {
    match &report.id {
        None => String::new(),
        Some(id) => format!("op-{} {} #{}", id.operation, id.step, id.attempt),
    }
}

fn attempt_state(wire: i32) -> (String, Tone) {
    let state = AttemptState::from(v1::AttemptState::try_from(wire).unwrap_or_default());
    let (word, tone) = match state {
        AttemptState::Accepted => ("accepted", Tone::Strong),
        AttemptState::GoingDown => ("going-down", Tone::Strong),
        AttemptState::Done => ("done", Tone::Good),
        AttemptState::Failed => ("failed", Tone::Bad),
        AttemptState::Unknown => ("unknown", Tone::Doubt),
        AttemptState::Refused => ("refused", Tone::Bad),
        AttemptState::NeverSeen => ("never-seen", Tone::Doubt),
    };
    (word.to_owned(), tone)
}

fn entry_value(entry: &v1::LedgerEntry) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let report = entry.report.clone().unwrap_or_default();
    let id = report.id.clone().unwrap_or_default();
    json!({
        "operation": format!("op-{}", id.operation),
        "step": id.step,
        "attempt": id.attempt,
        "term": entry.term,
        "command": entry.command,
        "by": some(&entry.by),
        "reason": some(&entry.reason),
        "state": attempt_state(report.state).0,
        "evidence": report.evidence,
        "at": rfc3339(report.at_ms),
    })
}
