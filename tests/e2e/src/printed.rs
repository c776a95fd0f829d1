//! What `interlockctl` prints for programs, held against `docs/json.md`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/json.md");

/// Checks that these values of one shape have, taken together, each field that the page names, of the type that it says, and no
/// other. For shapes of numbers, texts, flags, times and lists of texts.
///
/// # Errors
/// Something has no row, a row is not printed, or a value is of another type.
pub fn as_on_the_page(shape: &str, values: &[Value]) -> Result<()> {
    let heading = format!("\n## {shape}\n");
    let (_, section) = PAGE
        .split_once(&heading)
        .context("the page has no such shape")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<(&str, &str)> = section
        .lines()
        .filter_map(|line| {
            let (field, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((field, rest.split(" |").next()?))
        })
        .collect();
    let mut printed = BTreeSet::new();
    for value in values {
        walk(&rows, "", value, &mut printed).with_context(|| format!("{shape}: {value}"))?;
    }
    let told: BTreeSet<String> = rows.iter().map(|(field, _)| (*field).to_owned()).collect();
    ensure!(
        printed == told,
        "{shape} prints {printed:?} and the page says {told:?}"
    );
    Ok(())
}

fn walk(
    rows: &[(&str, &str)],
    path: &str,
    value: &Value,
    printed: &mut BTreeSet<String>,
) -> Result<()> {
    match value {
        Value::Object(fields) => {
            let any = format!("{path}.{{}}");
            let is_map = rows.iter().any(|(field, _)| field.starts_with(&any));
            for (name, value) in fields {
                let below = match (is_map, path) {
                    (true, _) => any.clone(),
                    (false, "") => name.clone(),
                    (false, _) => format!("{path}.{name}"),
                };
                walk(rows, &below, value, printed)?;
            }
            Ok(())
        }
        Value::Array(all) => {
            let below = format!("{path}[]");
            printed.insert(below.clone());
            all.iter()
                .try_for_each(|value| walk(rows, &below, value, printed))
        }
        _ => {
            printed.insert(path.to_owned());
            let row = rows.iter().find(|(field, _)| *field == path);
            let (_, kind) = row.with_context(|| format!("{path} has no row"))?;
            let or_null = kind.strip_suffix(" or null");
            let fits = match or_null.unwrap_or(kind) {
                _ if value.is_null() => or_null.is_some(),
                "text" => value.is_string(),
                "number" => value.is_u64(),
                "flag" => value.is_boolean(),
                "time" => value.as_str().is_some_and(|text| text.ends_with('Z')),
                _ => false,
            };
            ensure!(fits, "{path} is {value}, and no {kind}");
            Ok(())
        }
    }
}
