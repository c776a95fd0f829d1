//! What is wrong with a configuration file: where, what, and what to do about it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::str::Utf8Error;

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {0}: check that it exists and that this user may read it"
    )]
    Read(PathBuf, #[source] io::Error),
    /// The file does not say what it must.
    #[error("{}", listed(file, problems))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// All that was found, in the order of the file. At least one.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key with its table, such as `process.web.command`; empty if the problem belongs to none.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem at a byte range of the text.
    pub(super) fn at(
        text: &str,
        span: &Range<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: key_at(text, line_start),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// The first byte that is not of a text in UTF-8, which TOML files are.
    pub(super) fn of_encoding(bytes: &[u8], error: Utf8Error) -> Self {
        let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let at = readable.len();
        let what = format!(
            "the byte 0x{:02x} is not UTF-8",
            bytes.get(at).copied().unwrap_or_default()
        );
        Self::at(&readable, &(at..at), what, "save the file as UTF-8")
    }

    /// What the TOML reader found.
    pub(super) fn of_reader(text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let what = error.message().trim().replace('\n', ": ");
        let missing = what
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        let remedy = if let Some(field) = missing {
            format!("add `{field} = ...` here")
        } else if what.starts_with("unknown field") {
            "correct the spelling or remove the line; a key that is not understood is never ignored"
                .to_owned()
        } else {
            "see the commented sample configuration".to_owned()
        };
        Self::at(text, &span, what, remedy)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

fn listed(file: &std::path::Path, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}:{problem}", file.display()))
        .collect();
    lines.join("\n")
}

/// The key of a line with the table that it stands in. For messages: good for all that is written one key a line.
fn key_at(text: &str, line_start: usize) -> String {
    let header = |line: &str| {
        let name = line.trim().strip_prefix('[')?.split(']').next()?;
        Some(name.trim_matches('[').trim().to_owned())
    };
    let line = text[line_start..].lines().next().unwrap_or_default();
    if let Some(table) = header(line) {
        return table;
    }
    let table = text[..line_start].lines().rev().find_map(header);
    let key = line.split_once('=').map(|(key, _)| key.trim().to_owned());
    [table, key]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(".")
}
