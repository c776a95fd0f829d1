//! What the agent of a promotable resource is told of the other instances of it.
//!
//! In Pacemaker's words, for which agents are written: the resource is a clone, of which one instance is promoted. Names come in the
//! terms of today (*promoted*) and in those of before (*master*). Source: Pacemaker's `pe_notif.c`, which begins each list with a
//! space, so that an empty one is a space, and agents compare with that.

use std::collections::BTreeMap;

use interlock_model::names::NodeName;
use interlock_model::ocf::{META_PREFIX, PARAMETER_PREFIX, Resource};

use super::Verb;

/// All instances of a resource, as far as this node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Circle {
    /// Where there are instances; empty if that is not known yet.
    pub(crate) nodes: Vec<NodeName>,
    /// Where the role is.
    pub(crate) primary: Option<NodeName>,
}

/// What an agent is told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Is it about to be done, or was it done?
    pub(crate) before: bool,
    pub(crate) verb: Verb,
    /// Where.
    pub(crate) node: NodeName,
}

impl Circle {
    /// What each action is told of it, on this node.
    pub(super) fn environment(
        &self,
        resource: &Resource,
        own: &NodeName,
    ) -> BTreeMap<String, String> {
        let all = self.nodes.len().max(1).to_string();
        let number = self.nodes.iter().position(|node| node == own);
        let notify = self.nodes.len() > 1;
        [
            ("clone", number.unwrap_or_default().to_string()),
            ("clone_max", all),
            ("clone_node_max", "1".to_owned()),
            ("globally_unique", "false".to_owned()),
            ("promotable", resource.promotable.to_string()),
            ("promoted_max", "1".to_owned()),
            ("promoted_node_max", "1".to_owned()),
            ("master_max", "1".to_owned()),
            ("master_node_max", "1".to_owned()),
            ("notify", notify.to_string()),
        ]
        .map(|(name, value)| (variable(name), value))
        .into()
    }

    /// What is told about something that is done to it.
    pub(super) fn notice(
        &self,
        resource: &Resource,
        own: &NodeName,
        told: &Told,
    ) -> BTreeMap<String, String> {
        let nodes = match self.nodes.as_slice() {
            [] => vec![own.clone()],
            nodes => nodes.to_vec(),
        };
        let of = |wanted: &dyn Fn(&NodeName) -> bool| -> Vec<NodeName> {
            nodes.iter().filter(|node| wanted(node)).cloned().collect()
        };
        let is_primary = |node: &NodeName| self.primary.as_ref() == Some(node);
        let (promoted, unpromoted) = (of(&is_primary), of(&|node| !is_primary(node)));
        let mut variables = BTreeMap::new();
        let mut put = |name: &str, value: String| {
            variables.insert(variable(&format!("notify_{name}")), value);
        };
        put("type", if told.before { "pre" } else { "post" }.to_owned());
        put("operation", told.verb.word().to_owned());
        let lists = [
            ("active", &nodes),
            ("promoted", &promoted),
            ("master", &promoted),
            ("unpromoted", &unpromoted),
            ("slave", &unpromoted),
            ("inactive", &Vec::new()),
            ("available", &nodes),
            ("all", &nodes),
        ]
        .map(|(name, nodes)| (name, nodes.clone()));
        let actions = [Verb::Start, Verb::Stop, Verb::Promote, Verb::Demote].map(|verb| {
            let there = verb == told.verb;
            (verb.word(), of(&|node| there && *node == told.node))
        });
        for (name, nodes) in lists.into_iter().chain(actions) {
            let resources = nodes.iter().map(|_| resource.name.as_str());
            put(&format!("{name}_resource"), list(resources));
            put(
                &format!("{name}_uname"),
                list(nodes.iter().map(NodeName::as_str)),
            );
        }
        variables
    }
}

fn variable(name: &str) -> String {
    format!("{PARAMETER_PREFIX}{META_PREFIX}{name}")
}

fn list<'t>(items: impl Iterator<Item = &'t str>) -> String {
    let items: Vec<&str> = items.collect();
    match items.as_slice() {
        [] => " ".to_owned(),
        items => items.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Resource {
        Resource {
            agent: "heartbeat:Stateful".parse().unwrap(),
            name: "state".parse().unwrap(),
            parameters: BTreeMap::new(),
            every: None,
            limits: Default::default(),
            promotable: true,
        }
    }

    #[test]
    fn lists_pair_up_and_an_empty_one_is_a_space() {
        let node = |name: &str| name.parse::<NodeName>().unwrap();
        let circle = Circle {
            nodes: vec![node("n1"), node("n2")],
            primary: Some(node("n2")),
        };
        let own = node("n1");
        let told = Told {
            before: true,
            verb: Verb::Promote,
            node: node("n1"),
        };
        let notice = circle.notice(&resource(), &own, &told);
        let of = |name: &str| notice[&format!("OCF_RESKEY_CRM_meta_notify_{name}")].as_str();
        assert_eq!((of("type"), of("operation")), ("pre", "promote"));
        assert_eq!(
            (of("promote_resource"), of("promote_uname")),
            ("state", "n1")
        );
        assert_eq!((of("demote_resource"), of("demote_uname")), (" ", " "));
        assert_eq!((of("promoted_uname"), of("master_uname")), ("n2", "n2"));
        assert_eq!(
            (of("unpromoted_uname"), of("slave_resource")),
            ("n1", "state")
        );
        assert_eq!(
            (of("active_resource"), of("all_uname")),
            ("state state", "n1 n2")
        );
        let told = circle.environment(&resource(), &own);
        assert_eq!(told["OCF_RESKEY_CRM_meta_clone_max"], "2");
        assert_eq!(told["OCF_RESKEY_CRM_meta_promotable"], "true");
    }
}
