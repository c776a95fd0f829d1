//! As much of a JSON Schema validator as the published schema needs. A keyword that it does not know makes it panic,
//! so that the schema cannot outgrow it unnoticed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Validates against one schema, and remembers which of its keys have been met.
pub(crate) struct Validator<'s> {
    root: &'s Value,
    used: BTreeSet<String>,
}

impl<'s> Validator<'s> {
    pub(crate) fn new(root: &'s Value) -> Self {
        Self {
            root,
            used: BTreeSet::new(),
        }
    }

    /// Why the value is not valid; nothing if it is.
    pub(crate) fn faults(&mut self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(self.root, "#", value, "", &mut faults);
        faults
    }

    /// The keys of the schema, as `section.key`, that no valid value had so far.
    pub(crate) fn unused(&self) -> Vec<String> {
        let sections = self.root["$defs"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, section)| (name.as_str(), section));
        let all = std::iter::once(("#", self.root))
            .chain(sections)
            .flat_map(|(name, section)| {
                let keys = section["properties"].as_object().unwrap().keys();
                keys.map(move |key| format!("{name}.{key}"))
            });
        all.filter(|key| !self.used.contains(key)).collect()
    }

    /// JSON pointers to the maps of a valid value that are sections, with known keys.
    pub(crate) fn sections(&mut self, value: &Value) -> Vec<String> {
        let maps = pointers(value)
            .into_iter()
            .filter(|at| value.pointer(at).unwrap().is_object());
        let mut with_unknown = |at: &String| {
            let mut changed = value.clone();
            let map = changed.pointer_mut(at).unwrap().as_object_mut().unwrap();
            map.insert("zzz".into(), Value::Null);
            let key = format!("{at}: the key zzz");
            self.faults(&changed)
                .iter()
                .any(|fault| fault.starts_with(&key))
        };
        maps.filter(|at| with_unknown(at)).collect()
    }

    /// JSON pointers to every value below the root.
    pub(crate) fn values(&self, value: &Value) -> Vec<String> {
        pointers(value)
            .into_iter()
            .filter(|at| !at.is_empty())
            .collect()
    }

    fn check(
        &mut self,
        schema: &'s Value,
        name: &str,
        value: &Value,
        at: &str,
        faults: &mut Vec<String>,
    ) {
        let schema = match schema {
            Value::Bool(true) => return,
            Value::Object(schema) => schema,
            other => panic!("not a schema: {other}"),
        };
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "default" => {}
                "properties" | "patternProperties" | "additionalProperties" => {}
                "$ref" => {
                    let target = rule.as_str().unwrap().strip_prefix('#').unwrap();
                    let section = target.rsplit('/').next().unwrap();
                    self.check(
                        self.root.pointer(target).unwrap(),
                        section,
                        value,
                        at,
                        faults,
                    );
                }
                "type" if !of_type(rule, value) => faults.push(format!("{at}: not of type {rule}")),
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    faults.push(format!("{at}: none of {rule}"))
                }
                "minimum" if value.as_f64() < rule.as_f64() => {
                    faults.push(format!("{at}: below {rule}"))
                }
                "maximum" if value.as_f64() > rule.as_f64() => {
                    faults.push(format!("{at}: above {rule}"))
                }
                "pattern" if !matches(rule.as_str().unwrap(), value) => {
                    faults.push(format!("{at}: not as {rule}"))
                }
                "type" | "enum" | "minimum" | "maximum" | "pattern" => {}
                "minItems" => {
                    if value
                        .as_array()
                        .is_some_and(|items| (items.len() as u64) < rule.as_u64().unwrap())
                    {
                        faults.push(format!("{at}: fewer than {rule} items"));
                    }
                }
                "items" => {
                    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, name, item, &format!("{at}/{i}"), faults);
                    }
                }
                "required" => {
                    let has = |key: &Value| value.get(key.as_str().unwrap()).is_some();
                    if !rule.as_array().unwrap().iter().all(has) {
                        faults.push(format!("{at}: one of {rule} is missing"));
                    }
                }
                "anyOf" | "oneOf" => {
                    let tries: Vec<Vec<String>> = rule
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|schema| {
                            let mut faults = Vec::new();
                            self.check(schema, name, value, at, &mut faults);
                            faults
                        })
                        .collect();
                    let valid = tries.iter().filter(|faults| faults.is_empty()).count();
                    if valid == 0 || (keyword == "oneOf" && valid > 1) {
                        faults.push(format!("{at}: {valid} of {keyword} fit"));
                        faults.extend(tries.into_iter().flatten());
                    }
                }
                unknown => panic!("the validator does not know {unknown}"),
            }
        }
        if let Value::Object(map) = value {
            self.properties(schema, name, map, at, faults);
        }
    }

    fn properties(
        &mut self,
        schema: &'s Map<String, Value>,
        name: &str,
        map: &Map<String, Value>,
        at: &str,
        faults: &mut Vec<String>,
    ) {
        for (key, value) in map {
            let below = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            let known = schema
                .get("properties")
                .and_then(|properties| properties.get(key));
            let own = schema
                .get("patternProperties")
                .filter(|_| key.starts_with("x-"));
            match (known, own, schema.get("additionalProperties")) {
                (Some(schema), ..) => {
                    self.used.insert(format!("{name}.{key}"));
                    self.check(schema, name, value, &below, faults);
                }
                (None, Some(patterns), _) => {
                    assert_eq!(*patterns, serde_json::json!({ "^x-": true }))
                }
                (None, None, Some(Value::Bool(false))) => {
                    faults.push(format!("{at}: the key {key} is unknown"))
                }
                (None, None, Some(schema)) => self.check(schema, name, value, &below, faults),
                (None, None, None) => {}
            }
        }
    }
}

/// JSON pointers to a value and everything below it.
fn pointers(value: &Value) -> Vec<String> {
    let escape = |key: &String| key.replace('~', "~0").replace('/', "~1");
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (escape(key), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, value)| (i.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let deeper = below.into_iter().flat_map(|(step, value)| {
        pointers(value)
            .into_iter()
            .map(move |rest| format!("/{step}{rest}"))
    });
    std::iter::once(String::new()).chain(deeper).collect()
}

fn of_type(rule: &Value, value: &Value) -> bool {
    match rule {
        Value::Array(rules) => rules.iter().any(|rule| of_type(rule, value)),
        Value::String(name) => match name.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_u64() || value.is_i64(),
            other => panic!("the validator does not know the type {other}"),
        },
        other => panic!("not a type: {other}"),
    }
}

/// The two patterns of the schema.
fn matches(pattern: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return true;
    };
    match pattern {
        "^[0-9]{1,9}(ms|s|m|h|d)( ?[0-9]{1,9}(ms|s|m|h|d))*$" => is_duration(text),
        "^[0-9]{1,4}( of [0-9]{1,4})?$" => text.splitn(2, " of ").all(|number| {
            (1..=4).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        }),
        other => panic!("the validator does not know the pattern {other}"),
    }
}

fn is_duration(text: &str) -> bool {
    let mut rest = text;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        let unit = &rest[digits..];
        let Some(next) = ["ms", "s", "m", "h", "d"]
            .iter()
            .find_map(|u| unit.strip_prefix(u))
        else {
            return false;
        };
        match next.strip_prefix(' ').unwrap_or(next) {
            "" => return next.is_empty(),
            more => rest = more,
        }
    }
}
