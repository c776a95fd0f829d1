//! `operation abort --unwind`: what it takes back is shown and confirmed, as a plan is.
//!
//! What has acted and has an undo is taken back. The plan says which step has one, and the journal which step has acted:
//! one that only found things as they shall be has an attempt, and nothing to take back.

use std::collections::BTreeSet;

use interlock_model::action::Action;
use interlock_model::plan::{Plan, SealedPlan, Step};
use interlock_proto::v1;
use serde_json::{Value, json};

use super::confirm::Act;
use super::operation::get;
use crate::cli::{Answer, Format};
use crate::client::Client;
use crate::failure::Failure;
use crate::render::{Out, Paint, Table, Tone, clean, counted, operation_value};

/// Shows what an unwinding takes back, and asks. What is not possible is left to the coordinator to refuse. Returns the
/// cluster's name if that was the answer: an unwinding that powers a machine off which was not shown is refused then.
///
/// # Errors
/// If it is not confirmed, or what it takes back cannot be told.
pub(super) async fn confirm(
    client: &Client,
    operation: &str,
    answer: &Answer,
    format: Format,
    out: Out,
) -> Result<String, Failure> {
    let found = get(client, operation, false).await?;
    if !found.possible.iter().any(|verb| verb == "unwind") {
        return Ok(answer.cluster.clone().unwrap_or_default());
    }
    let name = found.summary.clone().unwrap_or_default().operation;
    let sealed = SealedPlan::open(found.plan_json.clone().into_bytes()).map_err(|error| {
        Failure::Refused(format!(
            "the plan of {name} cannot be read, so that nobody can see what unwinding it takes back: use the \
             interlockctl of the coordinator's version. Nothing was done: {error}"
        ))
    })?;
    let plan = sealed.plan();
    let journal = client.journal(operation).await?;
    let back = takes_back(plan, &found, &acted(&journal));
    if format == Format::Table {
        out.data(&lines(&name, &back, out.paint()))?;
    } else {
        out.say(lines(&name, &back, out.talk_paint()).trim_end())?;
    }
    let act = Act {
        cluster: plan.cluster.as_str(),
        loses: None,
        machines: back.iter().filter(|it| it.takes_machine_down()).count(),
        name: &format!("unwinding {name}"),
        verb: "unwind it",
        question: format!(
            "Unwind {name} on {}, {} to be taken back?",
            plan.cluster,
            counted(back.len(), "step")
        ),
    };
    let named = act.machines > 0 || answer.cluster.is_some();
    let confirmed = act.confirm(answer, out);
    if confirmed.is_err() && format != Format::Table {
        let mut value = operation_value(&found);
        value["takes_back"] = back.iter().map(Back::value).collect();
        out.show(format, || value, |_| String::new())?;
    }
    let cluster = confirmed?;
    Ok(if named { cluster } else { String::new() })
}

/// A step that is taken back, and how.
#[derive(Debug)]
struct Back<'a> {
    step: &'a Step,
    undo: &'a Action,
}

impl Back<'_> {
    fn takes_machine_down(&self) -> bool {
        matches!(self.undo, Action::PowerOff { .. } | Action::Reboot)
    }

    /// What is done, for people.
    fn text(&self) -> String {
        let node = self.step.node.as_ref().map_or("", |node| node.as_str());
        let service = self.step.service.as_ref().map_or("", |name| name.as_str());
        match self.undo {
            Action::PowerOn { .. } => format!("power {node} on"),
            Action::PowerOff { .. } => format!("power {node} off"),
            Action::Drain { member, .. } => format!("drain {member} on {service}@{node}"),
            Action::Admit { member } => format!("admit {member} on {service}@{node}"),
            Action::RestoreFile { file } => {
                format!("put back the file {file} of {service} on {node}")
            }
            action if service.is_empty() => format!("{action} {node}"),
            action => format!("{action} {service} on {node}"),
        }
    }

    fn value(&self) -> Value {
        json!({ "step": self.step.id, "by": self.undo.word(), "node": self.step.node, "service": self.step.service })
    }
}

/// The steps of which an attempt was sent to an agent. An entry that cannot be read, of a newer version, is taken for one.
fn acted(journal: &[v1::JournalEntry]) -> BTreeSet<&str> {
    let sent = |entry: &&v1::JournalEntry| {
        let read = serde_json::from_str::<Value>(&entry.json);
        entry.what == "intent" && !read.is_ok_and(|value| value["on"].is_null())
    };
    let sent = journal.iter().filter(sent);
    sent.map(|entry| entry.step.as_str()).collect()
}

/// What is taken back, in the order in which it is: what came last first.
fn takes_back<'a>(
    plan: &'a Plan,
    operation: &v1::Operation,
    acted: &BTreeSet<&str>,
) -> Vec<Back<'a>> {
    let done = |step: &Step| {
        let mut steps = operation.steps.iter();
        steps.any(|it| it.step == step.id.as_str() && it.state == "done")
    };
    // What was stopped, and started again by the same plan, runs as it did before.
    let restarted = |stop: &Step| {
        let again = |step: &&Step| matches!(step.action, Action::Start | Action::Verify);
        let mut again = plan.steps.iter().filter(again);
        stop.action == Action::Stop
            && again.any(|it| (&it.service, &it.node) == (&stop.service, &stop.node) && done(it))
    };
    let steps = plan.steps.iter().rev();
    steps
        .filter(|step| acted.contains(step.id.as_str()) && !restarted(step))
        .filter_map(|step| {
            let undo = &*step.undo.as_ref()?.0;
            Some(Back { step, undo })
        })
        .collect()
}

fn lines(name: &str, back: &[Back<'_>], paint: Paint) -> String {
    if back.is_empty() {
        return format!(
            "{} has done nothing yet that unwinding takes back\n",
            clean(name)
        );
    }
    let mut table = Table::new(["unwinding will", "which takes back"]);
    for one in back {
        let tone = if one.takes_machine_down() {
            Tone::Bad
        } else {
            Tone::Strong
        };
        table.row([(one.text(), tone), (one.step.id.to_string(), Tone::Plain)]);
    }
    table.render(paint)
}
