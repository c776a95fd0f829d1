//! The plan and its report as one JSON value.

use interlock_model::action::Action;
use interlock_model::file::Text;
use interlock_model::member::Member;
use interlock_model::plan::{Digest, Gate, SealedPlan, Step, StepId};
use interlock_model::time::human;
use serde_json::{Map, Value, json as value};

use crate::report::{Entry, Report};

/// The plan and its report as one JSON value, the format of `interlockctl plan -o json`: the fields of [`plan`], and `report`.
/// Without a plan the digest is null and there are no steps. An entry of the report has its kind in `entry`, its fields, and
/// in `text` the line for people.
#[must_use]
pub fn json(sealed: Option<&SealedPlan>, report: &Report) -> Value {
    let mut fields = match sealed {
        Some(sealed) => plan(sealed),
        None => value!({ "digest": null, "steps": [] }),
    };
    fields["report"] = report.entries().iter().map(entry).collect();
    fields
}

/// The plan alone as a JSON value: `digest`, `generation`, `kind`, `cluster`, `scope`, `assumptions`, `accepted` (what is lost of
/// writes, where something is), `forced`, `keeps`,
/// `texts` (what files will say, by digest) and `steps`.
///
/// A step is `id`, `action`, `node`, `service`, `stage`, `after: [{step, until}]`, `gates` and `healthy` (the checks that it
/// waits for before and after, and where each runs), `timeout` (`1m 30s`), `undo` (a word or null), and what its action needs:
/// `gate`, `question` and `role` of an approval, `power` of what switches a machine, `member`, `within` and `then` of what
/// changes a load balancer, `file` and `text` of what writes, `addresses` and `from` (who may try them) of what makes sure of a role. The stage is a derived view, never a barrier.
#[must_use]
pub fn plan(sealed: &SealedPlan) -> Value {
    let plan = sealed.plan();
    let stages = plan.stages();
    let stage = |id: &StepId| stages.get(id).copied().unwrap_or(1);
    let shown = |(digest, text): (&Digest, &Text)| (digest.to_string(), value!(text.to_string()));
    let texts: Map<String, Value> = plan.texts.iter().map(shown).collect();
    let mut shown = value!({
        "digest": sealed.digest().to_string(),
        "generation": plan.generation,
        "kind": plan.kind,
        "cluster": plan.cluster,
        "scope": plan.scope,
        "assumptions": plan.assumptions,
        "forced": plan.forced.iter().map(ToString::to_string).collect::<Value>(),
        "keeps": plan.keeps,
        "texts": texts,
        "steps": plan.steps.iter().map(|one| step(one, stage(&one.id))).collect::<Value>(),
    });
    if !plan.accepted.is_empty() {
        shown["accepted"] = value!(plan.accepted);
    }
    shown
}

fn step(step: &Step, stage: u32) -> Value {
    let gate = |gate: &Gate| value!({ "check": gate.check.to_string(), "on": gate.on });
    let mut fields = value!({
        "id": step.id,
        "action": step.action.word(),
        "node": step.node,
        "service": step.service,
        "stage": stage,
        "after": step.after,
        "gates": step.gates.iter().map(gate).collect::<Value>(),
        "healthy": step.healthy.iter().map(gate).collect::<Value>(),
        "timeout": human::text(step.timeout),
        "undo": step.undo.as_ref().map(|undo| undo.0.word()),
    });
    match &step.action {
        Action::PowerOn { power } | Action::PowerOff { power } => {
            fields["power"] = value!(power);
        }
        Action::Drain {
            member,
            within,
            then,
        } => {
            fields["member"] = self::member(member);
            fields["within"] = value!(human::text(*within));
            fields["then"] = value!(then.to_string());
        }
        Action::Admit { member } => fields["member"] = self::member(member),
        Action::TryFile { file, text } | Action::WriteFile { file, text } => {
            fields["file"] = value!(file);
            fields["text"] = value!(text);
        }
        Action::RestoreFile { file } => fields["file"] = value!(file),
        Action::Approve { gate, text, role } => {
            fields["gate"] = value!(gate);
            fields["question"] = value!(text);
            fields["role"] = value!(role.to_string());
        }
        Action::Start
        | Action::Stop
        | Action::Verify
        | Action::Promote
        | Action::CatchUp
        | Action::Reboot
        | Action::Check => {}
        Action::VerifyRole { addresses, from } => {
            fields["addresses"] = value!(addresses);
            fields["from"] = value!(from);
        }
    }
    fields
}

fn member(member: &Member) -> Value {
    value!({
        "service": member.service,
        "node": member.node,
        "backends": member.backends,
        "server": member.server,
    })
}

fn entry(entry: &Entry) -> Value {
    // An entry is plain data with text keys, which cannot fail to be a value.
    let mut fields = serde_json::to_value(entry).unwrap_or_else(|_| value!({}));
    fields["text"] = value!(entry.to_string());
    fields
}
