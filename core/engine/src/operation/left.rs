//! What an operation has taken down and not brought back, told where it ends before all is done.
//!
//! A rolling restart that is aborted between a stop and its start leaves an instance down that nobody ever wanted down.
//! The operation knows it, by its journal alone, and knows the command that brings it back. What has come back since, by another
//! operation, a person or by itself, is nothing that is left down to whoever looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use interlock_model::action::{Action, Power};
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::InstanceState;
use interlock_model::plan::Wait;

use super::{Operation, Phase, State, StepState, Verb};
use crate::view::View;

/// How many are named in a line; the rest is counted.
const NAMED: usize = 8;

/// In which way something is left down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// An instance is stopped.
    Stopped,
    /// A machine is switched off, or was to boot anew and was not seen to.
    Off,
    /// An instance runs, and is out of a load balancer.
    Drained,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stopped => "stopped",
            Self::Off => "off",
            Self::Drained => "drained",
        })
    }
}

/// One thing that is left down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftDown {
    /// Where.
    pub node: NodeName,
    /// The instance of this service; none: the machine.
    pub service: Option<ServiceName>,
    /// In which way.
    pub way: Way,
    /// The step that took it down, or one that was to bring it back, has not come to a proof: it may be up.
    pub perhaps: bool,
}

impl fmt::Display for LeftDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{service} on {} ", self.node)?,
            None => write!(f, "the machine {} ", self.node)?,
        }
        let perhaps = if self.perhaps { ", perhaps" } else { "" };
        write!(f, "({}{perhaps})", self.way)
    }
}

type Instance = (NodeName, Option<ServiceName>);

impl Operation {
    /// What it took down and did not bring back, if it is over without being done, or needs attention.
    #[must_use]
    pub fn left_down(&self) -> Vec<LeftDown> {
        match self.state {
            State::Aborted | State::Unwound | State::NeedsAttention => self.down(None),
            State::Running
            | State::Pausing
            | State::Paused
            | State::Aborting
            | State::AbortingToUnwind
            | State::Unwinding
            | State::Done => Vec::new(),
        }
    }

    /// The same without what is heard to be up again: a machine whose agent speaks or whose power source says so, an instance that
    /// its agent sees running.
    #[must_use]
    pub fn still_left_down(&self, view: &View) -> Vec<LeftDown> {
        match self.left_down() {
            none if none.is_empty() => none,
            _ => self.down(Some(view)),
        }
    }

    /// The command that brings back what is left down; none if nothing is.
    #[must_use]
    pub fn bring_back(&self, left: &[LeftDown]) -> Option<String> {
        if left.is_empty() {
            return None;
        }
        if self.state == State::NeedsAttention {
            let unwinds = self.possible().contains(&Verb::Unwind);
            return unwinds.then(|| format!("interlockctl operation abort {} --unwind", self.id));
        }
        Some(startup(&self.plan().scope, left))
    }

    /// The same in a line, with what is left down; empty if nothing is.
    pub(crate) fn told_as_left(&self) -> String {
        tell(&self.plan().scope, &self.left_down())
    }

    /// What it would tell so if it were over now.
    pub(super) fn would_leave(&self) -> String {
        tell(&self.plan().scope, &self.down(None))
    }

    fn down(&self, view: Option<&View>) -> Vec<LeftDown> {
        let mut down: BTreeMap<Instance, (Way, bool)> = BTreeMap::new();
        let mut drained: BTreeMap<Instance, (Way, bool)> = BTreeMap::new();
        for (step, state) in self.steps() {
            if let Action::Drain { member, .. } | Action::Admit { member } = &step.action {
                let of = (member.node.clone(), Some(member.service.clone()));
                match (&step.action, went_down(state)) {
                    (Action::Admit { .. }, _) if state.has_reached(Wait::Up) => {
                        drained.remove(&of);
                    }
                    // One that its balancer was never told of has drained nobody.
                    (Action::Drain { .. }, Some(perhaps)) if state.took => {
                        drained.insert(of, (Way::Drained, perhaps));
                    }
                    _ => {}
                }
                continue;
            }
            let Some(node) = step.node.clone() else {
                continue;
            };
            let of = (node, step.service.clone());
            match (&step.action, went_down(state)) {
                (Action::Stop, Some(perhaps)) => {
                    down.insert(of, (Way::Stopped, perhaps));
                }
                // A machine that was never seen to go, and whose agent says that nothing came of it, is as it was.
                (Action::PowerOff { .. }, Some(perhaps)) if state.took || !perhaps => {
                    down.insert(of, (Way::Off, perhaps));
                }
                (Action::Reboot, Some(true)) if state.took => {
                    down.insert(of, (Way::Off, true));
                }
                (Action::Start | Action::Verify | Action::PowerOn { .. }, _)
                    if state.has_reached(Wait::Up) =>
                {
                    down.remove(&of);
                }
                // It was begun, and nobody knows how far it came.
                (Action::Start | Action::Verify | Action::PowerOn { .. }, _) if state.acted => {
                    if let Some((_, perhaps)) = down.get_mut(&of) {
                        *perhaps = true;
                    }
                }
                _ => {}
            }
        }
        if let Some(view) = view {
            down.retain(|(node, service), _| !is_back(view, node, service.as_ref()));
        }
        // What is stopped, or on a machine that is off, is not told of twice.
        for (of, how) in drained {
            down.entry(of).or_insert(how);
        }
        let off: BTreeSet<NodeName> = down
            .keys()
            .filter(|(_, service)| service.is_none())
            .map(|(node, _)| node.clone())
            .collect();
        down.retain(|(node, service), _| service.is_none() || !off.contains(node));
        let left = down.into_iter();
        left.map(|((node, service), (way, perhaps))| LeftDown {
            node,
            service,
            way,
            perhaps,
        })
        .collect()
    }
}

/// Has a step taken something down, for all that its journal says? And is that only possible?
fn went_down(state: &StepState) -> Option<bool> {
    match state.phase {
        Phase::Done => Some(false),
        // It is under way, or runs again.
        Phase::Running | Phase::Undoing | Phase::Undone => None,
        // A stop that failed may have stopped a part of it, and so may an earlier attempt.
        Phase::Waiting
        | Phase::Blocked
        | Phase::Checking
        | Phase::Failed
        | Phase::Unknown
        | Phase::Skipped
        | Phase::UndoFailed => state.acted.then_some(true),
    }
}

/// Is that up, for all that is heard?
fn is_back(view: &View, node: &NodeName, service: Option<&ServiceName>) -> bool {
    let runs = |service| {
        let seen = view.instance(node, service);
        seen.is_some_and(|(seen, _)| {
            matches!(seen.state, InstanceState::Running | InstanceState::Paused)
        })
    };
    let is_on = || matches!(view.power_since(node, Duration::ZERO), Some((Power::On, _)));
    match service {
        Some(service) => view.alive(node) && runs(service),
        None => view.alive(node) || is_on(),
    }
}

fn tell(scope: &str, left: &[LeftDown]) -> String {
    if left.is_empty() {
        return String::new();
    }
    let mut named: Vec<String> = left.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = left.len().checked_sub(NAMED) {
        named.push(format!("{more} more"));
    }
    let named = named.join(", ");
    let command = startup(scope, left);
    format!("left down: {named}; `{command}` brings back what is left down")
}

/// The smallest startup that has all of them in its scope: only one over nodes, or over everything, switches machines on.
fn startup(scope: &str, left: &[LeftDown]) -> String {
    let comma = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(",");
    let services = left.iter().map(|it| it.service.as_ref());
    let services: Option<BTreeSet<&str>> = services
        .map(|service| service.map(ServiceName::as_str))
        .collect();
    match services {
        Some(services) => format!("interlockctl startup --service {}", comma(services)),
        None if scope == "--all" => "interlockctl startup --all".to_owned(),
        None => {
            let nodes = left.iter().map(|it| it.node.as_str()).collect();
            format!("interlockctl startup --node {}", comma(nodes))
        }
    }
}
