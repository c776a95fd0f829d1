//! Machines that may be lost: other nodes try to reach them; and when so many are silent that it is rather this coordinator that is
//! cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::names::NodeName;
use interlock_model::observation::Liveness;
use interlock_model::time::Now;

use super::Coordinator;
use super::message::ToAgent;

/// How many other nodes are asked whether they reach a machine.
const OBSERVERS: usize = 5;

/// Silences that began within this time of each other are one event.
const AT_ONCE: Duration = Duration::from_secs(10);

/// How long another node may take to answer before it is asked once more.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after a heartbeat was due a node counts as silent where many are: in quarters of the heartbeat's period. Above four, so
/// that one that is a little late is none.
pub(super) const SILENT: u32 = 5;

/// What another node has found when it tried to reach a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// When it was asked.
    pub asked: Duration,
    /// Did the machine's kernel answer?
    pub reached: bool,
    /// In its words.
    pub detail: String,
}

/// Those who were asked: by the machine, and by who tries.
pub(super) type Observers = BTreeMap<NodeName, BTreeMap<NodeName, Observer>>;

/// What one other node has to do with a machine.
#[derive(Debug, Default)]
pub(super) struct Observer {
    /// The question that it has not answered, and when it was asked.
    asked: Option<(u64, Duration)>,
    /// What it said last.
    tried: Option<Tried>,
}

impl Coordinator {
    /// Has other nodes try to reach the machine of a node.
    pub fn ask_others(&mut self, node: &NodeName, now: Now) {
        let Some(spec) = self.spec() else {
            return;
        };
        let Some(suspect) = spec.nodes.get(node) else {
            return;
        };
        let addresses: BTreeSet<String> = [&suspect.address]
            .into_iter()
            .chain(suspect.networks.values())
            .cloned()
            .collect();
        let is_fellow = |other: &NodeName| {
            let mut services = spec.services.values();
            services.any(|it| it.nodes.contains(node) && it.nodes.contains(other))
        };
        let others = spec.nodes.keys().filter(|other| *other != node);
        let mut others: Vec<&NodeName> = others.filter(|other| self.view.alive(other)).collect();
        // Those that share a service with it have the best reason to reach it.
        others.sort_by_key(|other| !is_fellow(other));
        others.truncate(OBSERVERS);
        let others: Vec<NodeName> = others.into_iter().cloned().collect();
        for other in others {
            let of_node = self.observers.get(node);
            let observer = of_node.and_then(|of_node| of_node.get(&other));
            if observer
                .and_then(|observer| observer.asked)
                .is_some_and(|(_, at)| now.since(at) < PATIENCE)
            {
                continue;
            }
            let ask = self.new_ask();
            let of_node = self.observers.entry(node.clone()).or_default();
            let observer = of_node.entry(other.clone()).or_default();
            observer.asked = Some((ask, now.mono));
            self.send(
                other,
                ToAgent::TryToReach {
                    ask,
                    node: node.clone(),
                    addresses: addresses.clone(),
                },
            );
        }
    }

    /// Another node has tried to reach a machine.
    pub(super) fn tried(
        &mut self,
        observer: &NodeName,
        node: &NodeName,
        ask: u64,
        reached: Option<bool>,
        detail: String,
    ) {
        let of_node = self.observers.get_mut(node);
        let observer = of_node.and_then(|of_node| of_node.get_mut(observer));
        if let Some(observer) = observer
            && let Some((_, asked)) = observer.asked.take_if(|(asked, _)| *asked == ask)
            && let Some(reached) = reached
        {
            observer.tried = Some(Tried {
                asked,
                reached,
                detail,
            });
        }
    }

    /// What other nodes have found when they tried to reach the machine of a node.
    pub fn tries(&self, node: &NodeName) -> impl Iterator<Item = (&NodeName, &Tried)> {
        let of_node = self.observers.get(node).into_iter().flatten();
        of_node.filter_map(|(observer, it)| Some((observer, it.tried.as_ref()?)))
    }

    /// Why this coordinator doubts what it sees, and not the machines: more than half of the nodes, and of more than one host, have
    /// fallen silent within seconds of each other, and are silent still. Who was never heard, and is not known to be off, is one
    /// of them: a coordinator that has just begun does not know what it is cut off from.
    #[must_use]
    pub fn doubts_itself(&self, now: Now) -> Option<String> {
        let spec = self.spec()?;
        let late = spec.control.heartbeat * SILENT / 4;
        let mut all = 0_usize;
        let mut silent: Vec<(Duration, String)> = Vec::new();
        let mut unheard: Vec<String> = Vec::new();
        for (name, node) in &spec.nodes {
            let seen = self.view.node(name);
            // Who has left is not missed, nor who is off, nor who has no agent.
            let has_left = seen.is_some_and(|seen| matches!(seen.liveness, Liveness::Left));
            if has_left || node.agentless.is_some() || self.view.is_off(name) {
                continue;
            }
            all += 1;
            let host = node.host.as_ref().map(ToString::to_string);
            let host = host.unwrap_or_else(|| name.to_string());
            match seen.and_then(|seen| Some((seen, seen.heard?))) {
                None => unheard.push(host),
                Some((seen, heard)) if now.since(heard) >= late || seen.session.is_none() => {
                    silent.push((heard, host));
                }
                Some(_) => {}
            }
        }
        silent.sort();
        // Nobody knows when those fell silent that were never heard: it may have been at any of these moments.
        let alone = (unheard.len(), BTreeSet::from_iter(&unheard).len());
        let groups = silent.iter().enumerate().map(|(first, (from, _))| {
            let group = silent[first..].iter();
            let group = group.take_while(|(at, _)| at.saturating_sub(*from) <= AT_ONCE);
            let hosts: BTreeSet<&String> = group
                .clone()
                .map(|(_, host)| host)
                .chain(&unheard)
                .collect();
            (group.count() + unheard.len(), hosts.len())
        });
        let largest = groups.chain([alone]).filter(|(_, hosts)| *hosts > 1).max();
        let (many, _) = largest.filter(|(many, _)| many * 2 > all)?;
        Some(format!(
            "{many} of {all} nodes are silent, and fell so within seconds or were never heard: this coordinator doubts itself and \
             not the machines"
        ))
    }
}
