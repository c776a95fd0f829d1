//! `agent-types`: the OCF resource agents of the nodes, and what they say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::ocf::OF_ROLES;
use interlock_model::time::human;
use interlock_proto::v1;
use serde_json::{Value, json};

use crate::cli::{AgentTypes, Connection};
use crate::client::SHORT;
use crate::context;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::render::{Out, Paint, Table, Tone, clean};

pub(super) async fn run(connection: &Connection, args: &AgentTypes, out: Out) -> Outcome {
    let client = context::coordinators(connection)?.connect().await?;
    let node = args.node.as_ref().map(ToString::to_string);
    let request = v1::ListAgentTypesRequest {
        node: node.clone().unwrap_or_default(),
    };
    let mut cluster = client.cluster();
    let listed = client
        .call(
            "list resource agents",
            SHORT,
            cluster.list_agent_types(request),
        )
        .await?
        .nodes;
    let text = |paint: Paint| match node {
        Some(_) => listed.iter().map(|node| detailed(node, paint)).collect(),
        None => overview(&listed, paint),
    };
    out.show(
        args.output.output,
        || listed.iter().map(value).collect(),
        text,
    )?;
    let silent: Vec<&str> = listed
        .iter()
        .filter(|node| node.agents.is_none())
        .map(|node| node.node.as_str())
        .collect();
    if !silent.is_empty() {
        out.say(&format!("not told by the agents of {}", silent.join(", ")))?;
    }
    Ok(Exit::Ok)
}

/// One line for each agent type that is anywhere.
fn overview(nodes: &[v1::NodeAgentTypes], paint: Paint) -> String {
    let mut installed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut permitted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut about: BTreeMap<&str, &str> = BTreeMap::new();
    let mut promotable: BTreeSet<&str> = BTreeSet::new();
    for node in nodes {
        let Some(agents) = &node.agents else { continue };
        for name in &agents.installed {
            installed.entry(name).or_default().push(&node.node);
        }
        for known in &agents.types {
            permitted.entry(&known.agent).or_default().push(&node.node);
            about.insert(&known.agent, &known.about);
            promotable.extend(is_promotable(known).then_some(known.agent.as_str()));
        }
        for mute in &agents.mute {
            permitted.entry(&mute.agent).or_default().push(&node.node);
            about.entry(&mute.agent).or_insert(&mute.why);
        }
    }
    let mut table = Table::new(["agent", "installed on", "permitted on", "roles", "about"]);
    for (name, on) in installed {
        let permitted = permitted.remove(name).unwrap_or_default();
        let tone = if permitted.is_empty() {
            Tone::Faint
        } else {
            Tone::Plain
        };
        table.row([
            (name.to_owned(), tone),
            (on.join(","), tone),
            (permitted.join(","), tone),
            (roles(promotable.contains(name)).to_owned(), tone),
            (
                about.get(name).copied().unwrap_or_default().to_owned(),
                tone,
            ),
        ]);
    }
    table.render(paint)
}

/// All that a node's permitted agents say of themselves, and the names of the others.
fn detailed(node: &v1::NodeAgentTypes, paint: Paint) -> String {
    let Some(agents) = &node.agents else {
        return String::new();
    };
    let mut text = String::new();
    for known in &agents.types {
        text.push_str(&format!(
            "{}: {}\n",
            clean(&known.agent),
            clean(&known.about)
        ));
        if is_promotable(known) {
            text.push_str("It promotes and demotes: `promotable: true` is possible.\n");
        }
        if !known.parameters.is_empty() {
            text.push_str(&parameters(known).render(paint));
        }
        text.push_str(&actions(known).render(paint));
        text.push('\n');
    }
    for mute in &agents.mute {
        text.push_str(&format!("{}: {}\n\n", clean(&mute.agent), clean(&mute.why)));
    }
    let described: BTreeSet<&str> = agents
        .types
        .iter()
        .map(|known| known.agent.as_str())
        .chain(agents.mute.iter().map(|mute| mute.agent.as_str()))
        .collect();
    let others = agents.installed.iter().map(String::as_str);
    let others: Vec<String> = others
        .filter(|name| !described.contains(name))
        .map(clean)
        .collect();
    if !others.is_empty() {
        let others = others.join(" ");
        text.push_str(&format!(
            "installed, and not permitted by the agent's own file: {others}\n"
        ));
    }
    text
}

/// Can it make a resource primary?
fn is_promotable(known: &v1::OcfAgentType) -> bool {
    OF_ROLES
        .iter()
        .all(|action| known.actions.iter().any(|it| it.name == *action))
}

fn roles(promotable: bool) -> &'static str {
    if promotable { "promotable" } else { "" }
}

fn parameters(known: &v1::OcfAgentType) -> Table {
    let mut table = Table::new(["parameter", "takes", "default", "required", "about"]);
    for parameter in &known.parameters {
        let required = parameter.required && parameter.default.is_none();
        table.row([
            (parameter.name.clone(), Tone::Plain),
            (takes(parameter), Tone::Plain),
            (parameter.default.clone().unwrap_or_default(), Tone::Plain),
            (if required { "yes" } else { "" }.to_owned(), Tone::Plain),
            (parameter.about.clone(), Tone::Plain),
        ]);
    }
    table
}

fn takes(parameter: &v1::OcfParameterType) -> String {
    match parameter.kind.as_str() {
        "select" => parameter.options.join("|"),
        other => other.to_owned(),
    }
}

fn actions(known: &v1::OcfAgentType) -> Table {
    let mut table = Table::new(["action", "level", "role", "timeout", "every"]);
    for action in &known.actions {
        table.row([
            (action.name.clone(), Tone::Plain),
            (level(action), Tone::Plain),
            (action.role.clone(), Tone::Plain),
            (duration(action.timeout_ms).unwrap_or_default(), Tone::Plain),
            (
                duration(action.interval_ms).unwrap_or_default(),
                Tone::Plain,
            ),
        ]);
    }
    table
}

/// How deep it looks, if it can look at different depths.
fn level(action: &v1::OcfAction) -> String {
    match action.depth {
        0 => String::new(),
        depth => depth.to_string(),
    }
}

fn duration(millis: u64) -> Option<String> {
    (millis > 0).then(|| human::text(Duration::from_millis(millis)))
}

/// One node, for programs.
fn value(node: &v1::NodeAgentTypes) -> Value {
    let agents = node.agents.as_ref();
    json!({
        "node": node.node,
        "told": agents.is_some(),
        "installed": agents.map(|agents| &agents.installed),
        "types": agents.map(|agents| agents.types.iter().map(type_value).collect::<Vec<_>>()),
        "mute": agents.map(|agents| {
            let mute = agents.mute.iter();
            mute.map(|mute| json!({ "agent": mute.agent, "why": mute.why })).collect::<Vec<_>>()
        }),
    })
}

fn type_value(known: &v1::OcfAgentType) -> Value {
    let parameters = known.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "takes": parameter.kind,
            "options": parameter.options,
            "default": parameter.default,
            "required": parameter.required,
            "about": parameter.about,
        })
    });
    let actions = known.actions.iter().map(|action| {
        json!({
            "name": action.name,
            "timeout": duration(action.timeout_ms),
            "every": duration(action.interval_ms),
            "depth": action.depth,
            "role": action.role,
        })
    });
    json!({
        "agent": known.agent,
        "version": known.version,
        "about": known.about,
        "promotable": is_promotable(known),
        "parameters": parameters.collect::<Vec<_>>(),
        "actions": actions.collect::<Vec<_>>(),
    })
}
