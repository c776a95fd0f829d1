//! The JSON Schema (draft 2020-12) of the file, for editors.
//!
//! It is printed from the same tables that the reader reads by. It knows keys, kinds, words and defaults; references,
//! ranges and everything else that takes more than one value to judge is left to [`Spec::parse`](super::Spec::parse).

use serde_json::{Map, Value, json};

use super::read::{DURATION_PATTERN, ROOT, THRESHOLD_PATTERN};
use super::shape::{Key, Kind, Need, Shape, sections};
use crate::check::MAX_RUNS;

/// Where the schema says it is published.
const ID: &str = "https://interlock.invalid/schema/cluster.schema.json";

/// The JSON Schema of a cluster spec.
#[must_use]
pub fn schema() -> Value {
    let mut schema = section(&ROOT);
    let below = sections(&ROOT).into_iter().skip(1);
    let definitions: Map<String, Value> = below
        .map(|shape| (anchor(shape.name), Value::Object(section(shape))))
        .collect();
    schema.insert(
        "$schema".into(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("$id".into(), json!(ID));
    schema.insert("title".into(), json!("Interlock cluster spec"));
    schema.insert("$defs".into(), Value::Object(definitions));
    Value::Object(schema)
}

/// The name of a section where white space cannot stand.
pub(super) fn anchor(name: &str) -> String {
    name.replace(' ', "-")
}

fn section(shape: &Shape) -> Map<String, Value> {
    let properties: Map<String, Value> = shape
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = shape
        .keys
        .iter()
        .filter(|key| key.need == Need::Required)
        .map(|key| key.name)
        .collect();
    let mut schema = Map::new();
    schema.insert("description".into(), json!(shape.doc));
    schema.insert("type".into(), json!("object"));
    schema.insert("properties".into(), Value::Object(properties));
    // Keys that begin with x- are the operator's own.
    schema.insert("patternProperties".into(), json!({ "^x-": true }));
    schema.insert("additionalProperties".into(), json!(false));
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if !shape.choice.is_empty() {
        let one: Vec<Value> = shape
            .choice
            .iter()
            .map(|key| json!({ "required": [key] }))
            .collect();
        schema.insert("oneOf".into(), Value::Array(one));
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = match value(key.kind) {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    let doc = match key.need {
        Need::Derived(how) => format!("{} Default: {how}.", key.doc),
        Need::Required | Need::Optional | Need::Default(_) => key.doc.to_owned(),
    };
    schema.insert("description".into(), json!(doc));
    if let Need::Default(text) = key.need {
        let value = match key.kind {
            Kind::Flag | Kind::Count { .. } | Kind::Threshold => {
                serde_json::from_str(text).unwrap_or_default()
            }
            Kind::Text | Kind::Duration | Kind::Word { .. } | Kind::Section(_) => json!(text),
            Kind::MapOf(_) | Kind::ListOf(_) | Kind::SomeOf(_) | Kind::AnyOf(_) => json!(text),
        };
        schema.insert("default".into(), value);
    }
    Value::Object(schema)
}

fn value(kind: Kind) -> Value {
    match kind {
        // A plug 4711 or a label `yes` is text for the reader; a schema sees what YAML makes of it.
        Kind::Text => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count { least, most } => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Threshold => json!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": MAX_RUNS },
            { "type": "string", "pattern": THRESHOLD_PATTERN },
        ] }),
        Kind::Duration => json!({ "type": "string", "pattern": DURATION_PATTERN }),
        Kind::Word { words, .. } => json!({ "enum": words }),
        Kind::Section(shape) => json!({ "$ref": format!("#/$defs/{}", anchor(shape.name)) }),
        Kind::MapOf(inner) => json!({ "type": "object", "additionalProperties": value(*inner) }),
        Kind::ListOf(inner) => json!({ "type": "array", "items": value(*inner) }),
        Kind::SomeOf(inner) => {
            json!({ "type": "array", "items": value(*inner), "minItems": 1 })
        }
        Kind::AnyOf(kinds) => {
            json!({ "anyOf": kinds.iter().map(|kind| value(*kind)).collect::<Vec<_>>() })
        }
    }
}
