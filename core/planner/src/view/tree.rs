//! The plan as a tree of stages, for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use interlock_model::action::Action;
use interlock_model::plan::{SealedPlan, Step};
use interlock_model::time::human;

use super::waits;
use crate::report::counted;

/// The plan as text: its head, then each stage with its steps beneath, what they wait for, and their time limits.
///
/// Stages are for reading only. A step starts when its own waits are met, whatever its stage.
#[must_use]
pub fn tree(sealed: &SealedPlan) -> String {
    let plan = sealed.plan();
    let mut text = format!(
        "{} {} of {}, generation {}, {}, digest {}\n",
        plan.kind,
        plan.scope,
        plan.cluster,
        plan.generation,
        counted(plan.steps.len(), "step"),
        sealed.digest().short()
    );
    let of_step = plan.stages();
    let mut stages: BTreeMap<u32, Vec<&Step>> = BTreeMap::new();
    for step in &plan.steps {
        stages
            .entry(of_step.get(&step.id).copied().unwrap_or(1))
            .or_default()
            .push(step);
    }
    let width = plan
        .steps
        .iter()
        .map(|step| step.id.as_str().chars().count())
        .max()
        .unwrap_or(0);
    for (stage, steps) in stages {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "stage {stage}");
        for (index, step) in steps.iter().enumerate() {
            let branch = if index + 1 == steps.len() {
                "└─"
            } else {
                "├─"
            };
            let limit = human::text(step.timeout);
            let _ = write!(text, "{branch} {:width$}  {limit:>7}", step.id);
            if !step.after.is_empty() || !step.gates.is_empty() {
                let _ = write!(text, "  after {}", waits(step));
            }
            if let Action::Approve {
                text: question,
                role,
                ..
            } = &step.action
            {
                let _ = write!(text, "  ({role}) {question}");
            }
            text.push('\n');
        }
    }
    text
}
