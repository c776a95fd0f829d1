//! `requires` and `after`: the edges between services.

use std::collections::BTreeMap;

use super::{Field, Section};
use crate::names::ServiceName;
use crate::plan::Wait;
use crate::spec::Dependency;
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default};
use crate::spec::yaml::{Place, Value};

/// What a start may wait for.
pub(super) const START: Kind = Kind::Word {
    words: &["none", "issued", "up", "healthy"],
    later: &[],
};
/// What a stop may wait for.
pub(super) const STOP: Kind = Kind::Word {
    words: &["none", "issued", "going-down", "down"],
    later: &[],
};

/// The value of `requires`.
pub(super) const REQUIRES: Kind = Kind::AnyOf(&[
    Kind::ListOf(&Kind::Text),
    Kind::MapOf(&Kind::Section(&EDGE)),
]);
/// The value of `after`.
pub(super) const AFTER: Kind = REQUIRES;

static EDGE: Shape = Shape {
    name: "dependency",
    doc: "The wait conditions of an edge to another service, in both directions.",
    keys: &[
        default(
            "start",
            START,
            "healthy",
            "What this service's start waits for on the other.",
        ),
        default(
            "stop",
            STOP,
            "down",
            "What the other's stop waits for on this service.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads both kinds of edges.
pub(super) fn dependencies(section: &Section<'_>) -> BTreeMap<ServiceName, Dependency> {
    let mut found: BTreeMap<ServiceName, (Place, Dependency)> = BTreeMap::new();
    for (key, needed) in [("requires", true), ("after", false)] {
        let Some(field) = section.get(key) else {
            continue;
        };
        for (name, edge, dependency) in edges(&field, needed) {
            match found.get(&name) {
                None => {
                    found.insert(name, (edge.at, dependency));
                }
                Some((first, _)) => edge.reader.report.add(
                    Problem::error(format!(
                        "there is a second dependency on {}",
                        quoted(name.as_str())
                    ))
                    .at(edge.at)
                    .path(edge.path.as_str())
                    .why("two services have one edge; `requires` already is an order")
                    .note(*first, "the first is here"),
                ),
            }
        }
    }
    found
        .into_iter()
        .map(|(name, (_, dependency))| (name, dependency))
        .collect()
}

fn edges<'a>(field: &Field<'a>, needed: bool) -> Vec<(ServiceName, Field<'a>, Dependency)> {
    let cautious = Dependency {
        needed,
        start: Wait::Healthy,
        stop: Wait::Down,
    };
    if let Value::Map(_) = field.yaml.value {
        let read = |(name, edge): (ServiceName, Field<'a>)| {
            let dependency = edge.section(&EDGE, |section| Dependency {
                needed,
                start: section.word("start").unwrap_or(cautious.start),
                stop: section.word("stop").unwrap_or(cautious.stop),
            });
            (name, edge, dependency)
        };
        return field.named().into_iter().map(read).collect();
    }
    let items = field.items().into_iter();
    items
        .filter_map(|item| Some((item.name()?, item, cautious)))
        .collect()
}
