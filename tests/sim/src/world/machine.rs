//! One machine: its plug, its operating system, the instances and the attempts on it.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_engine::agent::ledger::Outcome;
use interlock_model::action::Command;
use interlock_model::ids::AttemptId;
use interlock_model::member::MemberState;
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::observation::InstanceState;

use super::World;
use super::files::FileOnDisk;

/// The state of an operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Os {
    /// No power, or nothing booted.
    Off,
    /// Coming up.
    Booting,
    /// Up.
    Up,
    /// Going down.
    GoingDown,
}

/// One instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) state: InstanceState,
    /// When it last came up.
    pub(crate) since: Duration,
    /// From when on it does its work.
    pub(crate) warm: Duration,
}

impl Instance {
    pub(super) fn running() -> Self {
        Self {
            state: InstanceState::Running,
            since: Duration::ZERO,
            warm: Duration::ZERO,
        }
    }
}

/// What will become of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It works.
    Works,
    /// It ends without success.
    Fails,
    /// It does not end by itself.
    Hangs,
}

/// An attempt that was begun on a machine. It outlives its agent, as what runs under a shim does.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) command: Command,
    pub(crate) fate: Fate,
    pub(crate) boot: u64,
    /// How it ended, written down durably; none while it runs.
    pub(crate) outcome: Option<Outcome>,
}

/// One machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) plug: bool,
    pub(crate) os: Os,
    /// Counts boots.
    pub(crate) boots: u64,
    pub(crate) instances: BTreeMap<ServiceName, Instance>,
    pub(crate) jobs: BTreeMap<AttemptId, Job>,
    /// What guards are bringing up, each with the number of its work. That outlives its agent as well.
    pub(crate) guarded: BTreeMap<ServiceName, u64>,
    /// What the members of the load balancers here were put to, of each by balancer, service and node.
    pub(crate) members: BTreeMap<(ServiceName, ServiceName, NodeName), MemberState>,
    /// The files of instances.
    pub(crate) files: BTreeMap<(ServiceName, LocalName), FileOnDisk>,
}

impl Machine {
    /// The attempt that is under way on an instance.
    pub(crate) fn in_hand(&self, service: &ServiceName) -> Option<&AttemptId> {
        let is_of = |job: &Job| {
            job.outcome.is_none()
                && job.boot == self.boots
                && instance_of(&job.command) == Some(service)
        };
        self.jobs
            .iter()
            .find(|(_, job)| is_of(job))
            .map(|(id, _)| id)
    }

    pub(super) fn on() -> Self {
        Self {
            plug: true,
            os: Os::Up,
            boots: 1,
            instances: BTreeMap::new(),
            jobs: BTreeMap::new(),
            guarded: BTreeMap::new(),
            members: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }
}

/// The instance that a command works on.
pub(crate) fn instance_of(command: &Command) -> Option<&ServiceName> {
    match command {
        Command::Start { service, .. }
        | Command::Stop { service, .. }
        | Command::Verify { service, .. } => Some(service),
        Command::Shutdown { .. }
        | Command::Reboot
        | Command::Fence { .. }
        | Command::Promote { .. }
        | Command::Drain { .. }
        | Command::File { .. }
        | Command::Admit { .. } => None,
    }
}

impl World {
    /// An attempt on an instance or on this machine takes hold. True if there is nothing left to do.
    pub(crate) fn take_hold(&mut self, node: &NodeName, command: &Command) -> bool {
        let state = |service: &ServiceName| self.state(node, service);
        match command {
            Command::Start { service, .. } => {
                if state(service) == InstanceState::Running {
                    return true;
                }
                self.set(node, service, InstanceState::Starting);
            }
            Command::Verify { service, .. } => {
                self.set(node, service, InstanceState::Starting);
            }
            Command::Stop { service, .. } => {
                if state(service).is_down() {
                    return true;
                }
                self.set(node, service, InstanceState::Stopping);
            }
            Command::Shutdown { .. } | Command::Reboot => {
                self.machine_mut(node).os = Os::GoingDown;
            }
            Command::Fence { .. }
            | Command::Promote { .. }
            | Command::Drain { .. }
            | Command::File { .. }
            | Command::Admit { .. } => {}
        }
        false
    }

    /// An attempt on an instance has worked.
    pub(crate) fn worked(
        &mut self,
        node: &NodeName,
        command: &Command,
        now: Duration,
        warm: Duration,
    ) {
        match command {
            Command::Start { service, .. } | Command::Verify { service, .. } => {
                self.bring_up(node, service, now, warm);
            }
            Command::Stop { service, .. } => {
                self.set(node, service, InstanceState::Stopped);
            }
            Command::Drain { .. } | Command::Admit { .. } => self.told(node, command),
            Command::Shutdown { .. }
            | Command::Reboot
            | Command::Fence { .. }
            | Command::Promote { .. }
            | Command::File { .. } => {}
        }
    }

    /// An attempt on an instance was ended before it was through, or went wrong: nothing of it is left.
    pub(crate) fn broke_off(&mut self, node: &NodeName, command: &Command) {
        match command {
            Command::Start { service, .. } | Command::Verify { service, .. } => {
                self.set(node, service, InstanceState::Failed);
            }
            // A stop that is broken off leaves the instance as it was, unless it has died meanwhile.
            Command::Stop { service, .. }
                if self.state(node, service) == InstanceState::Stopping =>
            {
                self.set(node, service, InstanceState::Running);
            }
            Command::Stop { .. } => {}
            Command::Shutdown { .. }
            | Command::Reboot
            | Command::Fence { .. }
            | Command::Promote { .. }
            | Command::Drain { .. }
            | Command::File { .. }
            | Command::Admit { .. } => {}
        }
    }

    /// An instance comes up.
    pub(crate) fn bring_up(
        &mut self,
        node: &NodeName,
        service: &ServiceName,
        now: Duration,
        warm: Duration,
    ) {
        if let Some(instance) = self.machine_mut(node).instances.get_mut(service) {
            *instance = Instance {
                state: InstanceState::Running,
                since: now,
                warm: now + warm,
            };
        }
        self.files_are_read(node, service);
        self.came_up(node, service);
    }

    /// Everything on a machine goes down with it. Returns what was up.
    pub(crate) fn all_down(&mut self, node: &NodeName) -> Vec<ServiceName> {
        let were_up: Vec<ServiceName> = self
            .machine(node)
            .instances
            .iter()
            .filter(|(_, instance)| !instance.state.is_down())
            .map(|(service, _)| service.clone())
            .collect();
        for service in &were_up {
            self.set(node, service, InstanceState::Stopped);
        }
        self.machine_mut(node).guarded.clear();
        were_up
    }

    /// Power is gone.
    pub(crate) fn unplugged(&mut self, node: &NodeName) {
        self.all_down(node);
        let machine = self.machine_mut(node);
        machine.plug = false;
        machine.os = Os::Off;
    }

    /// Power is there: the machine boots. False if it was there already.
    pub(crate) fn plugged(&mut self, node: &NodeName) -> bool {
        let machine = self.machine_mut(node);
        if machine.plug {
            return false;
        }
        machine.plug = true;
        self.boots_again(node);
        true
    }

    /// The machine begins another boot.
    pub(crate) fn boots_again(&mut self, node: &NodeName) {
        let machine = self.machine_mut(node);
        machine.boots += 1;
        machine.os = Os::Booting;
    }

    pub(crate) fn set(&mut self, node: &NodeName, service: &ServiceName, state: InstanceState) {
        if let Some(instance) = self.machine_mut(node).instances.get_mut(service) {
            instance.state = state;
        }
    }
}
