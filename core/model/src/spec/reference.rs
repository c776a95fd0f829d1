//! The reference of the file, in Markdown: a table of keys for each section, from the tables that the reader reads by.

use std::fmt::Write as _;

use super::read::ROOT;
use super::schema::anchor;
use super::shape::{Kind, Later, Need, Shape, sections};
use crate::check::MAX_RUNS;

/// The reference of every key: kinds, defaults, meaning, and what is reserved for later versions.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for shape in sections(&ROOT) {
        section(&mut out, shape);
    }
    out
}

fn section(out: &mut String, shape: &Shape) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "### {}\n\n{}\n", shape.name, shape.doc);
    let _ = writeln!(
        out,
        "| key | value | default | meaning |\n|---|---|---|---|"
    );
    for key in shape.keys {
        let default = match key.need {
            Need::Required => "**required**".to_owned(),
            Need::Optional if shape.choice.contains(&key.name) => "one of these".to_owned(),
            Need::Optional => "none".to_owned(),
            Need::Default(text) => format!("`{text}`"),
            Need::Derived(how) => how.to_owned(),
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {default} | {} |",
            key.name,
            value(key.kind),
            key.doc
        );
    }
    let words = shape.keys.iter().flat_map(|key| later_words(key.kind));
    let reserved: Vec<String> = shape
        .later
        .iter()
        .chain(words)
        .map(|later| format!("`{}` ({})", later.name, later.what))
        .collect();
    if !reserved.is_empty() {
        let _ = writeln!(
            out,
            "\nReserved for later versions, and refused until then: {}.",
            reserved.join(", ")
        );
    }
    out.push('\n');
}

fn later_words(kind: Kind) -> &'static [Later] {
    match kind {
        Kind::Word { later, .. } => later,
        Kind::ListOf(inner) | Kind::SomeOf(inner) | Kind::MapOf(inner) => later_words(*inner),
        Kind::Text
        | Kind::Flag
        | Kind::Count { .. }
        | Kind::Threshold
        | Kind::Duration
        | Kind::Section(_)
        | Kind::AnyOf(_) => &[],
    }
}

/// A kind in words.
fn value(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Flag => "`true` or `false`".into(),
        Kind::Count { least, most } => format!("number, {least} to {most}"),
        Kind::Threshold => format!("number, 1 to {MAX_RUNS}, or `N of M`"),
        Kind::Duration => "duration".into(),
        Kind::Word { words, .. } => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Section(shape) => format!("[{}](#{})", shape.name, anchor(shape.name)),
        Kind::MapOf(inner) => format!("map of {}", value(*inner)),
        Kind::ListOf(inner) => format!("list of {}", value(*inner)),
        Kind::SomeOf(inner) => format!("list of at least one {}", value(*inner)),
        Kind::AnyOf(kinds) => kinds
            .iter()
            .map(|kind| value(*kind))
            .collect::<Vec<_>>()
            .join(", or "),
    }
}
