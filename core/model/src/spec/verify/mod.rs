//! What no single section can tell: references, cycles, and settings that contradict each other.
//!
//! A verifier is a function over the spec. It names the place of a problem by the keys that lead there.

mod checks;
mod graph;
mod nodes;
mod services;

use super::Spec;
use super::problem::{Problem, Report};
use super::yaml::{Place, Yaml, locate};

/// Adds every problem of a spec that has been read from this tree.
pub(super) fn verify(spec: &Spec, tree: &Yaml, report: &Report) {
    let facts = Facts { spec, tree, report };
    nodes::verify(&facts);
    services::verify(&facts);
    checks::verify(&facts);
    graph::verify(&facts);
}

/// What every verifier needs.
#[derive(Debug, Clone, Copy)]
struct Facts<'a> {
    spec: &'a Spec,
    tree: &'a Yaml,
    report: &'a Report,
}

impl Facts<'_> {
    /// The place of what the keys lead to.
    fn place(&self, keys: &[&str]) -> Place {
        locate(self.tree, keys)
    }

    /// Adds an error of what the keys lead to.
    fn error(&self, keys: &[&str], problem: impl FnOnce(Problem) -> Problem) {
        self.add(Severity::Error, keys, || problem(Problem::error("")));
    }

    /// Adds a warning of what the keys lead to.
    fn warning(&self, keys: &[&str], problem: impl FnOnce(Problem) -> Problem) {
        self.add(Severity::Warning, keys, || problem(Problem::warning("")));
    }

    fn add(&self, severity: Severity, keys: &[&str], problem: impl FnOnce() -> Problem) {
        self.report.add_lazily(severity, || problem().at(self.place(keys)).path(keys.join(".")));
    }
}
