//! Plans for 1,000 nodes and 200 services, from the planner's own example.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::{programs, run};

use crate::figure::{Budget, Figure};

/// Measures.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let example = programs::directory()?.join("examples/plan_cost");
    let said = run(&mut Command::new(example)).context("`cargo xtask bench` builds the example")?;
    let figures: Vec<Figure> = said.lines().filter_map(figure).collect();
    ensure!(!figures.is_empty(), "the example says no figures: {said}");
    Ok(figures)
}

/// `startup   1000 nodes, 200 services: ... KiB: 12.3 ms`
fn figure(line: &str) -> Option<Figure> {
    let kind = line.split_whitespace().next()?;
    let millis = line.strip_suffix(" ms")?.rsplit(' ').next()?.parse().ok()?;
    let name = format!("planner: {kind}, 1,000 nodes, 200 services");
    Some(Figure::new(name, "ms", millis).budget(Budget::Value(100.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_example_is_a_figure_and_a_refusal_is_none() {
        let line = "restart   1000 nodes, 200 services: 2900 steps, 9000 edges, 1900 KiB: 61.5 ms";
        let figure = figure(line).unwrap();
        assert!(
            figure.name.contains("restart") && figure.value == Some(61.5),
            "{figure:?}"
        );
        assert!(super::figure("startup: refused").is_none());
    }
}
