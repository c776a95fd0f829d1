//! What a coordinator knows of the nodes, kept in memory only.
//!
//! Reports come in with the monotonic time of their arrival; every question is asked with the time of asking, so an
//! old green is never a green. Silence changes liveness and nothing else: it says nothing about the machine
//! (invariant I5). What a power source says is kept apart from what agents say, and wins where it says *off* of a machine
//! that is silent. One that speaks is not off, whatever its source says: that is a contradiction, and shown as one.

mod presence;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::action::Power;
use interlock_model::check::{CheckId, CheckKind, Verdict};
use interlock_model::ids::{BootId, Generation};
use interlock_model::member::{MemberObservation, PutBack};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{
    CheckObservation, InstanceObservation, Liveness, NodeObservation, Observations, Wanted,
};
use interlock_model::ocf::Installed;
use interlock_model::permission::{Permission, Refusal};
use interlock_model::spec::Spec;
use interlock_model::time::{Now, Timestamp};

pub use roles::Answer;
use roles::Roles;

/// One result of a check, with the time when the probe ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCheck {
    /// The verdict.
    pub verdict: Verdict,
    /// One line: what was seen.
    pub evidence: String,
    /// What is compared between nodes.
    pub value: Option<String>,
    /// Does the instance say of itself that it is *paused*?
    pub paused: bool,
    /// When the probe began, on this process's monotonic clock, if the result was not held up on its way. For people,
    /// and for how long a result is fresh.
    pub at: Duration,
    /// When the latest question was asked that it certainly followed; zero for none. This is what a gate goes by.
    pub after: Duration,
}

/// What is known of one node.
#[derive(Debug, Clone, Default)]
pub struct SeenNode {
    /// Its liveness.
    pub liveness: Liveness,
    /// When its session was opened; none while there is no session. Changed by [`View::opened`] and [`View::closed`].
    pub session: Option<Duration>,
    /// When the last session with its agent began, also if it is over.
    pub opened: Option<Duration>,
    /// When it was last heard.
    pub heard: Option<Duration>,
    /// The boot that its agent reported last.
    pub boot: Option<BootId>,
    /// The generation of the assignment that its agent works by.
    pub generation: Generation,
    /// The version of its agent.
    pub version: String,
    /// The machine's identity as its agent reads it.
    pub machine_uuid: String,
    /// The name that the machine gives itself, as its agent reads it.
    pub hostname: String,
    /// What its power source said, and when.
    pub power: Option<(Power, Duration, String)>,
    /// What its power source said last cannot be so: see [`View::contradicted`].
    pub contradicted: bool,
    /// Its instances.
    pub instances: BTreeMap<ServiceName, InstanceObservation>,
    /// What was wanted running on it when its power source said that it is off; until it is heard again.
    pub cut_off: BTreeSet<ServiceName>,
    /// When each of them was said to be as it is.
    pub told: BTreeMap<ServiceName, Told>,
    /// The checks that run on it.
    pub checks: BTreeMap<CheckId, SeenCheck>,
    /// What its agent would refuse.
    pub refuses: Vec<Refusal>,
    /// Its OCF resource agents, as it last told.
    pub agents: Option<Installed>,
    /// When the members of the load balancers on it were last put back, of each by balancer, service and node; zero for
    /// never. Outlives a session, so that nothing is told twice.
    pub put_back: BTreeMap<(ServiceName, ServiceName, NodeName), Timestamp>,
}

/// When an agent said of an instance what it says of it, on this process's monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// When it first did, before it said anything else: since then that is known.
    pub first: Duration,
    /// When it last did so as something that may be new: of what says since when it is so, when it first did.
    pub last: Duration,
}

impl SeenNode {
    /// Its agent said how the members of a load balancer are. Returns what it tells for the first time of members that
    /// it has switched by itself. What it tells first of all it may have told another coordinator.
    pub fn put_back(
        &mut self,
        balancer: &ServiceName,
        members: &[MemberObservation],
    ) -> Vec<PutBack> {
        let mut news = Vec::new();
        for member in members {
            let at = member.put_back.as_ref().map_or(Timestamp(0), |it| it.at);
            let key = (
                balancer.clone(),
                member.service.clone(),
                member.node.clone(),
            );
            let before = self.put_back.insert(key, at);
            if let Some(put_back) = &member.put_back
                && before.is_some_and(|before| before != at)
            {
                news.push(put_back.clone());
            }
        }
        news
    }

    /// Its agent said how an instance is. Returns what was known of it before.
    pub fn tell(
        &mut self,
        service: ServiceName,
        instance: InstanceObservation,
        now: Now,
    ) -> Option<InstanceObservation> {
        let (state, since) = (instance.state, instance.since);
        let before = self.instances.insert(service.clone(), instance);
        let is_known = before
            .as_ref()
            .is_some_and(|before| (before.state, before.since) == (state, since));
        let fresh = Told {
            first: now.mono,
            last: now.mono,
        };
        match self.told.get_mut(&service) {
            Some(_) if is_known && since.is_some() => {}
            // What does not say since when it runs may have been started since it was last said.
            Some(told) if is_known => told.last = now.mono,
            _ => drop(self.told.insert(service, fresh)),
        }
        before
    }
}

/// Everything that is known of the nodes.
#[derive(Debug, Clone, Default)]
pub struct View {
    nodes: BTreeMap<NodeName, SeenNode>,
    sessions: u64,
    roles: Roles,
}

/// A change of a node's liveness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivenessChange {
    /// The node.
    pub node: NodeName,
    /// What it was.
    pub from: Liveness,
    /// What it is.
    pub to: Liveness,
}

impl View {
    /// What is known of a node, if anything.
    #[must_use]
    pub fn node(&self, node: &NodeName) -> Option<&SeenNode> {
        self.nodes.get(node)
    }

    /// All nodes of which anything is known.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeName, &SeenNode)> {
        self.nodes.iter()
    }

    /// The entry of a node, made if there is none.
    pub fn entry(&mut self, node: &NodeName) -> &mut SeenNode {
        if !self.nodes.contains_key(node) {
            self.nodes.insert(node.clone(), SeenNode::default());
        }
        self.nodes.entry(node.clone()).or_default()
    }

    /// Forgets silent nodes that the spec does not have, and instances and checks of services that it no longer has.
    pub fn retain(&mut self, spec: &Spec) {
        self.nodes
            .retain(|name, seen| spec.nodes.contains_key(name) || seen.session.is_some());
        self.retain_roles(|service| spec.services.contains_key(service));
        for seen in self.nodes.values_mut() {
            seen.instances
                .retain(|service, _| spec.services.contains_key(service));
            seen.told
                .retain(|service, _| seen.instances.contains_key(service));
            seen.put_back.retain(|(balancer, service, _), _| {
                let of = spec.services.get(service);
                of.is_some_and(|it| it.member_of.contains_key(balancer))
            });
            seen.checks.retain(|id, _| {
                spec.services
                    .get(&id.service)
                    .is_some_and(|service| service.checks.contains_key(&id.check))
            });
        }
    }

    /// A session with the node's agent begins.
    pub fn opened(&mut self, node: &NodeName, now: Now) {
        let seen = self.entry(node);
        seen.session = Some(now.mono);
        seen.opened = Some(now.mono);
        self.sessions += 1;
    }

    /// The session with the node's agent is over.
    pub fn closed(&mut self, node: &NodeName) {
        self.entry(node).session = None;
        self.sessions += 1;
    }

    /// How many sessions have begun and ended. While this is the same, so is every node's session.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// A session with the node's agent: can it be told something?
    #[must_use]
    pub fn connected(&self, node: &NodeName) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|seen| seen.session.is_some())
    }

    /// The first of some nodes whose agent is heard and has not said that it would refuse to run a fence agent.
    #[must_use]
    pub fn fencer<'a>(&self, among: &'a [NodeName], fence_agent: &str) -> Option<&'a NodeName> {
        let fence = Permission::Fence(fence_agent.to_owned());
        among.iter().find(|node| {
            let seen = self.nodes.get(*node);
            let refuses = |seen: &SeenNode| seen.refuses.iter().any(|it| it.permission == fence);
            self.alive(node) && !seen.is_some_and(refuses)
        })
    }

    /// Is its agent heard, and is there a session?
    #[must_use]
    pub fn alive(&self, node: &NodeName) -> bool {
        self.nodes.get(node).is_some_and(|seen| {
            seen.session.is_some() && matches!(seen.liveness, Liveness::Alive | Liveness::Late)
        })
    }

    /// Something was heard of the node. Returns the change if it was not alive.
    pub fn heard(&mut self, node: &NodeName, now: Now) -> Option<LivenessChange> {
        let seen = self.entry(node);
        seen.heard = Some(now.mono);
        let from = seen.liveness;
        if from == Liveness::Alive {
            return None;
        }
        seen.liveness = Liveness::Alive;
        Some(LivenessChange {
            node: node.clone(),
            from,
            to: Liveness::Alive,
        })
    }

    /// Time has passed: who has been silent for too long?
    pub fn tick(&mut self, now: Now, late: Duration, lost: Duration) -> Vec<LivenessChange> {
        let mut changes = Vec::new();
        for (name, seen) in &mut self.nodes {
            let Some(heard) = seen.heard else { continue };
            let silent = now.since(heard);
            let to = match seen.liveness {
                Liveness::Alive | Liveness::Late if silent >= lost => Liveness::Lost,
                Liveness::Alive if silent >= late => Liveness::Late,
                Liveness::Alive
                | Liveness::Late
                | Liveness::Lost
                | Liveness::Left
                | Liveness::Unheard => continue,
            };
            changes.push(LivenessChange {
                node: name.clone(),
                from: seen.liveness,
                to,
            });
            seen.liveness = to;
        }
        changes
    }

    /// Its power source answered. *Off* ends what was known of its agent: the machine is down, and that is proof.
    pub fn powered(&mut self, node: &NodeName, power: Power, detail: &str, now: Now) {
        let seen = self.entry(node);
        seen.power = Some((power, now.mono, detail.to_owned()));
        seen.contradicted = false;
        if power == Power::Off {
            seen.liveness = Liveness::Left;
            let instances = std::mem::take(&mut seen.instances).into_iter();
            let wanted = instances.filter(|(_, it)| it.wanted == Some(Wanted::Running));
            seen.cut_off.extend(wanted.map(|(service, _)| service));
            seen.checks.clear();
            self.closed(node);
        }
    }

    /// What its power source said was about another plug than the one that it has now.
    pub fn forget_power(&mut self, node: &NodeName) {
        let seen = self.entry(node);
        seen.power = None;
        seen.contradicted = false;
    }

    /// For how long the node has been silent, if it is in a session and has not been silent for `limit`: such a machine
    /// is not off.
    #[must_use]
    pub fn speaking(&self, node: &NodeName, limit: Duration, now: Now) -> Option<Duration> {
        let seen = self.nodes.get(node)?;
        seen.session?;
        let silent = now.since(seen.heard?);
        (silent < limit).then_some(silent)
    }

    /// Its power source said what its agent proves wrong. Neither is taken for the truth: the answer is *unknown*, with
    /// the reason, and the session stays. Returns whether this is new.
    pub fn contradicted(&mut self, node: &NodeName, why: &str, now: Now) -> bool {
        let known = self.nodes.get(node).is_some_and(|seen| seen.contradicted);
        self.powered(node, Power::Unknown, why, now);
        self.entry(node).contradicted = true;
        !known
    }

    /// What its power source says, if it said so since `since`.
    #[must_use]
    pub fn power_since(&self, node: &NodeName, since: Duration) -> Option<(Power, &str)> {
        let (power, at, detail) = self.nodes.get(node)?.power.as_ref()?;
        (*at >= since).then_some((*power, detail.as_str()))
    }

    /// What an agent said last of an instance, and when. Asks not whether the agent is still heard.
    #[must_use]
    pub fn instance(
        &self,
        node: &NodeName,
        service: &ServiceName,
    ) -> Option<(&InstanceObservation, Told)> {
        let seen = self.nodes.get(node)?;
        let told = seen.told.get(service).copied().unwrap_or_default();
        Some((seen.instances.get(service)?, told))
    }

    /// A check on a node, as it is now: *unknown* if its last result is older than `fresh`, or its agent is not heard, and
    /// nobody stands in for it.
    #[must_use]
    pub fn check(&self, spec: &Spec, node: &NodeName, id: &CheckId, now: Now) -> CheckObservation {
        self.check_since(spec, node, id, now, Duration::ZERO)
    }

    /// The same, and *unknown* too unless the probe followed a question of `since` or later: what a gate asks.
    #[must_use]
    pub fn check_since(
        &self,
        spec: &Spec,
        node: &NodeName,
        id: &CheckId,
        now: Now,
        since: Duration,
    ) -> CheckObservation {
        let stand_in = self.stand_in(spec, node, id);
        if stand_in != node {
            let mut seen = self.check_since(spec, stand_in, id, now, since);
            seen.evidence = format!(
                "from {stand_in}, since {node} is not heard: {}",
                seen.evidence
            );
            return seen;
        }
        let unknown = |evidence: String, age| CheckObservation {
            verdict: Verdict::Unknown,
            evidence,
            value: None,
            paused: false,
            age,
        };
        let Some(check) = spec
            .services
            .get(&id.service)
            .and_then(|service| service.checks.get(&id.check))
        else {
            return unknown(format!("the spec has no check {id}"), None);
        };
        let Some(seen) = self.nodes.get(node) else {
            return unknown(format!("{node} was never heard"), None);
        };
        let gone = (!self.alive(node)).then(|| match seen.liveness {
            // Nothing is silent for long enough yet to be called so.
            Liveness::Alive | Liveness::Late => format!(
                "the agent of {node} is not connected, and was {} until then",
                seen.liveness
            ),
            Liveness::Lost | Liveness::Left | Liveness::Unheard => {
                format!("the agent of {node} is {}", seen.liveness)
            }
        });
        let Some(last) = seen.checks.get(id) else {
            let never = || format!("{node} has not reported it yet");
            return unknown(gone.unwrap_or_else(never), None);
        };
        let age = now.since(last.at);
        if let Some(gone) = gone {
            // What was seen last keeps its age: it is what an operator has until the agent is back.
            let seen = format!("{gone} (last, {}s ago: {})", age.as_secs(), last.evidence);
            return unknown(seen, Some(age));
        }
        if last.after < since {
            return unknown(
                format!("waiting for a fresh result (last: {})", last.evidence),
                Some(age),
            );
        }
        if age > check.fresh {
            return unknown(
                format!(
                    "too old ({}s, and it counts for {}s; last: {})",
                    age.as_secs(),
                    check.fresh.as_secs(),
                    last.evidence
                ),
                Some(age),
            );
        }
        if matches!(check.kind, CheckKind::Same { .. })
            && last.verdict == Verdict::Ok
            && let Some(other) = self.differing(node, id, last, check.fresh, now)
        {
            return CheckObservation {
                verdict: Verdict::Bad,
                evidence: format!("differs from {other}: {}", last.evidence),
                value: last.value.clone(),
                paused: false,
                age: Some(age),
            };
        }
        CheckObservation {
            verdict: last.verdict,
            evidence: last.evidence.clone(),
            value: last.value.clone(),
            paused: last.paused,
            age: Some(age),
        }
    }

    /// Another node that says otherwise, unless more than half of all say the same: then it is the others who differ.
    /// What is too old, or of a node that is not heard, is unknown, and compared with nothing.
    fn differing(
        &self,
        node: &NodeName,
        id: &CheckId,
        mine: &SeenCheck,
        fresh: Duration,
        now: Now,
    ) -> Option<&NodeName> {
        let theirs = self.nodes.iter().filter(|(name, _)| *name != node);
        let theirs = theirs
            .filter(|(name, _)| self.alive(name))
            .filter_map(|(name, seen)| Some((name, seen.checks.get(id)?)))
            .filter(|(_, their)| now.since(their.at) <= fresh);
        let (mut others, mut like_mine, mut differing) = (0, 0, None);
        for (name, their) in theirs.filter(|(_, it)| it.verdict == Verdict::Ok) {
            others += 1;
            if their.value == mine.value {
                like_mine += 1;
            } else {
                differing = differing.or(Some(name));
            }
        }
        differing.filter(|_| 2 * (like_mine + 1) <= others + 1)
    }

    /// A snapshot for the planner and for people.
    #[must_use]
    pub fn snapshot(&self, spec: &Spec, now: Now) -> Observations {
        let nodes = spec
            .nodes
            .keys()
            .map(|name| (name.clone(), self.observe(spec, name, now)))
            .collect();
        Observations { nodes }
    }

    /// The same for some nodes only.
    #[must_use]
    pub fn snapshot_of(&self, spec: &Spec, nodes: &[NodeName], now: Now) -> Observations {
        Observations {
            nodes: nodes
                .iter()
                .map(|name| (name.clone(), self.observe(spec, name, now)))
                .collect(),
        }
    }

    fn observe(&self, spec: &Spec, name: &NodeName, now: Now) -> NodeObservation {
        let Some(seen) = self.nodes.get(name) else {
            return NodeObservation::default();
        };
        let contradicted = self.contradiction(spec, name, now);
        NodeObservation {
            liveness: seen.liveness,
            heard: seen.heard.map(|heard| now.since(heard)),
            boot: seen.boot.clone(),
            power: seen
                .power
                .as_ref()
                .filter(|_| contradicted.is_none())
                .map_or(Power::Unknown, |(power, _, _)| *power),
            contradicted,
            power_age: seen.power.as_ref().map(|(_, at, _)| now.since(*at)),
            instances: self.with_fitness(name, &seen.instances),
            checks: seen
                .checks
                .keys()
                .map(|id| (id.clone(), self.check(spec, name, id, now)))
                .collect(),
            refuses: seen.refuses.clone(),
            let_go: BTreeMap::new(),
        }
    }
}
