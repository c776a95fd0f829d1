//! `gates`: names that plans need for themselves.

use super::Facts;
use crate::spec::problem::{Problem, quoted};

/// What the gates begin with that plans make themselves, where a person does what no agent can.
const OWN: [&str; 2] = ["power-off.", "stop."];

pub(super) fn verify(facts: &Facts<'_>) {
    for name in facts.spec.gates.keys() {
        let name = name.as_str();
        if let Some(own) = OWN.iter().find(|own| name.starts_with(**own)) {
            facts.error(&["gates", name], || {
                Problem::error(format!("a gate cannot be called {}", quoted(name)))
                    .why(format!(
                        "plans have gates of their own that begin with `{own}`, and name each after what a person does there"
                    ))
                    .suggest("choose another name")
            });
        }
    }
}
