//! `agent-types`: what there is, and what it takes.

use interlock_proto::v1;

use crate::following::script;
use crate::scripted::Scripted;

fn parameter(
    name: &str,
    kind: &str,
    default: Option<&str>,
    required: bool,
) -> v1::OcfParameterType {
    v1::OcfParameterType {
        name: name.into(),
        kind: kind.into(),
        options: match kind {
            "select" => vec!["fast".into(), "slow".into()],
            _ => Vec::new(),
        },
        default: default.map(str::to_owned),
        required,
        about: format!("What {name} is"),
    }
}

fn coordinator() -> Scripted {
    let thing = v1::OcfAgentType {
        agent: "test:Thing".into(),
        version: "1.2".into(),
        about: "A thing".into(),
        parameters: vec![
            parameter("dir", "text", None, true),
            parameter("mode", "select", Some("fast"), false),
            parameter("port", "integer", Some("80"), false),
        ],
        actions: vec![v1::OcfAction {
            name: "monitor".into(),
            timeout_ms: 20_000,
            interval_ms: 10_000,
            ..Default::default()
        }],
    };
    let roles = v1::OcfAgentType {
        agent: "test:Roles".into(),
        about: "It is promoted".into(),
        actions: ["promote", "demote"]
            .map(|name| v1::OcfAction {
                name: name.into(),
                ..Default::default()
            })
            .into(),
        ..Default::default()
    };
    let agents = v1::OcfAgents {
        installed: ["test:Mute", "test:Other", "test:Roles", "test:Thing"]
            .map(Into::into)
            .into(),
        types: vec![thing, roles],
        mute: vec![v1::MuteOcfAgent {
            agent: "test:Mute".into(),
            why: "its meta-data ended with 1".into(),
        }],
    };
    let node = |name: &str, agents| v1::NodeAgentTypes {
        node: name.into(),
        agents,
    };
    let mut known = script(Vec::new());
    known.agent_types = vec![
        node("db1", None),
        node("web1", Some(agents.clone())),
        node(
            "web2",
            Some(v1::OcfAgents {
                types: Vec::new(),
                ..agents
            }),
        ),
    ];
    Scripted::start(known, "reader")
}

#[test]
fn each_agent_type_is_a_line_with_where_it_is_and_where_it_is_permitted() {
    let ran = coordinator().place.run("agent-types").exits(0);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!(ran.stderr, "not told by the agents of db1\n");
}

#[test]
fn of_a_node_all_is_shown_that_its_permitted_agents_say() {
    let coordinator = coordinator();
    let ran = coordinator.place.run("agent-types web1").exits(0);
    insta::assert_snapshot!(ran.stdout);
    let value = coordinator.place.run("agent-types web1 -o json").json();
    assert_eq!(value[0]["types"][0]["parameters"][1]["options"][1], "slow");
    assert_eq!(value[0]["types"][0]["actions"][0]["every"], "10s");
    assert_eq!(value[0]["types"][0]["promotable"], false);
    assert_eq!(value[0]["types"][1]["promotable"], true);
}
