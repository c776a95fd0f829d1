//! Templates of files: one text for each node, or why not, with line and column.
//!
//! A template is Jinja (minijinja), and strict: what is not defined is an error, not an empty word. It sees
//!
//! | name | |
//! |---|---|
//! | `cluster`, `service` | their names |
//! | `node` | the node that the text is for: `name`, `address`, `host`, `networks.NAME`, `labels.KEY` |
//! | `nodes` | the nodes of the service, in the spec's order: `name`, `address` of each |
//! | `values` | what the spec has for this file, and for this node before that |
//! | `secret("NAME")` | a secret that lies on the node; the agent puts its value in as it is |
//!
//! A secret must reach the text as it is: its value is put in by the agent, so a filter would only see its name.

use std::collections::BTreeMap;
use std::io::{self, Write};

use interlock_model::file::{MAX_TEXT, Piece, ServiceFile, Text};
use interlock_model::names::NodeName;
use interlock_model::spec::{Node, Service, Spec};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};

/// Instructions that one text may take: loops over hundreds of nodes, and no loop without an end.
const FUEL: u64 = 200_000;

/// What stands around the name of a secret until the text is taken apart: characters for private use (Unicode, plane 0),
/// which no configuration has.
const SECRET: (char, char) = ('\u{f8f0}', '\u{f8f1}');

/// Why a template gives no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Where, as `LINE:COLUMN`; empty if that cannot be told.
    pub(crate) place: String,
    /// What.
    pub(crate) what: String,
}

/// The text of a file of a service for one of its nodes.
pub(crate) fn render(
    spec: &Spec,
    service: &Service,
    file: &ServiceFile,
    node: &Node,
    template: &str,
) -> Result<Text, Trouble> {
    let mut jinja = Environment::new();
    jinja.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    if let Ok(syntax) = syntax {
        // Only delimiters can be wrong, and they are those of every Jinja.
        jinja.set_syntax(syntax);
    }
    jinja.set_auto_escape_callback(|_| AutoEscape::None);
    jinja.set_fuel(Some(FUEL));
    jinja.add_function("secret", |name: String| {
        format!("{}{name}{}", SECRET.0, SECRET.1)
    });
    let trouble = |error: &Error| trouble(error, template);
    let compiled = jinja
        .template_from_str(template)
        .map_err(|error| trouble(&error))?;
    let mut out = Bounded::default();
    let rendered = compiled.render_captured_to(values(spec, service, file, node), &mut out);
    if out.is_full {
        return Err(Trouble {
            place: String::new(),
            what: format!("its text for {} is longer than {MAX_TEXT} bytes", node.name),
        });
    }
    rendered.map_err(|error| trouble(&error))?;
    take_apart(&out.bytes)
}

/// What a template sees.
fn values(spec: &Spec, service: &Service, file: &ServiceFile, node: &Node) -> Value {
    let mut own = file.values.clone();
    own.extend(file.nodes.get(&node.name).cloned().unwrap_or_default());
    let brief = |name: &NodeName| {
        let node = spec.nodes.get(name)?;
        Some(Value::from(BTreeMap::from([
            ("name", Value::from(node.name.as_str())),
            ("address", Value::from(node.address.as_str())),
        ])))
    };
    let mut about = BTreeMap::from([
        ("name", Value::from(node.name.as_str())),
        ("address", Value::from(node.address.as_str())),
        ("networks", texts(&node.networks)),
        ("labels", texts(&node.labels)),
    ]);
    if let Some(host) = &node.host {
        about.insert("host", Value::from(host.as_str()));
    }
    Value::from(BTreeMap::from([
        ("cluster", Value::from(spec.cluster.as_str())),
        ("service", Value::from(service.name.as_str())),
        ("node", Value::from(about)),
        ("nodes", service.nodes.iter().filter_map(brief).collect()),
        ("values", texts(&own)),
    ]))
}

fn texts<K: ToString>(map: &BTreeMap<K, String>) -> Value {
    let map = map.iter();
    Value::from(
        map.map(|(key, text)| (key.to_string(), Value::from(text.as_str())))
            .collect::<BTreeMap<_, _>>(),
    )
}

fn trouble(error: &Error, template: &str) -> Trouble {
    let place = match (error.range(), error.line()) {
        (Some(range), _) => {
            let before = template.get(..range.start).unwrap_or(template);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default();
            format!("{line}:{}", column.chars().count() + 1)
        }
        (None, Some(line)) => line.to_string(),
        (None, None) => String::new(),
    };
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    Trouble { place, what }
}

/// The pieces of a text whose secrets are marked.
fn take_apart(bytes: &[u8]) -> Result<Text, Trouble> {
    let odd = |what: &str| Trouble {
        place: String::new(),
        what: what.to_owned(),
    };
    let text = str::from_utf8(bytes).map_err(|_| odd("its text is not UTF-8"))?;
    let plain = |text: &str| (!text.is_empty()).then(|| Piece::Plain(text.to_owned()));
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, marked)) = rest.split_once(SECRET.0) {
        let (name, after) = marked.split_once(SECRET.1).ok_or_else(|| {
            odd("a secret stands behind a filter: write {{ secret(\"NAME\") }} alone")
        })?;
        let name = name.parse().map_err(|_| {
            odd("the name of a secret is none: it has letters, digits and any of - _ .")
        })?;
        pieces.extend(plain(before));
        pieces.push(Piece::Secret(name));
        rest = after;
    }
    if rest.contains(SECRET.1) {
        return Err(odd(
            "a secret stands behind a filter: write {{ secret(\"NAME\") }} alone",
        ));
    }
    pieces.extend(plain(rest));
    Ok(Text { pieces })
}

/// Takes as much as a file may have.
#[derive(Debug, Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_TEXT {
            self.is_full = true;
            return Err(io::Error::other("it is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
