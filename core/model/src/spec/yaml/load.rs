//! Bytes to tree, within limits.
//!
//! Everything that makes a YAML file dangerous is refused here with one problem: size, depth, aliases that unfold to
//! more than [`MAX_VALUES`], bytes that are no text. What follows may assume a tree of bounded size and depth.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, options,
};

use super::{Entries, Entry, MAX_BYTES, MAX_DEPTH, MAX_VALUES, Place, Value, Yaml};
use crate::spec::problem::{Problem, Report, quoted};

/// A reason to stop reading.
type Fatal = Box<Problem>;

/// Reads one YAML document. Problems that leave a tree to go on with (duplicate keys, tags) are reported and the
/// tree is returned; all others are returned.
pub(crate) fn load(bytes: &[u8], report: &Report) -> Result<Yaml, Fatal> {
    let text = text_of(bytes)?;
    let limits = options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut loader = Loader {
        events: Parser::new_from_str_with_options(text, limits),
        source: text,
        anchors: BTreeMap::new(),
        left: MAX_VALUES,
        report,
    };
    loader.document()
}

/// The bytes as text, without a byte order mark.
fn text_of(bytes: &[u8]) -> Result<&str, Fatal> {
    if bytes.len() > MAX_BYTES {
        // Whoever reads the file may have stopped one byte beyond the limit: it may be longer than what is here.
        let what = format!("the file has more than {} KiB", MAX_BYTES >> 10);
        return Err(fatal(Place::START, what)
            .why(format!(
                "a cluster spec has at most {MAX_BYTES} bytes, so that a record of the store holds it, and this one has {} \
                 or more",
                bytes.len()
            ))
            .suggest("write lists of nodes as ranges, such as jb[1-60]")
            .boxed());
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let before = &bytes[..offset];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        let what = format!("byte {offset} of the file is not UTF-8");
        fatal(place(line, column), what)
            .why("a cluster spec is a UTF-8 text")
            .suggest("save the file as UTF-8, without Latin-1 or UTF-16 characters")
            .boxed()
    })?;
    let is_foreign = |char: char| char.is_ascii_control() && !matches!(char, '\t' | '\n' | '\r');
    if let Some(offset) = text.find(is_foreign) {
        let before = &text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let what = format!("byte {offset} of the file is a control character");
        return Err(fatal(place(line, column), what)
            .why("a text of YAML has none but tabs and ends of lines")
            .suggest("remove it; in a quoted value it is written as an escape, such as \"\\x07\"")
            .boxed());
    }
    if text.trim().is_empty() {
        return Err(fatal(Place::START, "the file is empty")
            .why("a cluster spec needs at least `cluster` and `nodes`")
            .boxed());
    }
    Ok(text)
}

struct Loader<'t> {
    events: Parser<'t, StrInput<'t>>,
    source: &'t str,
    anchors: BTreeMap<usize, Yaml>,
    left: usize,
    report: &'t Report,
}

impl<'t> Loader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Fatal> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
        }
    }

    fn document(&mut self) -> Result<Yaml, Fatal> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(fatal(place_of(&span), "a second document begins here")
                        .why("a cluster spec is a single YAML document")
                        .suggest("put each cluster into a file of its own, or remove the `---`")
                        .boxed());
                }
                event if event.is_node() => root = Some(self.node(event, span, 0)?),
                _ => {}
            }
        }
        root.ok_or_else(|| fatal(Place::START, "the file holds no values").boxed())
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Yaml, Fatal> {
        let at = place_of(&span);
        if depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.charge(1, at)?;
        if let Some(tag) = event.tag() {
            let tag = quoted(&tag.original());
            self.report.add(
                fatal(at, format!("the tag {tag} is not used in a cluster spec"))
                    .why("the key decides how a value is read")
                    .suggest("remove the tag"),
            );
        }
        let anchor = event.anchor_id();
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(text.into_owned(), style),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(id) => return self.alias(id, at),
            _ => return Err(fatal(at, "this is not a YAML value").boxed()),
        };
        let node = Yaml { at, value };
        if let Some(id) = anchor {
            self.charge(node.size(), at)?;
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fatal> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fatal> {
        let mut entries = Entries::default();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let name = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let at = name.at;
            match name.value {
                Value::Scalar { text, plain: true } if text == "<<" => merged.push((at, value)),
                Value::Scalar { text: key, .. } => {
                    self.insert(&mut entries, Entry { key, at, value })
                }
                Value::Null | Value::List(_) | Value::Map(_) => {
                    let what = format!("a key must be a text, this is {}", name.kind());
                    self.report.add(
                        fatal(at, what).suggest("put text with special characters into quotes"),
                    );
                }
            }
        }
        for (at, value) in merged {
            self.merge(at, value, &mut entries);
        }
        Ok(Value::Map(entries))
    }

    fn insert(&self, entries: &mut Entries, entry: Entry) {
        let Err(second) = entries.insert(entry) else {
            return;
        };
        let what = format!("the key {} is given twice", quoted(&second.key));
        let problem = fatal(second.at, what).why("only one of the two values could count");
        self.report.add(match entries.get(&second.key) {
            Some(first) => problem.note(first.at, "first given here"),
            None => problem,
        });
    }

    /// The merge key `<<` of YAML 1.1: entries of other maps that this one does not have itself.
    fn merge(&self, at: Place, value: Yaml, entries: &mut Entries) {
        match value.value {
            Value::Map(more) => {
                for entry in more {
                    // What is there already stays.
                    let _ = entries.insert(entry);
                }
            }
            Value::List(items) => {
                for item in items {
                    self.merge(at, item, entries);
                }
            }
            Value::Null | Value::Scalar { .. } => self.report.add(
                fatal(at, "`<<` merges a map, or a list of maps, into this one")
                    .suggest("name an anchor that is a map: `<<: *name`"),
            ),
        }
    }

    fn alias(&mut self, id: usize, at: Place) -> Result<Yaml, Fatal> {
        let Some(target) = self.anchors.get(&id) else {
            return Err(
                fatal(at, "this alias stands inside the value that it names")
                    .why("the value would have no end")
                    .boxed(),
            );
        };
        let mut copy = target.clone();
        self.charge(copy.size(), at)?;
        copy.at = at;
        Ok(copy)
    }

    fn charge(&mut self, values: usize, at: Place) -> Result<(), Fatal> {
        match self.left.checked_sub(values) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let what = format!("the file unfolds to more than {MAX_VALUES} values");
                Err(fatal(at, what)
                    .why("aliases count as often as they are used")
                    .suggest("use fewer aliases, and ranges for lists of nodes")
                    .boxed())
            }
        }
    }

    fn syntax(&self, error: &ScanError) -> Fatal {
        let marker = error.marker();
        let at = place(marker.line(), marker.col() + 1);
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return too_deep(at);
        }
        let problem = fatal(at, format!("this is not YAML: {}", error.info()));
        let line = self
            .source
            .lines()
            .nth(marker.line().saturating_sub(1))
            .unwrap_or_default();
        let before = line.chars().take(marker.col() + 1).collect::<String>();
        match error.kind() {
            _ if before.contains('\t') || error.info().contains("tab") => problem
                .why("YAML is indented with spaces")
                .suggest("replace the tab by spaces"),
            ErrorKind::UnknownAnchor => problem.suggest("define it further up: `&name`"),
            _ if unquoted_range(line) => {
                problem.suggest("put ranges inside of [...] or {...} into quotes: \"jb[1-6]\"")
            }
            _ => problem,
        }
        .boxed()
    }
}

/// Does a word with a range stand in the line outside of quotes? In flow style its bracket would open a list.
fn unquoted_range(line: &str) -> bool {
    let bytes = line.as_bytes();
    let mut quote = None;
    bytes.iter().enumerate().any(|(i, byte)| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
        quote.is_none()
            && *byte == b'['
            && i > 0
            && bytes[i - 1].is_ascii_alphanumeric()
            && bytes.get(i + 1).is_some_and(u8::is_ascii_digit)
    })
}

fn scalar(text: String, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar { text, plain }
}

fn fatal(at: Place, what: impl Into<String>) -> Problem {
    Problem::error(what).at(at)
}

fn too_deep(at: Place) -> Fatal {
    fatal(at, format!("this is nested deeper than {MAX_DEPTH} levels"))
        .why("nothing in a cluster spec is; the limit keeps hostile files from costing memory")
        .boxed()
}

fn place(line: usize, column: usize) -> Place {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: small(line),
        column: small(column),
        width: 1,
    }
}

fn place_of(span: &Span) -> Place {
    let mut at = place(span.start.line(), span.start.col() + 1);
    if span.end.line() == span.start.line() {
        let width = span.end.col().saturating_sub(span.start.col()).max(1);
        at.width = u32::try_from(width).unwrap_or(u32::MAX);
    }
    at
}
