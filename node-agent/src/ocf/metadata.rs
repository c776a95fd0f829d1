//! From the `meta-data` of a resource agent to its type.
//!
//! Liberal in what it takes, as the agents in use are: a DOCTYPE line, durations as `20`, `20s` or `2m`, truth values as
//! 0/1/true/false, no parameters at all. What it keeps is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::ocf::{ActionAdvice, AgentName, AgentType, Parameter, ValueKind};

use crate::xml::{self, Event, Tag};

/// The longest text that is kept of a description, in characters: a line.
const LINE: usize = 200;

/// The most parameters, options of a parameter and actions that are kept. The largest agent in use has 60 parameters.
const MOST: usize = 200;

/// Reads what the agent printed.
///
/// # Errors
/// In words, if it is not the metadata of a resource agent.
pub(super) fn parse(agent: &AgentName, document: &str) -> Result<AgentType, String> {
    let mut reader = Reader {
        known: AgentType {
            agent: agent.clone(),
            version: String::new(),
            about: String::new(),
            parameters: BTreeMap::new(),
            actions: Vec::new(),
        },
        open: Vec::new(),
        parameter: None,
        is_agent: false,
    };
    for event in xml::tags(document)? {
        match event {
            Event::Open(tag) => reader.open(tag)?,
            Event::Text(text) => reader.text(&text),
            Event::Close(name) => reader.close(&name),
        }
    }
    if !reader.is_agent {
        return Err("it has no <resource-agent>".to_owned());
    }
    let has = |name| {
        reader
            .known
            .actions
            .iter()
            .any(|action| action.name == name)
    };
    for needed in ["start", "stop", "monitor"] {
        if !has(needed) {
            return Err(format!("it has no action {needed}"));
        }
    }
    Ok(reader.known)
}

struct Reader {
    known: AgentType,
    open: Vec<String>,
    parameter: Option<(String, Parameter)>,
    is_agent: bool,
}

impl Reader {
    fn open(&mut self, mut tag: Tag) -> Result<(), String> {
        let mut attribute = |name: &str| tag.attributes.remove(name);
        match tag.name.as_str() {
            "resource-agent" => {
                self.is_agent = true;
                self.known.version = line(&attribute("version").unwrap_or_default());
            }
            "parameter" => {
                let name = attribute("name").ok_or("a <parameter> has no name")?;
                let parameter = Parameter {
                    kind: ValueKind::Text,
                    default: None,
                    required: attribute("required").is_some_and(|value| is_true(&value)),
                    about: String::new(),
                };
                self.parameter = Some((name, parameter));
            }
            "content" => {
                if let Some((_, parameter)) = &mut self.parameter {
                    parameter.kind = match attribute("type").as_deref() {
                        Some("integer") => ValueKind::Integer,
                        Some("boolean") => ValueKind::Boolean,
                        Some("select") => ValueKind::Select(Vec::new()),
                        _ => ValueKind::Text,
                    };
                    parameter.default = attribute("default").map(|text| line(&text));
                }
            }
            "option" => {
                if let Some((_, parameter)) = &mut self.parameter
                    && let ValueKind::Select(options) = &mut parameter.kind
                    && options.len() < MOST
                {
                    options.extend(attribute("value"));
                }
            }
            "action" if self.known.actions.len() < MOST => {
                let action = ActionAdvice {
                    name: attribute("name").ok_or("an <action> has no name")?,
                    timeout: attribute("timeout").and_then(|text| duration(&text)),
                    interval: attribute("interval").and_then(|text| duration(&text)),
                    depth: attribute("depth")
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0),
                    role: attribute("role").unwrap_or_default(),
                };
                self.known.actions.push(action);
            }
            _ => {}
        }
        self.open.push(tag.name);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.open.last().is_some_and(|name| name == "shortdesc") {
            match &mut self.parameter {
                Some((_, parameter)) => parameter.about = line(text),
                None => self.known.about = line(text),
            }
        }
    }

    fn close(&mut self, name: &str) {
        if let Some(at) = self.open.iter().rposition(|open| open == name) {
            self.open.truncate(at);
        }
        if name == "parameter"
            && let Some((name, mut parameter)) = self.parameter.take()
            && self.known.parameters.len() < MOST
        {
            if parameter.kind == ValueKind::Select(Vec::new()) {
                parameter.kind = ValueKind::Text;
            }
            self.known.parameters.insert(name, parameter);
        }
    }
}

fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "1" | "true" | "yes" | "on"
    )
}

/// `20` and `20s` are seconds. Zero is none.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|duration| !duration.is_zero())
}

/// A text in one line that is not too long.
fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0"?>
        <!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
        <resource-agent name="Thing" version="0.9">
        <version>1.0</version>
        <longdesc lang="en">Long &lt;story&gt;.</longdesc>
        <shortdesc lang="en">A thing
            of two lines</shortdesc>
        <parameters>
        <parameter name="ip" unique="1" required="1">
        <longdesc lang="en">long</longdesc><shortdesc lang="en">The address</shortdesc>
        <content type="string" default="" /></parameter>
        <parameter name="lvs" required="0"><content type="boolean" default="false"/></parameter>
        <parameter name="port"><shortdesc>P</shortdesc><content type="integer" default="80"/></parameter>
        <parameter name="mode"><content type="select" default="a"><option value="a"/><option value="b"/></content></parameter>
        <parameter name="after"><content type="time"/></parameter>
        </parameters>
        <actions>
        <action name="start" timeout="20s" /><action name="stop" timeout="2m" />
        <action name="monitor" depth="0" timeout="20" interval="10s" />
        <action name="monitor" depth="10" timeout="60s" interval="1m" role="Promoted"/>
        <action name="meta-data" timeout="5s" />
        </actions></resource-agent>"#;

    fn parsed() -> AgentType {
        parse(&"test:Thing".parse().unwrap(), DOCUMENT).unwrap()
    }

    #[test]
    fn parameters_are_read_with_their_type_default_and_first_line() {
        let known = parsed();
        assert_eq!(
            (known.about.as_str(), known.version.as_str()),
            ("A thing of two lines", "0.9")
        );
        let ip = &known.parameters["ip"];
        assert!(ip.required && ip.kind == ValueKind::Text, "{ip:?}");
        assert_eq!(
            (ip.about.as_str(), ip.default.as_deref()),
            ("The address", Some(""))
        );
        assert_eq!(known.parameters["lvs"].kind, ValueKind::Boolean);
        assert_eq!(known.parameters["port"].kind, ValueKind::Integer);
        let options = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(known.parameters["mode"].kind, ValueKind::Select(options));
        assert_eq!(
            known.parameters["after"].kind,
            ValueKind::Text,
            "an unknown type"
        );
    }

    #[test]
    fn actions_are_read_with_what_is_advised_for_them() {
        let known = parsed();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(known.advice("start").unwrap().timeout, seconds(20));
        assert_eq!(known.advice("stop").unwrap().timeout, seconds(120));
        let monitor = known.advice("monitor").unwrap();
        assert_eq!(
            (monitor.timeout, monitor.interval),
            (seconds(20), seconds(10))
        );
    }

    #[test]
    fn what_is_not_metadata_is_refused() {
        let action = |name: &str| format!("<action name='{name}'/>");
        for bad in [
            String::new(),
            "hello".to_owned(),
            "<resource-agent name='x'>".to_owned(),
            format!("<resource-agent name='x'>{}", action("start")),
            "<resource-agent><parameter/></resource-agent>".to_owned(),
            [action("start"), action("stop"), action("monitor")].concat(),
        ] {
            assert!(parse(&"a:b".parse().unwrap(), &bad).is_err(), "{bad}");
        }
    }
}
