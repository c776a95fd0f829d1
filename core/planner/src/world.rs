//! What is known of nodes, instances and checks, seen from the planner.
//!
//! A [`World`] answers the same questions with and without observations. Offline everything is taken to be in the state
//! opposite to the plan's goal: for a startup all is down, otherwise all is up and well.
//!
//! What runs on a node without an agent cannot be asked of a manager there. It is taken to be up while its machine is
//! on and down while its power source says off; its checks, run from other nodes, say whether it is well. Where these are
//! green of a machine that is off by that word, one of the two is wrong, and it is unknown.

use interlock_model::action::Power;
use interlock_model::check::CheckId;
use interlock_model::member::{Apart, Member, MemberState};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{
    CheckObservation, Fitness, InstanceObservation, InstanceState, Liveness, Observations, Side,
    Wanted,
};
use interlock_model::permission::Permission;
use interlock_model::spec::{Service, Spec};

use crate::input::{Request, Scope};

/// What is known of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Machine {
    /// It is on.
    On,
    /// Its power source says off.
    Off,
    /// It cannot be told, and why.
    Unknown(String),
}

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Something of it is there.
    Up,
    /// Nothing of it is there.
    Down,
    /// It cannot be told, and why.
    Unknown(String),
}

/// The observations, or what stands for them offline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World<'a> {
    spec: &'a Spec,
    observations: Option<&'a Observations>,
    scope: &'a Scope,
    goal_is_up: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        spec: &'a Spec,
        observations: Option<&'a Observations>,
        request: &'a Request,
    ) -> Self {
        Self {
            spec,
            observations,
            scope: &request.scope,
            goal_is_up: request.kind.comes_up(),
        }
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.observations.is_none()
    }

    /// Is the machine on?
    pub(crate) fn machine(&self, name: &NodeName) -> Machine {
        let Some(node) = self.spec.nodes.get(name) else {
            return Machine::Unknown(format!("{name} is not a node"));
        };
        let Some(observations) = self.observations else {
            let is_to_start = self.goal_is_up && self.scope.switches(node);
            let off = is_to_start && node.power.is_some() && !self.spec.runs_control(node);
            return if off { Machine::Off } else { Machine::On };
        };
        if let Some(why) = self
            .contradiction(name)
            .filter(|_| node.agentless.is_some())
        {
            return Machine::Unknown(why.to_owned());
        }
        let (power, liveness) = observations
            .node(name)
            .map_or((Power::Unknown, Liveness::Unheard), |seen| {
                (seen.power, seen.liveness)
            });
        match (power, liveness) {
            (Power::Off, _) => Machine::Off,
            (Power::On, _) | (Power::Unknown, Liveness::Alive | Liveness::Late) => Machine::On,
            (Power::Unknown, _) if node.agentless.is_some() && node.power.is_none() => Machine::On,
            (Power::Unknown, _) if node.agentless.is_some() => {
                Machine::Unknown("it has no agent and its power source has not said".into())
            }
            (Power::Unknown, _) => Machine::Unknown(format!(
                "its agent is {liveness} and its power source has not said"
            )),
        }
    }

    /// Why what a machine's power source said last cannot be so, if that is known.
    pub(crate) fn contradiction(&self, name: &NodeName) -> Option<&'a str> {
        self.observations?.node(name)?.contradicted.as_deref()
    }

    /// What may run on a node and the spec has there no more, and what is known of each.
    pub(crate) fn let_go(&self, name: &NodeName) -> Vec<(&'a ServiceName, &'a str)> {
        let seen = self.observations.and_then(|seen| seen.node(name));
        let let_go = seen.into_iter().flat_map(|seen| &seen.let_go);
        let_go.map(|(it, why)| (it, why.as_str())).collect()
    }

    /// Can the node's agent be asked for something now?
    pub(crate) fn agent_is_heard(&self, name: &NodeName) -> bool {
        let Some(observations) = self.observations else {
            return self.machine(name) == Machine::On;
        };
        observations
            .node(name)
            .is_some_and(|seen| matches!(seen.liveness, Liveness::Alive | Liveness::Late))
    }

    /// Why the node's agent would refuse something, if it has said so.
    pub(crate) fn refusal(&self, name: &NodeName, permission: &Permission) -> Option<String> {
        let seen = self.observations?.node(name)?;
        seen.refusal(permission).map(str::to_owned)
    }

    pub(crate) fn is_agentless(&self, name: &NodeName) -> bool {
        self.spec
            .nodes
            .get(name)
            .is_some_and(|node| node.agentless.is_some())
    }

    /// Is anything of the instance there?
    pub(crate) fn instance(&self, service: &ServiceName, node: &NodeName) -> Presence {
        let Some(observations) = self.observations else {
            let declared = self.spec.nodes.get(node);
            let is_to_start = self.goal_is_up
                && declared.is_some_and(|declared| self.scope.covers(service, declared));
            return if is_to_start {
                Presence::Down
            } else {
                Presence::Up
            };
        };
        if self.is_agentless(node) {
            return match self.machine(node) {
                Machine::On => Presence::Up,
                Machine::Off => Presence::Down,
                Machine::Unknown(why) => Presence::Unknown(why),
            };
        }
        match observations.instance(node, service) {
            InstanceState::Stopped | InstanceState::Failed => Presence::Down,
            // A start is due as well where something is just going away.
            InstanceState::Stopping if self.goal_is_up => Presence::Down,
            InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Paused
            | InstanceState::Stopping => Presence::Up,
            InstanceState::Unknown => {
                Presence::Unknown(match observations.node(node).map(|seen| seen.liveness) {
                    Some(Liveness::Alive | Liveness::Late) => {
                        let seen = observations.node(node);
                        let seen = seen.and_then(|seen| seen.instances.get(service));
                        format!("its agent says: {}", InstanceObservation::why(seen))
                    }
                    Some(liveness) => format!("the agent of {node} is {liveness}"),
                    None => format!("the agent of {node} has not been heard"),
                })
            }
        }
    }

    /// Does its agent speak?
    pub(crate) fn is_heard(&self, node: &NodeName) -> bool {
        matches!(self.liveness(node), Some(Liveness::Alive | Liveness::Late))
    }

    /// What to do about an instance that is unknown. An agent that speaks says itself what is to be done.
    pub(crate) fn remedy(&self, node: &NodeName) -> &'static str {
        match self.is_heard(node) && !self.is_agentless(node) {
            true => "see to that, and plan again",
            false => "repair its agent",
        }
    }

    /// Is it there, and not on its way down?
    pub(crate) fn stays_up(&self, service: &ServiceName, node: &NodeName) -> bool {
        let seen = self.observations.filter(|_| !self.is_agentless(node));
        let is_stopping =
            seen.is_some_and(|it| it.instance(node, service) == InstanceState::Stopping);
        self.instance(service, node) == Presence::Up && !is_stopping
    }

    /// Does it run, as far as its manager says? Neither what is on its way up or down, nor what waits for something.
    pub(crate) fn runs(&self, service: &ServiceName, node: &NodeName) -> bool {
        match self.observations.filter(|_| !self.is_agentless(node)) {
            Some(seen) => seen.instance(node, service) == InstanceState::Running,
            None => self.instance(service, node) == Presence::Up,
        }
    }

    /// Was it seen to run, and is it there for that? Never offline.
    pub(crate) fn is_running(&self, service: &ServiceName, node: &NodeName) -> bool {
        let runs = |seen: &Observations| seen.instance(node, service) == InstanceState::Running;
        self.observations.is_some_and(runs) && !self.is_unwatched(service, node)
    }

    /// What the instance is there for, as the agent that watches over it was told last; none if nobody has told it, or
    /// nobody hears it.
    fn wanted(&self, service: &ServiceName, node: &NodeName) -> Option<Wanted> {
        let seen = self.observations?.node(node)?;
        matches!(seen.liveness, Liveness::Alive | Liveness::Late)
            .then(|| seen.instances.get(service)?.wanted)?
    }

    /// Is it down against the will of its agent, which may start it again at any moment?
    pub(crate) fn may_come_up(&self, service: &ServiceName, node: &NodeName) -> bool {
        self.wanted(service, node) == Some(Wanted::Running)
            && self.instance(service, node) == Presence::Down
    }

    /// Is it known to be down, and does its guard not start it again either? What ended cleanly nobody starts by himself.
    pub(crate) fn stays_down(&self, service: &ServiceName, node: &NodeName) -> bool {
        let Some(observations) = self.observations else {
            return false;
        };
        let seen = observations.node(node);
        let given_up = || {
            let seen = seen.and_then(|seen| seen.instances.get(service));
            seen.is_some_and(|it| it.given_up || it.wanted != Some(Wanted::Running))
        };
        match observations.instance(node, service) {
            InstanceState::Stopped => true,
            InstanceState::Failed => given_up(),
            InstanceState::Unknown
            | InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Paused
            | InstanceState::Stopping => false,
        }
    }

    /// Is anything of the instance there, or about to come back? Whoever needs it down stops what is down against the
    /// will of its agent as well, which is thereby told to leave it alone.
    pub(crate) fn standing(&self, service: &ServiceName, node: &NodeName) -> Presence {
        if self.may_come_up(service, node) {
            Presence::Up
        } else {
            self.instance(service, node)
        }
    }

    /// Is it up against the will of its agent, which leaves it alone if it dies?
    pub(crate) fn is_unwatched(&self, service: &ServiceName, node: &NodeName) -> bool {
        self.wanted(service, node) == Some(Wanted::Stopped)
            && self.instance(service, node) == Presence::Up
    }

    /// Where an instance takes no part, of its load balancers that run; none offline, and if there is no such.
    pub(crate) fn apart(&self, service: &Service, node: &NodeName) -> Option<Apart> {
        self.observations?.apart(self.spec, service, node)
    }

    /// How the agent of a node is heard; none offline, and if nothing is known of it.
    pub(crate) fn liveness(&self, node: &NodeName) -> Option<Liveness> {
        Some(self.observations?.node(node)?.liveness)
    }

    /// The side of an instance of a leased service, as its agent says. Offline nothing is primary that is to be started, and
    /// everything else is unknown.
    pub(crate) fn side(&self, service: &ServiceName, node: &NodeName) -> Side {
        let seen = self.observations.and_then(|seen| seen.node(node));
        let role = seen.and_then(|seen| seen.instances.get(service)?.role.as_ref());
        role.map_or(Side::Unknown, |role| role.side)
    }

    /// Could an instance take the role now, as the leader of its lease judges?
    pub(crate) fn fitness(&self, service: &ServiceName, node: &NodeName) -> Fitness {
        let seen = self.observations.and_then(|seen| seen.node(node));
        let role = seen.and_then(|seen| seen.instances.get(service)?.role.as_ref());
        role.map(|role| role.fitness.clone()).unwrap_or_default()
    }

    /// Does a balancer that runs on a node say that it was told to leave a member out?
    pub(crate) fn is_put_out(
        &self,
        balancer: &ServiceName,
        on: &NodeName,
        member: &Member,
    ) -> bool {
        let runs = self.instance(balancer, on) == Presence::Up;
        let node = self.observations.and_then(|seen| seen.node(on));
        let there = node.and_then(|seen| seen.instances.get(balancer));
        let seen = there.and_then(|it| it.member(&member.service, &member.node));
        let out = |state| matches!(state, MemberState::Drain | MemberState::Maint);
        runs && seen.is_some_and(|seen| out(seen.state))
    }

    /// The last result of a check; none offline.
    pub(crate) fn check(&self, node: &NodeName, check: &CheckId) -> Option<CheckObservation> {
        self.observations
            .map(|observations| observations.check(node, check))
    }
}
