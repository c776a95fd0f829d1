//! What a fence agent says about itself, and what follows for a request.

use std::collections::{BTreeMap, BTreeSet};

use crate::xml::{self, Event};

/// A fence agent's own description (`action=metadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The agent's name.
    pub name: String,
    /// The names of its options, with `_` where `-` may stand as well.
    pub parameters: BTreeSet<String>,
    /// The actions that it offers. What is missing here is not supported.
    pub actions: BTreeMap<String, ActionInfo>,
}

/// What the metadata says about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionInfo {
    /// `on` only: the agent wants every node *unfenced* before it uses the device (fabric fencing).
    pub automatic: bool,
    /// The action must run on the target itself.
    pub on_target: bool,
}

/// Options that the request itself supplies, so that nobody can smuggle them in.
const RESERVED: [&str; 4] = ["action", "nodename", "plug", "port"];

/// Options that make an agent run another program or write a file of the caller's choice, by their endings: a spec must
/// not become a way to run anything as root on the nodes that operate power devices.
///
/// Checked against every option of the fence-agents package, version 4.12.
const DANGEROUS: [&str; 7] = [
    "_path", "_script", "_options", "_file", "logfile", "debug", "exec",
];

/// What has such an ending, but is only read, or is part of a URL.
const HARMLESS: [&str; 3] = ["identity_file", "token_file", "api_path"];

/// Whether an option needs the permission of the agent's own file.
pub(super) fn is_dangerous(option: &str) -> bool {
    let option = normal(option);
    DANGEROUS.iter().any(|ending| option.ends_with(ending)) && !HARMLESS.contains(&option.as_str())
}

/// Why an option cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// The agent does not have it; this one has the nearest name, if any is near.
    Unknown(Option<String>),
    /// The request supplies it.
    Reserved,
}

impl Metadata {
    /// Reads the XML that the agent printed.
    ///
    /// # Errors
    /// In words, if it is not the metadata of an agent.
    pub fn parse(document: &str) -> Result<Self, String> {
        let mut name = None;
        let mut parameters = BTreeSet::new();
        let mut actions = BTreeMap::new();
        for event in xml::tags(document)? {
            let Event::Open(tag) = event else { continue };
            let attribute = |name: &str| tag.attributes.get(name).cloned();
            let named = || attribute("name").ok_or_else(|| format!("<{}> has no name", tag.name));
            match tag.name.as_str() {
                "resource-agent" => name = Some(named()?),
                "parameter" => {
                    parameters.insert(normal(&named()?));
                }
                "action" => {
                    let flag = |name| attribute(name).is_some_and(|value| is_true(&value));
                    let info = ActionInfo {
                        automatic: flag("automatic"),
                        on_target: flag("on_target"),
                    };
                    actions.insert(named()?, info);
                }
                _ => {}
            }
        }
        let name = name.ok_or("it has no <resource-agent>")?;
        if actions.is_empty() {
            return Err("it lists no actions".to_owned());
        }
        Ok(Self {
            name,
            parameters,
            actions,
        })
    }

    /// Whether the agent has this option, in either spelling.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.parameters.contains(&normal(option))
    }

    /// The option that names the plug: `plug`, else the older `port`; none for a device with a single outlet.
    #[must_use]
    pub fn plug_parameter(&self) -> Option<&'static str> {
        ["plug", "port"].into_iter().find(|name| self.has(name))
    }

    /// Whether `option` may be given by a request.
    pub(super) fn check(&self, option: &str) -> Result<(), Objection> {
        let option = normal(option);
        if RESERVED.contains(&option.as_str()) {
            return Err(Objection::Reserved);
        }
        if self.parameters.contains(&option) {
            return Ok(());
        }
        let near = self
            .parameters
            .iter()
            .map(|known| (distance(&option, known), known))
            .min();
        // A third of the word may be wrong; beyond that a suggestion only confuses.
        let near = near.filter(|(distance, _)| *distance <= 1 + option.len() / 4);
        Err(Objection::Unknown(near.map(|(_, known)| known.clone())))
    }
}

fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "1" | "yes" | "on" | "true"
    )
}

/// `-` and `_` are the same in option names.
pub(super) fn normal(option: &str) -> String {
    option.replace('-', "_")
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0" ?>
        <resource-agent name="fence_x" shortdesc="x">
          <parameters>
            <parameter name="action" unique="0" required="1"><getopt mixed="-o, --action=[action]" /></parameter>
            <parameter name="ip" obsoletes="ipaddr"><content type="string"  /></parameter>
            <parameter name="plug" obsoletes="port" /><parameter name="port" deprecated="1" />
            <parameter name="power-timeout"/>
          </parameters>
          <actions><action name="on" automatic="1"/><action name="off" /><action name="status" /></actions>
        </resource-agent>"#;

    #[test]
    fn options_and_actions_are_read() {
        let metadata = Metadata::parse(DOCUMENT).unwrap();
        assert_eq!(metadata.name, "fence_x");
        assert!(metadata.actions["on"].automatic && !metadata.actions["off"].automatic);
        assert!(!metadata.actions.contains_key("reboot"));
        assert!(metadata.has("power_timeout") && metadata.has("power-timeout"));
    }

    #[test]
    fn plug_is_preferred_to_port_and_may_be_absent() {
        let mut metadata = Metadata::parse(DOCUMENT).unwrap();
        assert_eq!(metadata.plug_parameter(), Some("plug"));
        metadata.parameters.remove("plug");
        assert_eq!(metadata.plug_parameter(), Some("port"));
        metadata.parameters.remove("port");
        assert_eq!(metadata.plug_parameter(), None);
    }

    #[test]
    fn an_unknown_option_names_the_near_miss_and_a_reserved_one_is_refused() {
        let metadata = Metadata::parse(DOCUMENT).unwrap();
        assert_eq!(metadata.check("power-timeout"), Ok(()));
        assert_eq!(
            metadata.check("power_timout"),
            Err(Objection::Unknown(Some("power_timeout".to_owned())))
        );
        assert_eq!(
            metadata.check("colour_of_the_rack"),
            Err(Objection::Unknown(None))
        );
        for reserved in RESERVED {
            assert_eq!(metadata.check(reserved), Err(Objection::Reserved));
        }
    }

    #[test]
    fn what_is_not_metadata_is_refused() {
        for bad in [
            "",
            "hello",
            "<resource-agent name='x'>",
            "<actions><action name='on'/></actions>",
            "<action/>",
        ] {
            assert!(Metadata::parse(bad).is_err(), "{bad}");
        }
    }
}
