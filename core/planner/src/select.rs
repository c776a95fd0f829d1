//! The scope: which instances and nodes a request is about.

use std::collections::{BTreeMap, BTreeSet};

use interlock_model::names::{HostName, NodeName, ServiceName};
use interlock_model::plan::PlanKind;
use interlock_model::suggest::nearest;

use crate::draft::Draft;
use crate::input::{Scope, comma};
use crate::report::Subject;

/// What a scope covers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// The instances.
    pub(crate) instances: BTreeMap<ServiceName, BTreeSet<NodeName>>,
    /// The nodes that are switched or restarted.
    pub(crate) nodes: BTreeSet<NodeName>,
}

impl Selection {
    fn take_node(&mut self, draft: &Draft<'_>, node: &NodeName) {
        for service in draft
            .spec
            .services
            .values()
            .filter(|service| service.nodes.contains(node))
        {
            self.instances
                .entry(service.name.clone())
                .or_default()
                .insert(node.clone());
        }
    }
}

/// Resolves the scope; what it names and the spec does not know blocks the plan.
pub(crate) fn select(draft: &mut Draft<'_>) -> Selection {
    let mut selection = Selection::default();
    let spec = draft.spec;
    let nodes: BTreeSet<NodeName> = match &draft.request.scope {
        Scope::All => {
            for service in spec.services.values().filter(|service| !service.external) {
                selection.instances.insert(
                    service.name.clone(),
                    service.nodes.iter().cloned().collect(),
                );
            }
            selection.nodes = spec.nodes.keys().cloned().collect();
            return selection;
        }
        Scope::Services(names) => {
            take_services(draft, &mut selection, names);
            return selection;
        }
        Scope::Nodes(names) => {
            let (known, strange): (Vec<_>, Vec<_>) = names
                .iter()
                .partition(|name| spec.nodes.contains_key(*name));
            for name in strange {
                let known = spec.nodes.keys().map(NodeName::as_str);
                let remedy = meant(
                    name.as_str(),
                    known,
                    "`interlockctl status` lists the nodes",
                );
                draft.report.blocked(
                    Subject::cluster(),
                    format!("there is no node {name}"),
                    remedy,
                );
            }
            known.into_iter().cloned().collect()
        }
        Scope::Label { key, value } => spec
            .nodes
            .values()
            .filter(|n| n.labels.get(key) == Some(value))
            .map(|node| node.name.clone())
            .collect(),
        Scope::Host(host) => spec
            .nodes
            .values()
            .filter(|n| n.host.as_ref() == Some(host))
            .map(|node| node.name.clone())
            .collect(),
    };
    if nodes.is_empty() && !draft.report.refuses() {
        let by = format!("no node matches {}", draft.request.scope);
        let lists = "`interlockctl spec show` lists nodes with labels and hosts";
        let remedy = match &draft.request.scope {
            Scope::Label { key, value } => {
                let labels = spec.nodes.values().flat_map(|node| &node.labels);
                let known: BTreeSet<String> = labels
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                let word = format!("{key}={value}");
                meant(&word, known.iter().map(String::as_str), lists)
            }
            Scope::Host(host) => meant(
                host.as_str(),
                spec.hosts.keys().map(HostName::as_str),
                lists,
            ),
            _ => lists.to_owned(),
        };
        draft.report.blocked(Subject::cluster(), by, remedy);
    }
    nodes
        .iter()
        .for_each(|node| selection.take_node(draft, node));
    if draft.request.scope.switches_machines() || draft.request.kind == PlanKind::Reboot {
        selection.nodes = nodes;
    }
    selection
}

/// What to do about a name that is not there: the one that was probably meant, or else where the names are.
pub(crate) fn meant<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: &str,
) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean {near}?"),
        None => otherwise.to_owned(),
    }
}

fn take_services(draft: &mut Draft<'_>, selection: &mut Selection, names: &BTreeSet<ServiceName>) {
    for name in names {
        match draft.service(name) {
            None => {
                let known = draft.spec.services.keys().map(ServiceName::as_str);
                let remedy = meant(
                    name.as_str(),
                    known,
                    "`interlockctl status` lists the services",
                );
                draft.report.blocked(
                    Subject::cluster(),
                    format!("there is no service {name}"),
                    remedy,
                );
            }
            Some(service) if service.external => {
                draft
                    .report
                    .excluded(Subject::service(name), "it is external and never operated");
            }
            Some(service) => {
                if draft.request.kind == PlanKind::Reboot {
                    draft.report.blocked(
                        Subject::service(name),
                        "a reboot is about machines, which may carry other services too",
                        format!("name them: --node {}", comma(&service.nodes)),
                    );
                }
                selection
                    .instances
                    .insert(name.clone(), service.nodes.iter().cloned().collect());
            }
        }
    }
}
