//! `power`: the devices that switch nodes.

use super::{Field, Section};
use crate::action::OptionValue;
use crate::spec::PowerDevice;
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, optional, required};
use crate::spec::yaml::Value;

/// One power device.
pub(super) static POWER: Shape = Shape {
    name: "power device",
    doc: "Something that a fence agent can talk to: a hypervisor, a management controller, a power strip.",
    keys: &[
        required(
            "fence",
            Kind::Text,
            "The fence agent, a bare program name such as `fence_ipmilan`.",
        ),
        required(
            "via",
            Kind::SOME_NAMES,
            "The nodes on which the fence agent may be run, in order of preference. They must have an agent.",
        ),
        optional(
            "options",
            Kind::MapOf(&Kind::AnyOf(&[Kind::Text, Kind::Section(&SECRET)])),
            "Options of the fence agent, given on its standard input. What it calls a password, a secret or a token is a secret.",
        ),
        default(
            "timeout",
            Kind::Duration,
            "30s",
            "The time limit of one call.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// A secret, by its name.
pub(super) static SECRET: Shape = Shape {
    name: "secret",
    doc: "A value that never stands in the spec, never travels and is never logged.",
    keys: &[required(
        "secret",
        Kind::Text,
        "Its name among the agent's own secrets, on each node that uses it.",
    )],
    choice: &[],
    later: &[],
};

/// Reads a power device.
pub(super) fn power(section: &Section<'_>) -> PowerDevice {
    let fence = section
        .get("fence")
        .and_then(|field| fence(&field))
        .unwrap_or_default();
    let via = section.names("via");
    let options = section
        .get("options")
        .map_or_else(Vec::new, |field| field.entries());
    PowerDevice {
        fence,
        via,
        options: options
            .into_iter()
            .filter_map(|(name, field)| {
                // Each is looked at, whatever is wrong with the other.
                let fits = [is_option(name, &field), field.is_one_line()];
                let value = option(&field)?;
                (fits == [true, true]).then(|| (name.to_owned(), value))
            })
            .collect(),
        timeout: section.duration("timeout").unwrap_or_default(),
    }
}

fn fence(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_word(text) {
        return Some(text.to_owned());
    }
    let problem = Problem::error(format!("{} is not a bare program name", quoted(text)))
        .why("the agent's own file says where programs lie; the spec may not");
    let last = text
        .rsplit('/')
        .next()
        .and_then(|name| name.split_whitespace().next());
    field.report(
        match last.filter(|name| !name.is_empty() && *name != text) {
            Some(name) => problem.suggest(format!("write {}", quoted(name))),
            None => problem,
        },
    );
    None
}

/// Can it be taken for nothing but one word?
fn is_word(text: &str) -> bool {
    let bare = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    bare && !text.is_empty() && !text.starts_with('-')
}

/// Can the key of this field be an option of a fence agent?
fn is_option(name: &str, field: &Field<'_>) -> bool {
    let fits = is_word(name);
    if !fits {
        field.report_key(
            Problem::error(format!("{} is not the name of an option", quoted(name)))
                .why("the options of fence agents are made of letters, digits, '_' and '-'"),
        );
    }
    fits
}

/// Reads the value of an option. What has to be a secret is told by `verify`.
pub(super) fn option(field: &Field<'_>) -> Option<OptionValue> {
    if let Value::Map(_) = field.yaml.value {
        return field.section(&SECRET, |section| {
            section.name("secret").map(OptionValue::Secret)
        });
    }
    Some(OptionValue::Plain(field.text()?.to_owned()))
}
