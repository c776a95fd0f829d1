//! The plan as a graph for Graphviz.

use std::fmt::Write as _;

use interlock_model::action::Action;
use interlock_model::plan::Plan;

/// The plan in the DOT language: a box per step, an arrow per edge labelled with its wait condition; what waits for a
/// person is an octagon, what only looks is an ellipse.
#[must_use]
pub fn dot(plan: &Plan) -> String {
    let mut text = format!(
        "digraph {} {{\n",
        quoted(&format!("{} of {}", plan.kind, plan.cluster))
    );
    text.push_str("  rankdir=LR;\n  node [shape=box];\n");
    for step in &plan.steps {
        let shape = match step.action {
            Action::Approve { .. } => " [shape=octagon]",
            Action::Check | Action::VerifyRole { .. } | Action::CatchUp => " [shape=ellipse]",
            Action::Start
            | Action::Stop
            | Action::Verify
            | Action::Promote
            | Action::PowerOn { .. }
            | Action::PowerOff { .. }
            | Action::Reboot
            | Action::Drain { .. }
            | Action::Admit { .. }
            | Action::TryFile { .. }
            | Action::WriteFile { .. }
            | Action::RestoreFile { .. } => "",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}{shape};", quoted(step.id.as_str()));
    }
    for step in &plan.steps {
        for after in &step.after {
            let (from, to) = (quoted(after.step.as_str()), quoted(step.id.as_str()));
            let _ = writeln!(text, "  {from} -> {to} [label=\"{}\"];", after.until);
        }
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
