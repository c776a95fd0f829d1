//! Views of a plan: pure text and values, for whoever shows them.
//!
//! JSON for programs, DOT for graphs, a tree and a table for people. No colour and no terminal: the command line adds
//! these.

mod dot;
mod json;
mod table;
mod tree;

pub use dot::dot;
pub use json::{json, plan as plan_json};
pub use table::{Row, rows};
pub use tree::tree;

use interlock_model::plan::Step;

/// `tel1 down, jb1 down`: what a step waits for, in one line.
fn waits(step: &Step) -> String {
    let edge = |after: &interlock_model::plan::After| format!("{} {}", after.step, after.until);
    let mut waits: Vec<String> = step.after.iter().map(edge).collect();
    waits.extend(
        step.gates
            .iter()
            .map(|gate| format!("check {} on {}", gate.check, gate.on)),
    );
    waits.join(", ")
}
