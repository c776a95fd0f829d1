//! What goes wrong by chance, while things may.

use interlock_model::names::{NodeName, ServiceName};

use super::{Event, Simulation};

impl Simulation {
    /// Does an action run on this node?
    fn is_busy(&self, node: &NodeName) -> bool {
        let mut jobs = self.world.machine(node).jobs.values();
        jobs.any(|job| job.outcome.is_none())
    }

    /// Something goes wrong, and something else will.
    pub(super) fn trouble(&mut self) {
        if !self.troubled() {
            return;
        }
        let next = self.random.millis(300, 4000);
        self.schedule.after(next, Event::Trouble);
        let nodes: Vec<NodeName> = self.agents.keys().cloned().collect();
        let busy: Vec<NodeName> = nodes
            .iter()
            .filter(|node| self.is_busy(node))
            .cloned()
            .collect();
        // Where something is going on, more can go wrong.
        let from = if busy.is_empty() || self.random.chance(50) {
            nodes
        } else {
            busy
        };
        let Some(node) = self.random.pick(&from).cloned() else {
            return;
        };
        match self.random.below(100) {
            0..6 => self.coordinator_dies(),
            6..12 => self.dies_after_dispatch = true,
            12..32 => self.agent_dies(&node, true),
            32..60 => {
                for session in self.network.open_of(Some(&node)) {
                    self.drop_session(session);
                }
            }
            60..75 => {
                self.network.cut(&node);
                for session in self.network.open_of(Some(&node)) {
                    self.drop_session(session);
                }
                let lasts = self.random.millis(1000, 8000);
                self.schedule.after(lasts, Event::Reachable { node });
            }
            75..80 => {
                let exclusive: Vec<ServiceName> = self
                    .world
                    .spec
                    .services
                    .values()
                    .filter(|service| service.is_exclusive())
                    .map(|service| service.name.clone())
                    .collect();
                let now = self.now();
                if let Some(service) = self.random.pick(&exclusive)
                    && self.world.move_active(service, now)
                {
                    self.say(|| format!("the active side of {service} moves"));
                }
            }
            _ => {}
        }
    }

    /// What some agent says is held up for a while, and what another one says will be.
    pub(super) fn stall(&mut self) {
        if self.now() >= self.setup.stalls {
            return;
        }
        let next = self.fates.millis(500, 3000);
        self.schedule.after(next, Event::Stall);
        let nodes: Vec<NodeName> = self.agents.keys().cloned().collect();
        if let Some(node) = self.fates.pick(&nodes).cloned() {
            let lasts = self.fates.millis(1500, 7000);
            self.say(|| format!("what {node} says is held up for {lasts:?}"));
            let until = self.now() + lasts;
            for session in self.network.open_of(Some(&node)) {
                self.network.hold_up(session, until);
            }
        }
    }
}
