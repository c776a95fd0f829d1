//! A map with known keys while it is read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::field::{Field, not_yet, parse_duration, words_of};
use crate::check::Threshold;
use crate::names::NameError;
use crate::spec::problem::{Problem, Severity, quoted};
use crate::spec::shape::{Key, Kind, Need, Shape};
use crate::spec::yaml::{Entries, Entry, Value};

/// An open section. Every getter takes the kind, the limits and the default from the section's table.
#[derive(Debug)]
pub(super) struct Section<'a> {
    field: Field<'a>,
    shape: &'static Shape,
    /// None if there is no map to read: then a missing key is not reported on top.
    entries: Option<&'a Entries>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// Opens a section and reports the keys that do not belong into it.
    pub(super) fn open(field: Field<'a>, shape: &'static Shape, entries: &'a Entries) -> Self {
        let section = Self {
            field,
            shape,
            entries: Some(entries),
            asked: RefCell::default(),
        };
        entries.iter().for_each(|entry| section.admit(entry));
        section.choose(entries);
        section
    }

    /// A section in whose place nothing stands, or something else: everything is at its default.
    pub(super) fn absent(field: Field<'a>, shape: &'static Shape) -> Self {
        Self {
            field,
            shape,
            entries: None,
            asked: RefCell::default(),
        }
    }

    /// Ends the reading.
    pub(super) fn close(self) {
        let asked = self.asked.into_inner();
        let mut forgotten = self
            .shape
            .keys
            .iter()
            .filter(|key| !asked.contains(key.name));
        debug_assert_eq!(
            forgotten.next().map(|key| key.name),
            None,
            "a key of {} is never read",
            self.shape.name
        );
    }

    fn admits(&self, key: &str) -> bool {
        key.starts_with("x-") || self.shape.key(key).is_some()
    }

    fn admit(&self, entry: &Entry) {
        let key = entry.key.as_str();
        if self.admits(key) {
            return;
        }
        let field = self.field.entry(entry);
        if let Some(later) = self.shape.later.iter().find(|later| later.name == key) {
            field.report_key(not_yet(later));
            return;
        }
        self.field.reader.report.add_lazily(Severity::Error, || {
            let keys = self.shape.keys.iter().map(|key| key.name);
            let known = keys.clone().collect::<Vec<_>>().join(", ");
            let problem = Problem::error(format!(
                "unknown key {} in {}",
                quoted(key),
                self.shape.name
            ))
            .at(entry.at)
            .path(field.path)
            .why(format!("known are {known}; keys of your own begin with x-"))
            .suggest_nearest(key, keys);
            Some(problem)
        });
    }

    fn choose(&self, entries: &Entries) {
        if self.shape.choice.is_empty() {
            return;
        }
        let chosen: Vec<&Entry> = entries
            .iter()
            .filter(|entry| self.shape.choice.contains(&entry.key.as_str()))
            .collect();
        let choice = self.shape.choice.join(", ");
        match chosen.as_slice() {
            [_] => {}
            // A reserved or misspelt key has been reported; it was the choice.
            [] if entries.iter().any(|entry| !self.admits(&entry.key)) => {}
            [] => self.report(
                Problem::error(format!("this {} does not say what it is", self.shape.name))
                    .why(format!("it needs exactly one of {choice}")),
            ),
            [first, second, ..] => self.field.reader.report.add(
                Problem::error(format!("this {} is two things at once", self.shape.name))
                    .at(second.at)
                    .path(self.field.path.as_str())
                    .why(format!("it needs exactly one of {choice}"))
                    .note(first.at, "the other is here"),
            ),
        }
    }

    /// Adds a problem of the section as a whole, placed at its key.
    pub(super) fn report(&self, problem: Problem) {
        self.field.report_key(problem);
    }

    /// The section of a key; without the key, everything in it is at its default.
    pub(super) fn section<T>(&self, name: &'static str, body: impl FnOnce(&Self) -> T) -> T {
        let shape = self.shape_of(name).unwrap_or(self.shape);
        match self.get(name) {
            Some(field) => field.section(shape, body),
            None => body(&Self::absent(self.field.clone(), shape)),
        }
    }

    /// The section of a key, if it is given.
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        body: impl FnOnce(&Self) -> T,
    ) -> Option<T> {
        let shape = self.shape_of(name)?;
        self.get(name).map(|field| field.section(shape, body))
    }

    /// The sections of a map from names.
    pub(super) fn map<N, T>(
        &self,
        name: &'static str,
        mut body: impl FnMut(&N, &Self) -> T,
    ) -> BTreeMap<N, T>
    where
        N: FromStr<Err = NameError> + Ord,
    {
        let (Some(shape), Some(field)) = (self.shape_of(name), self.get(name)) else {
            return BTreeMap::new();
        };
        let read = |(name, field): (N, Field<'a>)| {
            let value = field.section(shape, |section| body(&name, section));
            (name, value)
        };
        field.named().into_iter().map(read).collect()
    }

    /// Is it no map, so that a missing key means nothing?
    pub(super) fn is_absent(&self) -> bool {
        self.entries.is_none()
    }

    fn key(&self, name: &'static str) -> Option<&'static Key> {
        let key = self.shape.key(name);
        debug_assert!(
            key.is_some(),
            "{name} is not in the table of {}",
            self.shape.name
        );
        self.asked.borrow_mut().insert(name);
        key
    }

    /// The section that a key's value is made of. Does not count as asking for the key.
    fn shape_of(&self, name: &'static str) -> Option<&'static Shape> {
        self.shape.key(name)?.kind.shapes().first().copied()
    }

    /// The value of a key, if it is given. A required key that is not given is reported.
    pub(super) fn get(&self, name: &'static str) -> Option<Field<'a>> {
        let first = !self.asked.borrow().contains(name);
        let key = self.key(name)?;
        let entry = self.entries.and_then(|entries| entries.get(name));
        let found = entry.map(|entry| self.field.entry(entry));
        if found.is_none() && key.need == Need::Required && first && !self.is_absent() {
            self.report(
                Problem::error(format!("{} has no `{name}`", self.shape.name))
                    .why(format!("needed is: {}", key.doc)),
            );
        }
        if let Some(field) = found.as_ref().filter(|_| first && key.kind.needs_item())
            && matches!(&field.yaml.value, Value::List(items) if items.is_empty())
        {
            let problem = Problem::error(format!("`{name}` is an empty list"));
            field.report(problem.why("at least one item is needed here"));
        }
        found
    }

    /// The default of a key.
    fn default(&self, name: &'static str) -> Option<&'static str> {
        match self.key(name)?.need {
            Need::Default(text) => Some(text),
            Need::Required | Need::Optional | Need::Derived(_) => None,
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.get(name)?.text().map(str::to_owned)
    }

    /// A name.
    pub(super) fn name<N: FromStr<Err = NameError>>(&self, name: &'static str) -> Option<N> {
        self.get(name)?.name()
    }

    /// Names, with ranges expanded.
    pub(super) fn names<N: FromStr<Err = NameError> + Ord + Clone>(
        &self,
        name: &'static str,
    ) -> Vec<N> {
        self.get(name)
            .map(|field| field.names())
            .unwrap_or_default()
    }

    /// Texts by name.
    pub(super) fn texts(&self, name: &'static str) -> BTreeMap<String, String> {
        let entries = self
            .get(name)
            .map(|field| field.entries())
            .unwrap_or_default()
            .into_iter();
        entries
            .filter_map(|(key, field)| Some((key.to_owned(), field.text()?.to_owned())))
            .collect()
    }

    /// A flag; false if it is not given.
    pub(super) fn flag(&self, name: &'static str) -> bool {
        let given = self.get(name).and_then(|field| field.flag());
        given.unwrap_or_else(|| self.default(name) == Some("true"))
    }

    /// A whole number, or its default.
    pub(super) fn count(&self, name: &'static str) -> Option<u64> {
        let (least, most) = match self.key(name)?.kind {
            Kind::Count { least, most } => (least, most),
            _ => (0, u64::MAX),
        };
        let given = self.get(name).and_then(|field| field.count(least, most));
        given.or_else(|| self.default(name)?.parse().ok())
    }

    /// A duration, or its default.
    pub(super) fn duration(&self, name: &'static str) -> Option<Duration> {
        let given = self.get(name).and_then(|field| field.duration());
        given.or_else(|| parse_duration(self.default(name)?))
    }

    /// A threshold, or its default.
    pub(super) fn threshold(&self, name: &'static str) -> Option<Threshold> {
        let given = self.get(name).and_then(|field| field.threshold());
        given.or_else(|| self.default(name)?.parse().ok())
    }

    /// A word, or its default.
    pub(super) fn word<T: DeserializeOwned>(&self, name: &'static str) -> Option<T> {
        use serde::de::value::{Error, StrDeserializer};
        let (words, later) = words_of(self.key(name)?.kind);
        let given = self.get(name).and_then(|field| field.word(words, later));
        given.or_else(|| T::deserialize(StrDeserializer::<Error>::new(self.default(name)?)).ok())
    }

    /// A list of words; one that is given twice is a problem.
    pub(super) fn words<T: DeserializeOwned + PartialEq>(&self, name: &'static str) -> Vec<T> {
        let (words, later) = self
            .shape
            .key(name)
            .map_or((&[][..], &[][..]), |key| words_of(key.kind));
        let mut found = Vec::new();
        for item in self
            .get(name)
            .map(|field| field.items())
            .unwrap_or_default()
        {
            let Some(word) = item.word(words, later) else {
                continue;
            };
            if found.contains(&word) {
                item.report(Problem::error("this is listed twice"));
            } else {
                found.push(word);
            }
        }
        found
    }
}
