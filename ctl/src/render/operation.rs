//! Operations as text, tables and values.

use std::time::Duration;

use interlock_proto::v1;
use serde_json::{Value, json};

use super::{Beside, Paint, Table, Tone, clean, counted, date_time, elapsed, rfc3339};

/// How many of what is left down are named in a line; programs are given all.
const LEFT_NAMED: usize = 8;

/// How many of the last things that people have asked for are shown; the journal has all, and so have programs.
const ASKED_SHOWN: usize = 10;

/// The tone of an operation's state.
pub(crate) fn operation_tone(state: &str) -> Tone {
    match state {
        "done" => Tone::Good,
        "needs-attention" => Tone::Bad,
        "running" => Tone::Strong,
        _ => Tone::Doubt,
    }
}

/// The tone of a step's state.
pub(crate) fn step_tone(state: &str) -> Tone {
    match state {
        "done" | "undone" => Tone::Good,
        "blocked" | "failed" | "unknown" | "undo-failed" => Tone::Bad,
        "running" | "checking" | "undoing" => Tone::Strong,
        "gated" | "skipped" => Tone::Doubt,
        _ => Tone::Faint,
    }
}

/// In single steps, the step that a `next` lets begin: the first that waits for nothing else.
pub(crate) fn offered(operation: &v1::Operation) -> Option<&str> {
    let mut steps = operation.steps.iter();
    let offered = steps.find(|step| step.awaits_next);
    offered.map(|step| step.step.as_str())
}

/// Operations, one a row.
pub(crate) fn operations_table(operations: &[v1::OperationSummary], paint: Paint) -> String {
    if operations.is_empty() {
        return "no operations\n".to_owned();
    }
    let plain = |text: &str| (text.to_owned(), Tone::Plain);
    let mut table = Table::new([
        "operation",
        "kind",
        "scope",
        "state",
        "steps",
        "started",
        "took",
        "by",
        "reason",
    ]);
    for one in operations {
        let took = match one.ended_ms {
            0 => String::new(),
            ended => elapsed(Duration::from_millis(ended.saturating_sub(one.started_ms))),
        };
        table.row([
            plain(&one.operation),
            plain(&one.kind),
            plain(&one.scope),
            (one.state.clone(), operation_tone(&one.state)),
            plain(&format!("{}/{}", one.steps_done, one.steps)),
            plain(&date_time(one.started_ms)),
            plain(&took),
            plain(&one.started_by),
            plain(&one.reason),
        ]);
    }
    table.render(paint)
}

/// One operation with its steps.
pub(crate) fn operation_text(operation: &v1::Operation, beside: &Beside, paint: Paint) -> String {
    let summary = operation.summary.clone().unwrap_or_default();
    let mut text = format!(
        "{} {} {}: {}, {} of {} settled\nstarted {} by {}{}\n",
        clean(&summary.operation),
        clean(&summary.kind),
        clean(&summary.scope),
        paint.tone(operation_tone(&summary.state), &clean(&summary.state)),
        summary.steps_done,
        counted(summary.steps, "step"),
        date_time(summary.started_ms),
        clean(&summary.started_by),
        match summary.reason.as_str() {
            "" => String::new(),
            reason => format!(": {}", clean(reason)),
        },
    );
    if operation.single_step {
        let each =
            "in single steps: each step waits for `operation next`; `operation resume` ends that";
        text.push_str(&format!("{}\n", paint.tone(Tone::Doubt, each)));
    }
    if !operation.attention.is_empty() {
        text.push_str(&format!(
            "{}\n",
            paint.tone(Tone::Bad, &clean(&operation.attention))
        ));
    }
    if let Some(trouble) = store_trouble(&operation.store_trouble, paint) {
        text.push_str(&format!("{trouble}\n"));
    }
    if !operation.end_waits_for.is_empty() {
        text.push_str(&format!(
            "{}\n",
            paint.tone(Tone::Doubt, &ending(operation))
        ));
    }
    if let Some(left) = left_down(operation, paint) {
        text.push_str(&format!("{left}\n"));
    }
    text.push_str(&asked_lines(operation));
    if !operation.possible.is_empty() {
        text.push_str(&format!(
            "possible now: {}\n",
            operation
                .possible
                .iter()
                .map(|verb| command_word(verb))
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    text.push('\n');
    let mut table = Table::new([
        "step",
        "state",
        "try",
        "took",
        "evidence, or what it waits for",
    ]);
    for step in &operation.steps {
        let took = match (step.began_ms, step.ended_ms) {
            (began @ 1.., ended @ 1..) => {
                elapsed(Duration::from_millis(ended.saturating_sub(began)))
            }
            _ => beside.elapsed(step),
        };
        let said = if let Some(silent) = beside.silent(step) {
            // More than what it was told last, which its agent may never have heard.
            format!("{silent}; {}", said_of(step))
        } else {
            said_of(step)
        };
        table.row([
            (step.step.clone(), Tone::Plain),
            (step.state.clone(), step_tone(&step.state)),
            (step.attempt.to_string(), Tone::Faint),
            (took, Tone::Plain),
            (said, Tone::Plain),
        ]);
    }
    text.push_str(&table.render(paint));
    text
}

/// That the store takes no writes, if so.
pub(crate) fn store_trouble(trouble: &str, paint: Paint) -> Option<String> {
    (!trouble.is_empty()).then(|| {
        let text = format!(
            "the store takes no writes ({}): this is what it holds, and what has happened since is not kept yet",
            clean(trouble)
        );
        paint.tone(Tone::Bad, &text)
    })
}

/// What people have asked of it, a line each.
fn asked_lines(operation: &v1::Operation) -> String {
    let asked = &operation.asked;
    let hidden = asked.len().saturating_sub(ASKED_SHOWN);
    let mut text = String::new();
    if hidden > 0 {
        let name = operation
            .summary
            .as_ref()
            .map_or("", |summary| &summary.operation);
        text.push_str(&format!(
            "asked {hidden} times before that: interlockctl operation journal {}\n",
            clean(name)
        ));
    }
    for one in &asked[hidden..] {
        text.push_str(&format!(
            "asked {}: {}\n",
            date_time(one.at_ms),
            asked_one(one)
        ));
    }
    text
}

/// `retry stop:web@web1 by anna: its disk was full`.
fn asked_one(one: &v1::Asked) -> String {
    let mut text = command_word(&one.verb);
    if !one.step.is_empty() {
        text.push_str(&format!(" {}", clean(&one.step)));
    }
    text.push_str(&format!(" by {}", clean(&one.by)));
    if !one.reason.is_empty() {
        text.push_str(&format!(": {}", clean(&one.reason)));
    }
    text
}

/// What it has left down, with the command that brings it back; none if nothing is.
pub(crate) fn left_down(operation: &v1::Operation, paint: Paint) -> Option<String> {
    let left = &operation.left_down;
    if left.is_empty() {
        return None;
    }
    let mut named: Vec<String> = left.iter().take(LEFT_NAMED).map(left_one).collect();
    if let Some(more @ 1..) = left.len().checked_sub(LEFT_NAMED) {
        named.push(format!("{more} more"));
    }
    let back = match operation.bring_back.as_str() {
        "" => String::new(),
        command => format!("; `{command}` brings back what is left down"),
    };
    Some(format!(
        "{} {}",
        paint.tone(Tone::Bad, "left down"),
        clean(&format!("{}{back}", named.join(", ")))
    ))
}

fn left_one(left: &v1::LeftDown) -> String {
    let perhaps = if left.perhaps { ", perhaps" } else { "" };
    let (node, way) = (&left.node, &left.way);
    match left.service.as_str() {
        "" => format!("the machine {node} ({way}{perhaps})"),
        service => format!("{service} on {node} ({way}{perhaps})"),
    }
}

/// The last thing seen of a step, and what it waits for.
fn said_of(step: &v1::StepStatus) -> String {
    if step.waits_for.is_empty() {
        step.evidence.clone()
    } else if step.evidence.is_empty() {
        format!("waits for {}", step.waits_for)
    } else {
        format!("waits for {}; last: {}", step.waits_for, step.evidence)
    }
}

/// What people type for a verb.
fn command_word(verb: &str) -> String {
    match verb {
        "unwind" => "abort --unwind".to_owned(),
        verb => clean(verb),
    }
}

/// What the end of an operation waits for, as a line.
pub(crate) fn ending(operation: &v1::Operation) -> String {
    format!(
        "every step is settled; its end waits for {}",
        clean(&operation.end_waits_for)
    )
}

/// An operation in a line, for programs.
pub(crate) fn summary_value(summary: &v1::OperationSummary) -> Value {
    json!({
        "operation": summary.operation,
        "kind": summary.kind,
        "scope": summary.scope,
        "state": summary.state,
        "reason": summary.reason,
        "started_by": summary.started_by,
        "started": rfc3339(summary.started_ms),
        "ended": rfc3339(summary.ended_ms),
        "steps_total": summary.steps,
        "steps_done": summary.steps_done,
        "digest": summary.digest,
    })
}

/// An operation with its steps, for programs.
pub(crate) fn operation_value(operation: &v1::Operation) -> Value {
    let mut value = summary_value(&operation.summary.clone().unwrap_or_default());
    value["attention"] = json!(operation.attention);
    value["end_waits_for"] = json!(operation.end_waits_for);
    value["possible"] = json!(operation.possible);
    value["single_step"] = json!(operation.single_step);
    value["left_down"] = operation.left_down.iter().map(left_value).collect();
    value["bring_back"] = match operation.bring_back.as_str() {
        "" => Value::Null,
        command => json!(command),
    };
    value["asked"] = operation.asked.iter().map(asked_value).collect();
    value["store_trouble"] = match operation.store_trouble.as_str() {
        "" => Value::Null,
        trouble => json!(trouble),
    };
    value["steps"] = operation.steps.iter().map(step_value).collect();
    value
}

fn asked_value(one: &v1::Asked) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "at": rfc3339(one.at_ms),
        "by": one.by,
        "verb": one.verb,
        "step": some(&one.step),
        "reason": some(&one.reason),
    })
}

fn left_value(left: &v1::LeftDown) -> Value {
    json!({
        "node": left.node,
        // None: the machine.
        "service": Some(&left.service).filter(|service| !service.is_empty()),
        "way": left.way,
        "perhaps": left.perhaps,
    })
}

fn step_value(step: &v1::StepStatus) -> Value {
    json!({
        "step": step.step,
        "state": step.state,
        "attempt": step.attempt,
        "waits_for": step.waits_for,
        "evidence": step.evidence,
        "began": rfc3339(step.began_ms),
        "ended": rfc3339(step.ended_ms),
        "turn": rfc3339(step.turn_ms),
        "awaits_next": step.awaits_next,
        "reached": step.reached,
    })
}
