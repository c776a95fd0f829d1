//! `nodes`: the VMs.

use std::collections::BTreeMap;

use super::{Field, MAX_NODES, MAX_UNFOLDED, Section};
use crate::action::ShutdownBy;
use crate::names::{HostName, NodeName, PowerName};
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, derived, optional, required};
use crate::spec::{Node, NodePower};

/// One node, or a range of nodes.
pub(super) static NODE: Shape = Shape {
    name: "node",
    doc: "A VM. Under a range of names its addresses, its `host`, and `by`, `plug` and `alias` of its power may have \
          ranges too, with as many numbers.",
    keys: &[
        required(
            "address",
            Kind::Text,
            "Its main address: an IP address or a host name, without a port.",
        ),
        optional(
            "networks",
            Kind::TEXTS,
            "Further addresses, by the name of the network.",
        ),
        optional("host", Kind::Text, "The VM host that carries it."),
        optional(
            "labels",
            Kind::TEXTS,
            "Labels by which plans can select it.",
        ),
        optional(
            "agentless",
            Kind::Section(&AGENTLESS),
            "No agent runs on it: others probe it.",
        ),
        optional(
            "power",
            Kind::Section(&NODE_POWER),
            "How it is switched off and on. Without it, no plan does.",
        ),
    ],
    choice: &[],
    later: &[],
};

static AGENTLESS: Shape = Shape {
    name: "agentless",
    doc: "Makes a node one without an agent. Its services have no manager: they come and go with it.",
    keys: &[required(
        "probes_from",
        Kind::SOME_NAMES,
        "The nodes whose agents run its checks: the word of the first of them that is heard counts. They must have an agent. \
         One that probes an instance of a service already probes no second one of it.",
    )],
    choice: &[],
    later: &[],
};

static NODE_POWER: Shape = Shape {
    name: "node power",
    doc: "How a node is switched. Hard off is never implied: the operating system is shut down, the device proves it.",
    keys: &[
        required("by", Kind::Text, "The power device."),
        required(
            "plug",
            Kind::Text,
            "Which plug of the device is this node. Never guessed.",
        ),
        optional(
            "alias",
            Kind::Text,
            "What the list of the device calls this plug, where that is neither the node's name nor its host name; \
             `interlockctl power verify` compares them.",
        ),
        derived(
            "shutdown",
            Kind::Word {
                words: &["agent", "command", "manual"],
                later: &[],
            },
            "`agent`; for an agentless node `manual`",
            "Who shuts its operating system down: its agent, the shutdown command of the agent's own file, or a person.",
        ),
        default(
            "off_within",
            Kind::Duration,
            "5m",
            "The time limit from the shutdown until the device says off.",
        ),
        default(
            "on_within",
            Kind::Duration,
            "10m",
            "The time limit from power on until its agent is heard with a new boot id.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads all nodes.
pub(super) fn nodes(field: &Field<'_>) -> BTreeMap<NodeName, Node> {
    let mut nodes = BTreeMap::new();
    let entries = field.entries();
    if entries.is_empty() {
        field.report_key(Problem::error("the cluster has no nodes"));
    }
    for (key, entry) in entries {
        let names: Vec<NodeName> = entry.names_of_key(key);
        if nodes.len() + names.len() > MAX_NODES {
            let what = format!("the cluster has more than {MAX_NODES} nodes");
            entry.report_key(
                Problem::error(what)
                    .suggest("make clusters of what must be started and stopped together"),
            );
            break;
        }
        let copies = names.len().saturating_sub(1);
        if !entry.reader.may_unfold(entry.yaml.weight(), copies) {
            let what = format!("the nodes up to here unfold to more than {MAX_UNFOLDED} bytes");
            entry.report_key(
                Problem::error(what)
                    .why("every node of a range has all that is written below it")
                    .suggest("write less below the range, or take a smaller one"),
            );
            break;
        }
        let spread = Spread {
            count: names.len(),
            ranged: key.contains('['),
        };
        let read = entry.section(&NODE, |section| read(section, &names, spread));
        for (name, node) in names.into_iter().zip(read) {
            if nodes.contains_key(&name) {
                let what = format!("the node {} is given twice", quoted(name.as_str()));
                entry.report_key(Problem::error(what).why("another key stands for it too"));
            }
            nodes.entry(name).or_insert(node);
        }
    }
    nodes
}

/// How texts are given out to the nodes of one key.
#[derive(Debug, Clone, Copy)]
struct Spread {
    count: usize,
    /// Is the key a range? Below one that is not, brackets are ordinary characters.
    ranged: bool,
}

impl Spread {
    /// A text for each node.
    fn texts(self, field: Option<Field<'_>>) -> Vec<String> {
        let Some((field, text)) = field.and_then(|field| Some((field.clone(), field.text()?)))
        else {
            return Vec::new();
        };
        if !self.ranged || !text.contains('[') {
            return vec![text.to_owned(); self.count];
        }
        let texts = field.expand(text);
        // If either is empty, that is reported already.
        if texts.len() != self.count && self.count > 0 && !texts.is_empty() {
            field.report(
                Problem::error(format!("{} stands for {} texts", quoted(text), texts.len())).why(
                    format!(
                        "the key above stands for {} nodes; each needs one",
                        self.count
                    ),
                ),
            );
        }
        texts
    }
}

/// The power of the nodes of one key: what is the same for all of them, and what each has of its own.
struct PowerOfEach {
    common: NodePower,
    by: Vec<PowerName>,
    plugs: Vec<String>,
    aliases: Vec<String>,
}

impl PowerOfEach {
    /// The power of the node with this number. Where a range was too short, that is reported already.
    fn nth(&self, i: usize) -> NodePower {
        let common = self.common.clone();
        NodePower {
            by: self.by.get(i).cloned().unwrap_or(common.by),
            plug: self.plugs.get(i).cloned().unwrap_or_default(),
            alias: self.aliases.get(i).cloned(),
            ..common
        }
    }
}

/// Reads the nodes that one key stands for.
fn read(section: &Section<'_>, names: &[NodeName], spread: Spread) -> Vec<Node> {
    let addresses = spread.texts(section.get("address"));
    let networks: Vec<(String, Vec<String>)> =
        section.get("networks").map_or_else(Vec::new, |field| {
            let each = field.entries().into_iter();
            each.map(|(network, address)| (network.to_owned(), spread.texts(Some(address))))
                .collect()
        });
    let hosts: Vec<HostName> = section.get("host").map_or_else(Vec::new, |field| {
        let names = spread.texts(Some(field.clone())).into_iter();
        // A bad one is reported once, not for each node.
        names
            .map_while(|name| field.parse_name(&name, field.yaml.at))
            .collect()
    });
    let labels: BTreeMap<String, String> = section.texts("labels");
    let agentless: Option<Vec<NodeName>> =
        section.optional("agentless", |agentless| agentless.names("probes_from"));
    let power = section.optional("power", |power| {
        let line = |key| power.get(key).filter(|field| field.is_one_line());
        let plugs = spread.texts(line("plug"));
        let implied = if agentless.is_some() {
            ShutdownBy::Manual
        } else {
            ShutdownBy::Agent
        };
        let by: Vec<PowerName> = power.get("by").map_or_else(Vec::new, |field| {
            let names = spread.texts(Some(field.clone())).into_iter();
            names
                .map_while(|name| field.parse_name(&name, field.yaml.at))
                .collect()
        });
        let aliases = spread.texts(line("alias"));
        let shutdown = power.word("shutdown").unwrap_or(implied);
        let limit = |key| power.duration(key).unwrap_or_default();
        let (off_within, on_within) = (limit("off_within"), limit("on_within"));
        let node_power = NodePower {
            by: by.first()?.clone(),
            plug: String::new(),
            alias: None,
            shutdown,
            off_within,
            on_within,
        };
        Some(PowerOfEach {
            common: node_power,
            by,
            plugs,
            aliases,
        })
    });
    let nth = |texts: &[String], i: usize| texts.get(i).cloned().unwrap_or_default();
    let node = |(i, name): (usize, &NodeName)| Node {
        name: name.clone(),
        address: nth(&addresses, i),
        networks: networks
            .iter()
            .map(|(network, each)| (network.clone(), nth(each, i)))
            .collect(),
        host: hosts.get(i).cloned(),
        labels: labels.clone(),
        agentless: agentless.clone(),
        power: power.iter().flatten().next().map(|power| power.nth(i)),
    };
    names.iter().enumerate().map(node).collect()
}
