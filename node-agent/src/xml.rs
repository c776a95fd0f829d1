//! The part of XML that the metadata of fence agents and resource agents uses: the tags, one after the other, with their
//! attributes, and the text between them.
//!
//! Declarations, comments, CDATA sections and the DOCTYPE line that some agents print are skipped. No entity is ever fetched or expanded beyond the five
//! predefined ones and character numbers, so no document can grow.

use std::collections::BTreeMap;

/// An opening (or self-closing) tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// A closing tag, or the end of a self-closing one, is reported as well, so that nesting can be followed. Text that is
/// nothing but white space is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Open(Tag),
    Text(String),
    Close(String),
}

/// Reads all tags of a document, and the text within.
///
/// # Errors
/// What is wrong, in words, at the first construct that is not XML.
pub(crate) fn tags(document: &str) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let mut rest = document;
    while let Some(start) = rest.find('<') {
        let text = rest[..start].trim();
        if !text.is_empty() {
            events.push(Event::Text(unescape(text)));
        }
        rest = &rest[start..];
        rest = if let Some(after) = skip(rest, "<!--", "-->")? {
            after
        } else if let Some(after) = skip(rest, "<![CDATA[", "]]>")? {
            after
        } else if let Some(after) = skip(rest, "<?", "?>")? {
            after
        } else if let Some(after) = skip(rest, "<!", ">")? {
            after
        } else {
            let end = tag_end(rest)?;
            tag(&rest[1..end], &mut events)?;
            &rest[end + 1..]
        };
    }
    Ok(events)
}

fn skip<'t>(text: &'t str, open: &str, close: &str) -> Result<Option<&'t str>, String> {
    let Some(inner) = text.strip_prefix(open) else {
        return Ok(None);
    };
    match inner.find(close) {
        Some(end) => Ok(Some(&inner[end + close.len()..])),
        None => Err(format!("'{open}' is never closed")),
    }
}

/// The position of the `>` that ends the tag; one inside a quoted value does not.
fn tag_end(text: &str) -> Result<usize, String> {
    let mut quote = None;
    for (position, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Ok(position),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    Err(format!(
        "the tag '{}' is never closed",
        text.chars().take(30).collect::<String>()
    ))
}

fn tag(body: &str, events: &mut Vec<Event>) -> Result<(), String> {
    if let Some(name) = body.strip_prefix('/') {
        events.push(Event::Close(name.trim().to_owned()));
        return Ok(());
    }
    let (body, closed) = body
        .strip_suffix('/')
        .map_or((body, false), |body| (body, true));
    let body = body.trim();
    let name_end = body.find(char::is_whitespace).unwrap_or(body.len());
    let name = body[..name_end].to_owned();
    if name.is_empty() {
        return Err("a tag has no name".to_owned());
    }
    let attributes = attributes(&body[name_end..]).map_err(|why| format!("in <{name}>: {why}"))?;
    events.push(Event::Open(Tag {
        name: name.clone(),
        attributes,
    }));
    if closed {
        events.push(Event::Close(name));
    }
    Ok(())
}

fn attributes(mut text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut attributes = BTreeMap::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Ok(attributes);
        }
        let (name, after) = text.split_once('=').ok_or("an attribute has no value")?;
        let after = after.trim_start();
        let quote = after
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\''))
            .ok_or("a value is not quoted")?;
        let (value, after) = after[1..]
            .split_once(quote)
            .ok_or("a quote is never closed")?;
        attributes.insert(name.trim().to_owned(), unescape(value));
        text = after;
    }
}

/// An unknown entity stays as it is.
fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find('&') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let entity = rest[1..]
            .split_once(';')
            .and_then(|(name, after)| Some((character(name)?, after)));
        if let Some((c, after)) = entity {
            text.push(c);
            rest = after;
        } else {
            text.push('&');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Event::Open(Tag {
            name: name.to_owned(),
            attributes,
        })
    }

    #[test]
    fn tags_are_read_and_everything_else_is_skipped() {
        let document = "<?xml version='1.0'?><!DOCTYPE x SYSTEM \"x.dtd\"><!-- <no/> --><a b=\"1 > 0\" c = 'x&lt;&#65;&no;'>\
                        text<![CDATA[<no>]]><d/></a>";
        let close = |name: &str| Event::Close(name.to_owned());
        let expected = [
            open("a", &[("b", "1 > 0"), ("c", "x<A&no;")]),
            Event::Text("text".to_owned()),
            open("d", &[]),
            close("d"),
            close("a"),
        ];
        assert_eq!(tags(document).unwrap(), expected);
    }

    #[test]
    fn what_is_not_xml_is_an_error_and_never_a_panic() {
        for bad in [
            "<a",
            "<a b>",
            "<a b=1>",
            "<a b=\"1>",
            "<!-- ",
            "< >",
            "<a b='1' c>",
        ] {
            assert!(tags(bad).is_err(), "{bad}");
        }
        assert_eq!(tags("no tags at all"), Ok(vec![]));
    }
}
