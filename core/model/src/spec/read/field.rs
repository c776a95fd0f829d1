//! One value of the file on its way to a typed one.

use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::de::value::{Error as WordError, StrDeserializer};

use super::{Reader, Section};
use crate::check::{Threshold, ThresholdError};
use crate::names::NameError;
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Later, Shape};
use crate::spec::yaml::{Place, Value, Yaml};

/// The shortest and the longest duration of a spec. Nothing can be observed more often than the shortest; a step that
/// may take longer than the longest is a mistake in its unit.
const DURATIONS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(24 * 3600));

/// A value of the file, with the keys that lead to it.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) yaml: &'a Yaml,
    /// The place of its key; of the value itself in a list.
    pub(super) at: Place,
    pub(super) path: String,
}

impl<'a> Field<'a> {
    /// Adds a problem of this value.
    pub(super) fn report(&self, problem: Problem) {
        self.reader
            .report
            .add(problem.at(self.yaml.at).path(self.path.as_str()));
    }

    /// Adds a problem of this value's key.
    pub(super) fn report_key(&self, problem: Problem) {
        self.reader
            .report
            .add(problem.at(self.at).path(self.path.as_str()));
    }

    fn wrong_kind(&self, expected: &str) {
        let problem = match self.yaml.value {
            Value::Null => Problem::error(format!("{expected} is missing here")),
            _ => Problem::error(format!("expected {expected}, found {}", self.yaml.kind())),
        };
        self.report(problem);
    }

    /// A value below this one.
    fn below(&self, step: &str, at: Place, yaml: &'a Yaml) -> Self {
        let path = match self.path.as_str() {
            "" => step.to_owned(),
            path => format!("{path}.{step}"),
        };
        Self {
            reader: self.reader,
            yaml,
            at,
            path,
        }
    }

    /// A scalar as it is written.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.yaml.text() {
            Some("") => {
                self.report(Problem::error("this text is empty"));
                None
            }
            Some(text) => Some(text),
            None => {
                self.wrong_kind("a text");
                None
            }
        }
    }

    /// Has it no control characters, if it is a text? Those are reported.
    pub(super) fn is_one_line(&self) -> bool {
        let text = self.yaml.text();
        let Some(text) = text.filter(|text| text.contains(char::is_control)) else {
            return true;
        };
        self.report(
            Problem::error(format!("{} has control characters in it", quoted(text)))
                .why("fence agents are told a line for each option, and an end of line would begin another one")
                .suggest("write it on one line, without escapes"),
        );
        false
    }

    /// A name.
    pub(super) fn name<N: FromStr<Err = NameError>>(&self) -> Option<N> {
        self.parse_name(self.text()?, self.yaml.at)
    }

    /// A text of this value, or of its key, as a name.
    pub(super) fn parse_name<N: FromStr<Err = NameError>>(
        &self,
        text: &str,
        at: Place,
    ) -> Option<N> {
        text.parse()
            .map_err(|error: NameError| {
                let what = format!("{} is not a name", quoted(text));
                let why: String = error
                    .to_string()
                    .chars()
                    .map(crate::spec::problem::visible)
                    .collect();
                self.reader.report.add(
                    Problem::error(what)
                        .why(why)
                        .at(at)
                        .path(self.path.as_str()),
                );
            })
            .ok()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        let text = self.text()?;
        match text {
            "true" => return Some(true),
            "false" => return Some(false),
            _ => {}
        }
        let problem = Problem::error(format!("{} is neither true nor false", quoted(text)));
        self.report(match text.to_lowercase().as_str() {
            "yes" | "on" | "true" | "y" => problem.suggest("write true"),
            "no" | "off" | "false" | "n" => problem.suggest("write false"),
            _ => problem,
        });
        None
    }

    /// A whole number.
    pub(super) fn count(&self, least: u64, most: u64) -> Option<u64> {
        let text = self.text()?;
        match text.parse::<u64>() {
            Ok(n) if (least..=most).contains(&n) && !text.starts_with('+') => return Some(n),
            Ok(_) => self.report(
                Problem::error(format!("{} is out of range", quoted(text)))
                    .why(format!("it must be from {least} to {most}")),
            ),
            Err(_) => self.report(
                Problem::error(format!("{} is not a whole number", quoted(text)))
                    .why(format!("it must be from {least} to {most}")),
            ),
        }
        None
    }

    /// So many runs in a row, or so many of the last ones.
    pub(super) fn threshold(&self) -> Option<Threshold> {
        let text = self.text()?;
        match text.parse() {
            Ok(threshold) => Some(threshold),
            Err(error) => {
                let problem = match error {
                    ThresholdError::Form => "is not a number of runs",
                    ThresholdError::Bounds => "is out of range",
                    ThresholdError::MoreThanAll { .. } => "asks for more runs than it looks at",
                };
                let problem = Problem::error(format!("{} {problem}", quoted(text)));
                self.report(problem.why(error.to_string()));
                None
            }
        }
    }

    /// A time with its unit.
    pub(super) fn duration(&self) -> Option<Duration> {
        let text = self.text()?;
        let Some(duration) = parse_duration(text) else {
            let problem = Problem::error(format!("{} is not a duration", quoted(text)))
                .why("a duration is a number with a unit: ms, s, m, h or d");
            self.report(match text.parse::<u64>() {
                Ok(n) => problem.suggest(format!("write {n}s if seconds are meant")),
                Err(_) => problem.suggest("write it as 90s, 5m or 1m 30s"),
            });
            return None;
        };
        let (least, most) = DURATIONS;
        if duration < least || duration > most {
            self.report(
                Problem::error(format!("{} is out of range", quoted(text)))
                    .why("a duration of a spec is from 10ms to 24h"),
            );
            return None;
        }
        Some(duration)
    }

    /// One of some words, as the value that it is the serialised form of.
    pub(super) fn word<T: DeserializeOwned>(
        &self,
        words: &[&'static str],
        later: &[Later],
    ) -> Option<T> {
        let text = self.text()?;
        if let Some(later) = later.iter().find(|later| later.name == text) {
            self.report(not_yet(later));
            return None;
        }
        let known = words.iter().find(|word| **word == text);
        let value =
            known.and_then(|word| T::deserialize(StrDeserializer::<WordError>::new(word)).ok());
        if value.is_none() {
            self.report(
                Problem::error(format!("{} cannot stand here", quoted(text)))
                    .why(format!("possible are {}", words.join(", ")))
                    .suggest_nearest(text, words.iter().copied()),
            );
        }
        value
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Self> {
        match &self.yaml.value {
            Value::List(items) => {
                let numbered = items.iter().enumerate();
                numbered
                    .map(|(i, item)| self.below(&i.to_string(), item.at, item))
                    .collect()
            }
            Value::Null | Value::Scalar { .. } | Value::Map(_) => {
                self.wrong_kind("a list");
                Vec::new()
            }
        }
    }

    /// The items of a list, or this value itself if it is a scalar.
    pub(super) fn one_or_more(&self) -> Vec<Self> {
        match self.yaml.value {
            Value::Scalar { .. } => vec![self.clone()],
            Value::List(_) => self.items(),
            Value::Null | Value::Map(_) => {
                self.wrong_kind("a text or a list of texts");
                Vec::new()
            }
        }
    }

    /// The names of a list, or of a single text, with ranges expanded; one that is given twice is a problem.
    pub(super) fn names<N: FromStr<Err = NameError> + Ord + Clone>(&self) -> Vec<N> {
        let mut seen = std::collections::BTreeSet::new();
        let mut names = Vec::new();
        for item in self.one_or_more() {
            let Some(text) = item.text() else { continue };
            for name in item.expand(text) {
                let Some(parsed) = item.parse_name::<N>(&name, item.at) else {
                    break;
                };
                if seen.insert(parsed.clone()) {
                    names.push(parsed);
                } else {
                    item.report(Problem::error(format!("{} is listed twice", quoted(&name))));
                    // Of a range that is listed twice the first name says enough.
                    break;
                }
            }
        }
        names
    }

    /// The names that this value's key stands for.
    pub(super) fn names_of_key<N: FromStr<Err = NameError>>(&self, key: &str) -> Vec<N> {
        let names = self.reader.expand(key, self.at, &self.path).into_iter();
        // One bad name of a range is reported, not all.
        names
            .map_while(|name| self.parse_name(&name, self.at))
            .collect()
    }

    /// The texts that a text with or without a range stands for.
    pub(super) fn expand(&self, text: &str) -> Vec<String> {
        self.reader.expand(text, self.yaml.at, &self.path)
    }

    /// The entries of a map whose keys the operator chooses.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        match &self.yaml.value {
            Value::Map(entries) => entries
                .iter()
                .map(|entry| {
                    (
                        entry.key.as_str(),
                        self.below(&entry.key, entry.at, &entry.value),
                    )
                })
                .collect(),
            Value::Null | Value::Scalar { .. } | Value::List(_) => {
                self.wrong_kind("a map");
                Vec::new()
            }
        }
    }

    /// The entries of a map from names; a key that is not a name is a problem.
    pub(super) fn named<N: FromStr<Err = NameError>>(&self) -> Vec<(N, Self)> {
        let named = self
            .entries()
            .into_iter()
            .filter_map(|(key, field)| Some((field.parse_name(key, field.at)?, field)));
        named.collect()
    }

    /// A map with known keys. `body` reads it; what it did not ask for is a mistake of the program.
    pub(super) fn section<T>(
        &self,
        shape: &'static Shape,
        body: impl FnOnce(&Section<'a>) -> T,
    ) -> T {
        let section = match &self.yaml.value {
            Value::Map(entries) => Section::open(self.clone(), shape, entries),
            Value::Null | Value::Scalar { .. } | Value::List(_) => {
                let keys: Vec<&str> = shape.keys.iter().map(|key| key.name).take(4).collect();
                let expected = format!("a map with keys such as {}", keys.join(", "));
                self.wrong_kind(&expected);
                Section::absent(self.clone(), shape)
            }
        };
        let value = body(&section);
        section.close();
        value
    }

    /// A value below this one, by key and entry.
    pub(super) fn entry(&self, entry: &'a crate::spec::yaml::Entry) -> Self {
        self.below(&entry.key, entry.at, &entry.value)
    }
}

/// The problem of a key or word that a later version will understand.
pub(super) fn not_yet(later: &Later) -> Problem {
    Problem::error(format!("`{}` is not available in this version", later.name))
        .why(format!("it will be {}", later.what))
        .suggest("remove it")
}

/// Numbers with units, added up.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let end = unit
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(unit.len());
        let (unit, next) = unit.split_at(end);
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        // More than nine digits are out of any range.
        let number: u64 = if number.len() <= 9 {
            number.parse().ok()?
        } else {
            return None;
        };
        sum = sum.checked_add(Duration::from_millis(number * millis))?;
        rest = match next.strip_prefix(' ') {
            Some(more) if !more.is_empty() => more,
            Some(_) => return None,
            None => next,
        };
    }
    (!text.is_empty()).then_some(sum)
}

/// How the schema and the reference say what [`parse_duration`] reads.
pub(in crate::spec) const DURATION_PATTERN: &str =
    "^[0-9]{1,9}(ms|s|m|h|d)( ?[0-9]{1,9}(ms|s|m|h|d))*$";

/// How the schema says what [`Threshold`] reads where it is a text. Bounds, and that the first number is not above the
/// second, are left to the reader.
pub(in crate::spec) const THRESHOLD_PATTERN: &str = "^[0-9]{1,4}( of [0-9]{1,4})?$";

/// The words of a kind.
pub(super) fn words_of(kind: Kind) -> (&'static [&'static str], &'static [Later]) {
    match kind {
        Kind::Word { words, later } => (words, later),
        Kind::ListOf(kind) | Kind::SomeOf(kind) => words_of(*kind),
        _ => (&[], &[]),
    }
}
