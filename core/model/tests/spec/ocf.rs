//! What a spec asks of resource agents, held against what nodes have told of them.

use std::collections::BTreeMap;

use interlock_model::names::NodeName;
use interlock_model::ocf::{ActionAdvice, AgentName, AgentType, Installed, Parameter, ValueKind};
use interlock_model::spec::{Severity, Spec};

const SPEC: &str = "\
cluster: c
nodes:
  \"n[1-3]\": { address: \"10.0.0.[1-3]\" }
services:
  vip:
    nodes: n1
    manager:
      ocf:
        agent: test:Vip
        parameters: { ipp: 10.0.0.9, mask: wide }
  two:
    nodes: n[1-2]
    active: all
    parts:
      - process: { name: a }
      - ocf: { agent: test:Vpi, parameters: { any: thing } }
  far: { nodes: n3, manager: { ocf: { agent: test:Gone } } }
";

fn installed() -> Installed {
    let agent: AgentName = "test:Vip".parse().unwrap();
    let parameter = |kind, required| Parameter {
        kind,
        default: None,
        required,
        about: String::new(),
    };
    let known = AgentType {
        agent: agent.clone(),
        version: "1".into(),
        about: String::new(),
        parameters: BTreeMap::from([
            ("ip".into(), parameter(ValueKind::Text, true)),
            ("mask".into(), parameter(ValueKind::Integer, false)),
            ("nic".into(), parameter(ValueKind::Text, true)),
        ]),
        actions: Vec::<ActionAdvice>::new(),
    };
    Installed {
        names: [agent.clone()].into(),
        types: [(agent, known)].into(),
        mute: BTreeMap::new(),
    }
}

#[test]
fn each_thing_that_does_not_fit_has_its_place_and_what_was_meant() {
    let agents: BTreeMap<NodeName, Installed> = ["n1", "n2"]
        .map(|node| (node.parse().unwrap(), installed()))
        .into();
    let problems = Spec::parse_for(SPEC.as_bytes(), "c.yaml", &agents).unwrap_err();
    let told: Vec<(Severity, u32, &str, &str, Option<&str>)> = problems
        .problems
        .iter()
        .map(|it| {
            (
                it.severity,
                it.line,
                it.path.as_str(),
                it.what.as_str(),
                it.suggestion.as_deref(),
            )
        })
        .collect();
    let at = "services.vip.manager.ocf.parameters";
    assert_eq!(
        told,
        [
            (
                Severity::Error,
                10,
                &*format!("{at}.ip"),
                "test:Vip needs its parameter 'ip'",
                None
            ),
            (
                Severity::Error,
                10,
                &*format!("{at}.nic"),
                "test:Vip needs its parameter 'nic'",
                None
            ),
            (
                Severity::Error,
                10,
                &*format!("{at}.ipp"),
                "test:Vip has no parameter 'ipp'",
                Some("did you mean 'ip'?")
            ),
            (
                Severity::Error,
                10,
                &*format!("{at}.mask"),
                "'wide' is no value of 'mask' of test:Vip, which takes integer",
                None
            ),
            (
                Severity::Warning,
                16,
                "services.two.parts.1.ocf.agent",
                "the resource agent test:Vpi is not installed on n1",
                Some("did you mean 'test:Vip'?")
            ),
        ]
    );
}

#[test]
fn what_nobody_has_told_of_is_not_held_against_a_spec() {
    assert!(Spec::parse(SPEC.as_bytes(), "c.yaml").is_ok());
}

#[test]
fn what_is_to_be_promoted_has_an_agent_that_promotes_and_demotes() {
    const SPEC: &str = "\
cluster: c
nodes:
  \"n[1-2]\": { address: \"10.0.0.[1-2]\" }
services:
  roles:
    nodes: n[1-2]
    active: one
    failover: {}
    manager: { ocf: { agent: test:Vip, parameters: { ip: a, nic: b }, promotable: true } }
";
    let told = |actions: &[&str]| {
        let mut installed = installed();
        let known = installed.types.values_mut().next().unwrap();
        known.actions = actions.iter().map(|name| action(name)).collect();
        let agents = [("n1".parse().unwrap(), installed)].into();
        let parsed = Spec::parse_for(SPEC.as_bytes(), "c.yaml", &agents);
        let problems = parsed.map_or_else(|it| it.problems, |_| Vec::new());
        let of_roles = problems.iter().filter(|it| it.path.ends_with("promotable"));
        of_roles.map(|it| it.what.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&["start", "promote"]),
        ["test:Vip has no action 'demote'"]
    );
    assert_eq!(told(&["promote", "demote"]), [""; 0]);
}

fn action(name: &str) -> ActionAdvice {
    ActionAdvice {
        name: name.into(),
        timeout: None,
        interval: None,
        depth: 0,
        role: String::new(),
    }
}
