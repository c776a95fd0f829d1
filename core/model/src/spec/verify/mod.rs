//! What no single section can tell: references, cycles, and settings that contradict each other.
//!
//! A verifier is a function over the spec. It names the place of a problem by the keys that lead there.

mod checks;
mod failover;
mod gates;
mod graph;
mod members;
mod nodes;
mod ocf;
mod secrets;
mod services;
mod shared;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::Spec;
use super::problem::{Problem, Report, Severity, quoted};
use super::yaml::{Place, Yaml, find, locate};
use crate::names::NodeName;
use crate::ocf::Installed;

/// The resource agents of nodes, as far as they are known.
pub(super) type KnownAgents = BTreeMap<NodeName, Installed>;

/// Adds every problem of a spec that has been read from this tree.
pub(super) fn verify(spec: &Spec, tree: &Yaml, agents: &KnownAgents, report: &Report) {
    let facts = Facts::new(spec, tree, agents, report);
    nodes::verify(&facts);
    services::verify(&facts);
    shared::verify(&facts);
    failover::verify(&facts);
    ocf::verify(&facts);
    checks::verify(&facts);
    gates::verify(&facts);
    members::verify(&facts);
    graph::verify(&facts);
}

/// The same of what only a spec that is new is refused for: a cluster goes on by one that was accepted with it.
pub(super) fn verify_new(spec: &Spec, tree: &Yaml, agents: &KnownAgents, report: &Report) {
    secrets::verify(&Facts::new(spec, tree, agents, report));
}

/// What every verifier needs.
#[derive(Debug)]
struct Facts<'a> {
    spec: &'a Spec,
    tree: &'a Yaml,
    agents: &'a KnownAgents,
    report: &'a Report,
    /// Where problems have been reported, and at which key: the nodes of one range share their mistakes.
    reported: RefCell<BTreeSet<(Place, String)>>,
}

impl<'a> Facts<'a> {
    fn new(spec: &'a Spec, tree: &'a Yaml, agents: &'a KnownAgents, report: &'a Report) -> Self {
        Self {
            spec,
            tree,
            agents,
            report,
            reported: RefCell::default(),
        }
    }
}

impl Facts<'_> {
    /// The place of what the keys lead to.
    fn place(&self, keys: &[&str]) -> Place {
        locate(self.tree, keys)
    }

    /// Do the keys lead to something in the file?
    fn has(&self, keys: &[&str]) -> bool {
        find(self.tree, keys).is_some()
    }

    /// Is it a node without an agent?
    fn is_agentless(&self, node: &NodeName) -> bool {
        self.spec
            .nodes
            .get(node)
            .is_some_and(|node| node.agentless.is_some())
    }

    /// Adds an error of what the keys lead to.
    fn error(&self, keys: &[&str], problem: impl FnOnce() -> Problem) {
        self.add(Severity::Error, keys, problem);
    }

    /// Adds a warning of what the keys lead to.
    fn warning(&self, keys: &[&str], problem: impl FnOnce() -> Problem) {
        self.add(Severity::Warning, keys, problem);
    }

    fn add(&self, severity: Severity, keys: &[&str], problem: impl FnOnce() -> Problem) {
        self.report.add_lazily(severity, || {
            let at = self.place(keys);
            let last = keys.last().map(ToString::to_string).unwrap_or_default();
            let first = self.reported.borrow_mut().insert((at, last));
            first.then(|| problem().at(at).path(keys.join(".")))
        });
    }

    /// Reports a name that is not a node of the cluster, and says whether it is one.
    fn knows_node(&self, keys: &[&str], node: &NodeName) -> bool {
        let known = self.spec.nodes.contains_key(node);
        if !known {
            self.error(keys, || {
                unknown(
                    "node",
                    node.as_str(),
                    self.spec.nodes.keys().map(NodeName::as_str),
                )
            });
        }
        known
    }

    /// Reports a name that is not a node with an agent.
    fn knows_agent(&self, keys: &[&str], node: &NodeName) {
        if self.knows_node(keys, node) && self.is_agentless(node) {
            self.error(keys, || {
                Problem::error(format!("{} has no agent", quoted(node.as_str())))
                    .why("something is to be run there")
                    .note(
                        self.place(&["nodes", node.as_str(), "agentless"]),
                        "it is agentless by this",
                    )
            });
        }
    }
}

/// The problem of a name that stands for nothing.
fn unknown<'n>(kind: &str, name: &str, known: impl IntoIterator<Item = &'n str>) -> Problem {
    Problem::error(format!("{} is not a {kind} of this cluster", quoted(name)))
        .suggest_nearest(name, known)
}
