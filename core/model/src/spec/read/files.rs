//! `files`: what templates of a service's files may use.

use std::collections::BTreeMap;

use super::Section;
use crate::file::ServiceFile;
use crate::names::NodeName;
use crate::spec::shape::{Kind, Shape, optional};

/// A file of a service.
pub(super) static FILE: Shape = Shape {
    name: "service file",
    doc: "A file that `restart --config` may write on the nodes of a service, from a template that the operator gives.",
    keys: &[
        optional(
            "values",
            Kind::TEXTS,
            "What the template may use as `values.KEY`. No secrets: those lie on the nodes, and a template names them.",
        ),
        optional(
            "nodes",
            Kind::MapOf(&Kind::TEXTS),
            "The same for single nodes of the service, where it goes before `values`.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads a file of a service.
pub(super) fn file(section: &Section<'_>) -> ServiceFile {
    let nodes = section.get("nodes").map(|field| field.named::<NodeName>());
    let nodes = nodes.unwrap_or_default().into_iter().map(|(node, field)| {
        let texts = field.entries().into_iter();
        let texts = texts.filter_map(|(key, text)| Some((key.to_owned(), text.text()?.to_owned())));
        (node, texts.collect::<BTreeMap<_, _>>())
    });
    ServiceFile {
        nodes: nodes.collect(),
        values: section.texts("values"),
    }
}
