//! What is found of a service's instances, one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_model::action::Power;
use interlock_model::check::{CheckFrom, CheckId, Verdict};
use interlock_model::member::Apart;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::observation::{Active, InstanceObservation, InstanceState, Liveness, Wanted};
use interlock_model::spec::{Service, Spec};
use interlock_model::time::Now;

use super::super::Coordinator;

/// How many of a kind are told in a line; the rest is counted.
const TOLD: usize = 2;

/// What is found of a service's instances.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Those that run.
    pub(super) running: usize,
    /// Those that run and whose checks are green.
    pub(super) healthy: usize,
    /// Those of them that take part in the load balancers that they are members of.
    pub(super) serving: usize,
    /// Those that may be healthy, for all that is known.
    pub(super) untold: usize,
    /// Where those are.
    pub(super) untold_on: BTreeSet<NodeName>,
    /// Where nothing is known because the agent is not heard: each is one of the faults.
    pub(super) silent_on: BTreeSet<NodeName>,
    /// Where machines are off while instances are wanted running.
    pub(super) cut_off: BTreeSet<NodeName>,
    /// Those that wait for what they depend on, and what they say of that.
    pub(super) paused: BTreeMap<NodeName, String>,
    /// Those that are down, or going down, and are not to run.
    pub(super) resting: Vec<Resting>,
    /// Those of them that are not down yet.
    pub(super) going_down: usize,
    /// What is not as it should be.
    pub(super) faults: Vec<String>,
    /// What an operation is bringing up.
    coming: Vec<String>,
}

/// An instance that is not to run, and does not.
#[derive(Debug)]
pub(super) struct Resting {
    node: NodeName,
    /// How it rests, such as *stopped, as wanted*.
    how: &'static str,
    /// An operation wants it so, or may have, for all that is known.
    wanted: bool,
}

impl Instances {
    /// How many rest because they shall.
    pub(super) fn at_rest(&self) -> usize {
        self.resting.iter().filter(|one| one.wanted).count()
    }

    /// Others of the service are up: what stopped, and nobody has said it should, is not as it should be.
    pub(super) fn blame_unwanted_rest(&mut self) {
        for one in self.resting.extract_if(.., |one| !one.wanted) {
            self.faults.push(format!("{} is {}", one.node, one.how));
        }
    }

    fn untold(&mut self, node: &NodeName) {
        self.untold += 1;
        self.untold_on.insert(node.clone());
    }

    fn rests(&mut self, node: &NodeName, how: &'static str, wanted: bool) {
        self.resting.push(Resting {
            node: node.clone(),
            how,
            wanted,
        });
    }

    /// Why the service is not ok, in one line: faults first. Of one that is stopped as a whole it is not repeated that
    /// its instances are.
    pub(super) fn reason(&self, stopped: bool) -> String {
        let mut said: Vec<String> = self.faults.iter().take(TOLD).cloned().collect();
        if let Some(more @ 1..) = self.faults.len().checked_sub(TOLD) {
            said.push(format!("and {more} more"));
        }
        said.extend(self.coming.iter().take(TOLD).cloned());
        let off = self.cut_off.iter().take(TOLD);
        said.extend(off.map(|node| format!("{node} is off, and it is wanted running there")));
        if let Some(more @ 1..) = self.cut_off.len().checked_sub(TOLD) {
            said.push(format!("and {more} more"));
        }
        if !stopped {
            said.extend(self.rest());
        }
        said.join("; ")
    }

    /// `jb1, jb2 and 3 more are stopped, as wanted`.
    fn rest(&self) -> Vec<String> {
        let mut ways: Vec<&str> = Vec::new();
        for one in &self.resting {
            if !ways.contains(&one.how) {
                ways.push(one.how);
            }
        }
        let said = ways.into_iter().map(|how| {
            let nodes: Vec<&str> = self
                .resting
                .iter()
                .filter(|one| one.how == how)
                .map(|one| one.node.as_str())
                .collect();
            match nodes.as_slice() {
                [one] => format!("{one} is {how}"),
                [one, other] => format!("{one} and {other} are {how}"),
                [one, other, rest @ ..] => {
                    format!("{one}, {other} and {} more are {how}", rest.len())
                }
                [] => String::new(),
            }
        });
        said.collect()
    }
}

/// Why a running instance is not healthy.
enum Unhealthy {
    /// It says itself that it waits for what it depends on.
    Paused(String),
    /// A check of it is not green.
    Told(Verdict, String),
}

impl Coordinator {
    /// Takes one instance in.
    pub(super) fn instance(
        &self,
        spec: &Spec,
        service: &Service,
        (node, state, apart): (&NodeName, InstanceState, Option<Apart>),
        active: Option<&Active>,
        now: Now,
        found: &mut Instances,
    ) {
        let name = &service.name;
        let wanted = self.wanted(node, name);
        match state {
            InstanceState::Running => {
                found.running += 1;
                match self.own_checks(spec, service, node, active, now) {
                    None => {
                        if self.is_orphaned(node, name) {
                            let why = self.reason(node, name);
                            found.faults.push(format!(
                                "{node} is running: {why} (`interlockctl restart --service {name}`)"
                            ));
                        }
                        found.healthy += 1;
                        self.membership(node, name, apart, found);
                    }
                    Some(Unhealthy::Paused(why)) => {
                        found.faults.push(format!("{node} is paused: {why}"));
                        found.paused.insert(node.clone(), why);
                    }
                    Some(Unhealthy::Told(verdict, problem)) => {
                        if verdict == Verdict::Unknown {
                            found.untold(node);
                        }
                        found.faults.push(problem);
                    }
                }
            }
            InstanceState::Paused => {
                let why = self.reason(node, name);
                found.faults.push(format!("{node} is paused: {why}"));
                found.paused.insert(node.clone(), why.to_owned());
            }
            InstanceState::Unknown => {
                found.untold(node);
                found.faults.push(self.untold(spec, node, name, now));
                if self.is_silent(spec, node) {
                    found.silent_on.insert(node.clone());
                }
            }
            InstanceState::Stopped | InstanceState::Failed | InstanceState::Stopping
                if wanted == Some(Wanted::Stopped) =>
            {
                found.going_down += usize::from(state == InstanceState::Stopping);
                found.rests(node, as_wanted(state), true);
            }
            InstanceState::Stopped if wanted.is_none() => {
                let said = self.view.power_since(node, Duration::ZERO);
                let seen = self.view.node(node);
                if seen.is_some_and(|seen| seen.cut_off.contains(name))
                    && self.holder(Some(node), Some(name)).is_none()
                {
                    found.cut_off.insert(node.clone());
                // Of a machine that is off it is no longer known what was wanted of its instances.
                } else if matches!(said, Some((Power::Off, _))) {
                    found.rests(node, "stopped: its machine is off", true);
                } else {
                    found.rests(node, "stopped, and no operation has wanted that", false);
                }
            }
            InstanceState::Starting | InstanceState::Stopping => {
                let why = self.reason(node, name);
                match self.holder(None, Some(name)) {
                    Some(operation) => found
                        .coming
                        .push(format!("{node} is {state}, for {operation}")),
                    None => found.faults.push(format!("{node} is {state}: {why}")),
                }
            }
            InstanceState::Stopped | InstanceState::Failed => {
                let why = self.reason(node, name);
                found.faults.push(format!("{node} is {state}: {why}"));
            }
        }
    }

    /// Takes in whether a healthy instance takes part where it is a member. What an operation holds it has put there.
    fn membership(
        &self,
        node: &NodeName,
        service: &ServiceName,
        apart: Option<Apart>,
        found: &mut Instances,
    ) {
        let Some(Apart { unknown, text }) = apart else {
            found.serving += 1;
            return;
        };
        let said = format!("{node} is {text}");
        match self.holder(None, Some(service)) {
            Some(operation) => found.coming.push(format!("{said}, for {operation}")),
            None => found.faults.push(said),
        }
        if unknown {
            found.untold(node);
        }
    }

    /// Why nothing is known of an instance: its agent's reason if that speaks, else its silence.
    fn untold(&self, spec: &Spec, node: &NodeName, service: &ServiceName, now: Now) -> String {
        let declared = spec.nodes.get(node);
        if declared.is_some_and(|node| node.agentless.is_some()) {
            if let Some(why) = self.view.contradiction(spec, node, now) {
                return format!("whether {node} is on is unknown: {why}");
            }
            return format!(
                "{node} has no agent, and its power source has not said whether it is on"
            );
        }
        let liveness = self
            .view
            .node(node)
            .map_or(Liveness::Unheard, |seen| seen.liveness);
        match liveness {
            Liveness::Alive | Liveness::Late => {
                let why = self.reason(node, service);
                format!("{node} is unknown: {why}")
            }
            Liveness::Lost | Liveness::Left | Liveness::Unheard
                if self.turned_away(node, now).is_some() =>
            {
                format!("{node} is {liveness}: its agent is refused")
            }
            Liveness::Lost | Liveness::Left | Liveness::Unheard => format!("{node} is {liveness}"),
        }
    }

    fn is_orphaned(&self, node: &NodeName, service: &ServiceName) -> bool {
        let seen = self.view.node(node);
        let seen = seen.and_then(|seen| seen.instances.get(service));
        seen.is_some_and(|instance| instance.orphaned)
    }

    fn reason(&self, node: &NodeName, service: &ServiceName) -> &str {
        let seen = self.view.node(node);
        InstanceObservation::why(seen.and_then(|seen| seen.instances.get(service)))
    }

    fn wanted(&self, node: &NodeName, service: &ServiceName) -> Option<Wanted> {
        self.view
            .node(node)
            .and_then(|seen| seen.instances.get(service))
            .and_then(|instance| instance.wanted)
    }

    /// The worst of an instance's own checks that is not green: one that is bad, else one that is unknown. On a standby
    /// the checks that tell the active side are not expected to be.
    fn own_checks(
        &self,
        spec: &Spec,
        service: &Service,
        node: &NodeName,
        active: Option<&Active>,
        now: Now,
    ) -> Option<Unhealthy> {
        let mut unknown = None;
        for (name, check) in &service.checks {
            // Those of a leased service speak of its primary.
            let tells_active = service.is_leased() || service.active_when.contains(name);
            let expected = !tells_active || matches!(active, Some(Active::On(on)) if on == node);
            if check.from != CheckFrom::Own || !expected {
                continue;
            }
            let id = CheckId {
                service: service.name.clone(),
                check: name.clone(),
            };
            let on = self.view.observer(spec, service, node);
            let seen = self.view.check(spec, on, &id, now);
            let told = || format!("{id} on {on} is {}: {}", seen.verdict, seen.evidence);
            match seen.verdict {
                Verdict::Ok => {}
                Verdict::Bad if seen.paused => return Some(Unhealthy::Paused(seen.evidence)),
                Verdict::Bad => return Some(Unhealthy::Told(Verdict::Bad, told())),
                Verdict::Unknown => {
                    unknown = unknown.or_else(|| Some(Unhealthy::Told(Verdict::Unknown, told())));
                }
            }
        }
        unknown
    }
}

/// The state of an instance that an operation wants stopped.
fn as_wanted(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Stopping => "stopping, as wanted",
        InstanceState::Failed => "failed, and wanted stopped",
        InstanceState::Stopped
        | InstanceState::Starting
        | InstanceState::Running
        | InstanceState::Paused
        | InstanceState::Unknown => "stopped, as wanted",
    }
}
