//! The plan and its report as one JSON value.

use interlock_model::action::Action;
use interlock_model::file::Text;
use interlock_model::plan::{Digest, SealedPlan, Step, StepId};
use interlock_model::time::human;
use serde_json::{Map, Value, json as value};

use crate::report::{Entry, Report};

/// The plan and its report as one JSON value, the format of `interlockctl plan -o json`.
///
/// `digest`, `generation`, `kind`, `cluster`, `scope`, `assumptions`, `forced`, `steps` and `report`; `texts` with what files will say,
/// by digest, where there are any: a step that tries or writes a file names its `file` and `text`. Without a plan
/// the digest is null and there are no steps. A step is `id`, `action`, `node`, `service`, `stage`,
/// `after: [{step, until}]`, `timeout` (`1m 30s`) and `undo` (a word or null); `gates` and `healthy` name the checks
/// that it waits for before and after, where there are any. The stage is a derived view, never a barrier. An entry of
/// the report has its kind in `entry`, its fields, and in `text` the line for people.
#[must_use]
pub fn json(plan: Option<&SealedPlan>, report: &Report) -> Value {
    let mut fields = Map::new();
    fields.insert(
        "digest".into(),
        plan.map_or(Value::Null, |sealed| value!(sealed.digest().to_string())),
    );
    if let Some(plan) = plan.map(SealedPlan::plan) {
        fields.insert("generation".into(), value!(plan.generation));
        fields.insert("kind".into(), value!(plan.kind));
        fields.insert("cluster".into(), value!(plan.cluster));
        fields.insert("scope".into(), value!(plan.scope));
        fields.insert("assumptions".into(), value!(plan.assumptions));
        fields.insert(
            "forced".into(),
            plan.forced.iter().map(ToString::to_string).collect(),
        );
        if !plan.texts.is_empty() {
            let shown =
                |(digest, text): (&Digest, &Text)| (digest.to_string(), value!(text.to_string()));
            let texts: Map<String, Value> = plan.texts.iter().map(shown).collect();
            fields.insert("texts".into(), Value::Object(texts));
        }
        let stages = plan.stages();
        let stage = |id: &StepId| stages.get(id).copied().unwrap_or(1);
        fields.insert(
            "steps".into(),
            plan.steps
                .iter()
                .map(|one| step(one, stage(&one.id)))
                .collect(),
        );
    } else {
        fields.insert("steps".into(), value!([]));
    }
    fields.insert(
        "report".into(),
        report.entries().iter().map(entry).collect(),
    );
    Value::Object(fields)
}

fn step(step: &Step, stage: u32) -> Value {
    let mut fields = value!({
        "id": step.id,
        "action": step.action.word(),
        "node": step.node,
        "service": step.service,
        "stage": stage,
        "after": step.after,
        "timeout": human::text(step.timeout),
        "undo": step.undo.as_ref().map(|undo| undo.0.word()),
    });
    if let Action::TryFile { file, text } | Action::WriteFile { file, text } = &step.action {
        fields["file"] = value!(file);
        fields["text"] = value!(text);
    }
    for (key, gates) in [("gates", &step.gates), ("healthy", &step.healthy)] {
        if !gates.is_empty() {
            let gate = |gate: &interlock_model::plan::Gate| value!({"check": gate.check.to_string(), "on": gate.on});
            fields[key] = gates.iter().map(gate).collect();
        }
    }
    fields
}

fn entry(entry: &Entry) -> Value {
    // An entry is plain data with text keys, which cannot fail to be a value.
    let mut fields = serde_json::to_value(entry).unwrap_or_else(|_| value!({}));
    fields["text"] = value!(entry.to_string());
    fields
}
