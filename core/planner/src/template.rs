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
//! The value of a secret is not known here, and nothing can be made of it: see [`secret`].
//!
//! # Bounds
//!
//! Whoever may read may have a plan made. A text takes at most [`FUEL`] instructions and has at most [`MAX_TEXT`] bytes; all
//! texts of a plan together take at most [`ALL_FUEL`], and have at most [`MAX_TEXTS`].

mod secret;
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use interlock_model::file::{MAX_TEXT, MAX_TEXTS, ServiceFile, Text};
use interlock_model::names::NodeName;
use interlock_model::spec::{Node, Service, Spec};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Template, UndefinedBehavior};

use sink::{Sink, Writer};

/// Instructions that one text may take: loops over hundreds of nodes, and no loop without an end.
const FUEL: u64 = 200_000;

/// Instructions that all texts of a plan may take: about a thousand nodes of which each lists all others, some seconds of work.
const ALL_FUEL: u64 = 10_000_000;

/// For how many nodes it is told why there is no text. A mistake in a template is one for each of its nodes, as a rule.
const TOLD: usize = 10;

/// Why a template gives no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// For which node; none if for all of them.
    pub(crate) node: Option<NodeName>,
    /// Where, as `LINE:COLUMN`; empty if that cannot be told.
    pub(crate) place: String,
    /// What.
    pub(crate) what: String,
    /// What can be done about it.
    pub(crate) remedy: &'static str,
}

/// What to do about a mistake.
const CORRECT: &str = "what a template may use is in docs/rolling.md";

/// What to do about too much.
const SHORTER: &str = "keep out of the template what differs from node to node, or make it shorter";

/// The texts of a file of a service, one for each of its nodes.
///
/// # Errors
/// Why one or more nodes have none.
pub(crate) fn render(
    spec: &Spec,
    service: &Service,
    file: &ServiceFile,
    template: &str,
) -> Result<BTreeMap<NodeName, Text>, Vec<Trouble>> {
    let sink = Arc::new(Mutex::new(Sink::default()));
    let jinja = environment(&sink);
    let compiled = jinja.template_from_str(template);
    let compiled = compiled.map_err(|error| vec![trouble(&error, template, None)])?;
    let nodes = || service.nodes.iter().filter_map(|name| spec.nodes.get(name));
    let brief: Value = nodes().map(brief).collect();
    let mut texts = BTreeMap::new();
    let mut troubles = Vec::new();
    let (mut fuel, mut bytes, mut distinct) = (0, 0_usize, BTreeSet::new());
    for node in nodes() {
        let values = values(spec, service, file, node, brief.clone());
        match one(&compiled, &sink, values, node, template) {
            Ok((text, used)) => {
                fuel += used;
                if distinct.insert(text.digest()) {
                    bytes = bytes.saturating_add(stored(&text));
                }
                texts.insert(node.name.clone(), text);
            }
            Err(trouble) => {
                // It may have used all of it.
                fuel += FUEL;
                troubles.push(trouble);
            }
        }
        if troubles.len() >= TOLD {
            break;
        }
        let what = if fuel > ALL_FUEL {
            format!("its texts take more than {ALL_FUEL} instructions together")
        } else if bytes > MAX_TEXTS {
            format!("its texts have more than {MAX_TEXTS} bytes together, and a plan takes no more")
        } else {
            continue;
        };
        troubles.push(Trouble {
            node: None,
            place: String::new(),
            what: format!("{what}, with {} of {} nodes", texts.len(), nodes().count()),
            remedy: SHORTER,
        });
        break;
    }
    match troubles.is_empty() {
        true => Ok(texts),
        false => Err(troubles),
    }
}

/// How much of a plan a text takes, as the plan has it.
fn stored(text: &Text) -> usize {
    serde_json::to_vec(text).map_or(usize::MAX, |bytes| bytes.len())
}

fn environment(sink: &Arc<Mutex<Sink>>) -> Environment<'static> {
    let mut jinja = Environment::new();
    jinja.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    if let Ok(syntax) = syntax {
        // Only delimiters can be wrong, and they are those of every Jinja.
        jinja.set_syntax(syntax);
    }
    jinja.set_auto_escape_callback(|_| AutoEscape::None);
    jinja.set_fuel(Some(FUEL));
    secret::add(&mut jinja, sink);
    jinja
}

/// The text for one node, and how many instructions it took.
fn one(
    template: &Template<'_, '_>,
    sink: &Arc<Mutex<Sink>>,
    values: Value,
    node: &Node,
    source: &str,
) -> Result<(Text, u64), Trouble> {
    let rendered = template.render_captured_to(values, Writer(Arc::clone(sink)));
    let sink = std::mem::take(&mut *sink.lock().unwrap_or_else(PoisonError::into_inner));
    let odd = |what: String, remedy| Trouble {
        node: Some(node.name.clone()),
        place: String::new(),
        what,
        remedy,
    };
    if sink.is_full() {
        let what = format!("it is longer than {MAX_TEXT} bytes");
        return Err(odd(what, SHORTER));
    }
    let rendered = rendered.map_err(|error| trouble(&error, source, Some(node)))?;
    let used = rendered.state().fuel_levels().map_or(FUEL, |it| it.0);
    drop(rendered);
    match sink.into_text() {
        Ok(text) => Ok((text, used)),
        Err(name) => Err(odd(secret::rule(&name), CORRECT)),
    }
}

/// What a template sees of every node of the service.
fn brief(node: &Node) -> Value {
    Value::from(BTreeMap::from([
        ("name", Value::from(node.name.as_str())),
        ("address", Value::from(node.address.as_str())),
    ]))
}

/// What a template sees.
fn values(spec: &Spec, service: &Service, file: &ServiceFile, node: &Node, nodes: Value) -> Value {
    let mut own = file.values.clone();
    own.extend(file.nodes.get(&node.name).cloned().unwrap_or_default());
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
        ("nodes", nodes),
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

fn trouble(error: &Error, template: &str, node: Option<&Node>) -> Trouble {
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
    Trouble {
        node: node.map(|node| node.name.clone()),
        place,
        what: match error.kind() {
            ErrorKind::OutOfFuel => format!("{what}: a text may take {FUEL} instructions"),
            _ => what,
        },
        remedy: CORRECT,
    }
}
