//! The plan as rows of a table.

use interlock_model::plan::Plan;
use interlock_model::time::human;

use super::waits;

/// One step as the cells of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its stage, a derived view.
    pub stage: u32,
    /// Its id.
    pub step: String,
    /// Where it runs; empty if a person or nobody does it.
    pub node: String,
    /// The service; empty for machines and gates.
    pub service: String,
    /// What it waits for, edges and checks.
    pub after: String,
    /// Its time limit.
    pub limit: String,
    /// What takes it back; empty if nothing does.
    pub undo: String,
}

impl Row {
    /// The heads of the columns.
    pub const HEAD: [&'static str; 7] =
        ["stage", "step", "node", "service", "after", "limit", "undo"];

    /// The cells, in the order of [`Row::HEAD`].
    #[must_use]
    pub fn cells(&self) -> [String; 7] {
        let Self {
            stage,
            step,
            node,
            service,
            after,
            limit,
            undo,
        } = self.clone();
        [stage.to_string(), step, node, service, after, limit, undo]
    }
}

/// The steps as rows, in the order of the plan.
#[must_use]
pub fn rows(plan: &Plan) -> Vec<Row> {
    let stages = plan.stages();
    let text = |name: Option<String>| name.unwrap_or_default();
    let row = |step: &interlock_model::plan::Step| Row {
        stage: stages.get(&step.id).copied().unwrap_or(1),
        step: step.id.to_string(),
        node: text(step.node.as_ref().map(ToString::to_string)),
        service: text(step.service.as_ref().map(ToString::to_string)),
        after: waits(step),
        limit: human::text(step.timeout),
        undo: step
            .undo
            .as_ref()
            .map(|undo| undo.0.word().to_owned())
            .unwrap_or_default(),
    };
    plan.steps.iter().map(row).collect()
}
