//! What is wrong with a spec, where, why, and what would be right.
//!
//! Readers and verifiers add to one [`Report`] and go on. The report is bounded: a file of a million mistakes costs no
//! more to report than one of [`MAX_PROBLEMS`].

mod render;

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Serialize;

use super::yaml::Place;
use crate::suggest;

/// The most errors, and the most warnings, that are listed; more are counted.
pub const MAX_PROBLEMS: usize = 100;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The spec cannot be used.
    Error,
    /// The spec can be used, but probably does not say what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The number of characters from there that are at fault.
    pub width: u32,
    /// The keys that lead to it, such as `services.web.requires.dbm`; empty for the whole file.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// Why that is wrong; empty if it goes without saying.
    pub why: String,
    /// What would probably be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// Other places that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// Another place that has to do with a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The number of characters from there.
    pub width: u32,
    /// What is there.
    pub text: String,
}

impl Problem {
    /// An error, so far without a place.
    pub(crate) fn error(what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            line: 1,
            column: 1,
            width: 1,
            path: String::new(),
            what: what.into(),
            why: String::new(),
            suggestion: None,
            notes: Vec::new(),
        }
    }

    /// A warning, so far without a place.
    pub(crate) fn warning(what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(what)
        }
    }

    pub(crate) fn at(self, at: Place) -> Self {
        Self {
            line: at.line,
            column: at.column,
            width: at.width,
            ..self
        }
    }

    pub(crate) fn path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    pub(crate) fn why(self, why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            ..self
        }
    }

    pub(crate) fn suggest(self, suggestion: impl Into<String>) -> Self {
        Self {
            suggestion: Some(suggestion.into()),
            ..self
        }
    }

    /// Suggests the nearest of some words, if one is near.
    pub(crate) fn suggest_nearest<'a>(
        self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match suggest::nearest(word, known) {
            Some(near) => self.suggest(format!("did you mean {}?", quoted(near))),
            None => self,
        }
    }

    pub(crate) fn note(mut self, at: Place, text: impl Into<String>) -> Self {
        let (line, column, width) = (at.line, at.column, at.width);
        self.notes.push(Note {
            line,
            column,
            width,
            text: text.into(),
        });
        self
    }

    /// The same without what must not reach a terminal or a log: a message repeats what stands in the file.
    fn shown(self) -> Self {
        let lines = |text: String| match text.contains(|c: char| c != '\n' && visible(c) != c) {
            true => {
                let shown = text.chars().map(|c| if c == '\n' { c } else { visible(c) });
                shown.collect()
            }
            false => text,
        };
        let notes = self.notes.into_iter();
        Self {
            what: lines(self.what),
            why: lines(self.why),
            suggestion: self.suggestion.map(lines),
            notes: notes
                .map(|note| Note {
                    text: lines(note.text),
                    ..note
                })
                .collect(),
            ..self
        }
    }

    pub(crate) fn boxed(self) -> Box<Self> {
        Box::new(self)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.line, self.column, self.severity, self.what
        )
    }
}

/// Why a spec cannot be used: all of its problems, warnings among them, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// The file, as it was named to the reader.
    pub file: String,
    /// The problems, at most [`MAX_PROBLEMS`] of each severity.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl Problems {
    /// Problems of a file, for rendering; also of one that is usable but has warnings.
    #[must_use]
    pub fn new(file: &str, problems: Vec<Problem>) -> Self {
        Self {
            file: file.to_owned(),
            problems,
            more: 0,
        }
    }

    /// Is one of them an error?
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// For people: each problem with its line of the file and a mark under it. `source` is the file.
    #[must_use]
    pub fn render(&self, source: &[u8]) -> String {
        render::render(self, source)
    }

    /// For programs: `{"file", "problems": [{"severity", "line", "column", "path", "what", "why", ..}], "more"}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // Strings and numbers alone: this cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cluster spec {} cannot be used", self.file)?;
        let mut separator = ": ";
        for problem in self
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .take(3)
        {
            write!(f, "{separator}{problem}")?;
            separator = "; ";
        }
        let shown = 3.min(self.problems.len());
        match self.problems.len() - shown + self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

/// Where problems are gathered while a spec is read. Errors and warnings are limited apart, so that no number of
/// warnings hides an error.
#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: Gathered,
    warnings: Gathered,
}

/// Problems of one severity, up to the limit.
#[derive(Debug, Default)]
struct Gathered {
    listed: RefCell<Vec<Problem>>,
    more: Cell<usize>,
}

impl Report {
    fn gathered(&self, severity: Severity) -> &Gathered {
        match severity {
            Severity::Error => &self.errors,
            Severity::Warning => &self.warnings,
        }
    }

    /// Adds a problem, or only counts it if there are enough.
    pub(crate) fn add(&self, problem: Problem) {
        let severity = problem.severity;
        self.add_lazily(severity, || Some(problem));
    }

    /// Adds a problem, if it is one, that is only made if it will be listed: looking for its place and for the word
    /// that was meant is not free.
    pub(crate) fn add_lazily(&self, severity: Severity, problem: impl FnOnce() -> Option<Problem>) {
        let gathered = self.gathered(severity);
        let mut listed = gathered.listed.borrow_mut();
        if listed.len() < MAX_PROBLEMS {
            listed.extend(problem().map(Problem::shown));
        } else {
            gathered.more.set(gathered.more.get() + 1);
        }
    }

    /// Has any error been added?
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.listed.borrow().is_empty()
    }

    /// Are all errors so far of this kind? Not if there are more than are listed.
    pub(crate) fn errors_are_all(&self, kind: impl Fn(&Problem) -> bool) -> bool {
        self.errors.more.get() == 0 && self.errors.listed.borrow().iter().all(kind)
    }

    /// The problems in the order of the file.
    pub(crate) fn into_problems(self, file: &str) -> Problems {
        let mut problems = self.errors.listed.into_inner();
        problems.append(&mut self.warnings.listed.into_inner());
        problems.sort_by_key(|problem| (problem.line, problem.column, problem.severity));
        Problems {
            file: file.to_owned(),
            problems,
            more: self.errors.more.get() + self.warnings.more.get(),
        }
    }
}

/// A text of the file as messages show it: in quotes, short, and without anything that a terminal would obey.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(visible).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// A character that is safe to show on one line of a terminal.
pub(crate) fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        // Bidirectional controls reorder what a person sees.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}
